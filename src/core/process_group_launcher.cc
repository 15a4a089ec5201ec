#include "core/process_group_launcher.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"

namespace swath {
namespace {

constexpr int kForwarded[] = {SIGINT, SIGTERM, SIGUSR1};
constexpr int kWrongUsage = 2;
constexpr size_t kKeptLines = 20;
constexpr size_t kLongestLine = size_t{64} * 1024;
constexpr int kMostBlocks = 64;  // of 16 KiB: a pipe's largest capacity
// What a rank left behind may still write its last lines.
constexpr auto kLingerTime = std::chrono::seconds(1);
// After SIGKILL a process may hang in the system; we do not hang with it once all ranks are gone.
constexpr auto kLastWait = std::chrono::seconds(5);

Clock::duration to_duration(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { close(); }
  int get() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  void close() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }

 private:
  int number_ = -1;
};

struct Pipe {
  Descriptor read_end;
  Descriptor write_end;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw Error(fmt::format("launch: no pipe: {}.", std::strerror(errno)),
                "raise the number of open files (ulimit -n), or start fewer ranks.");
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;  // nobody reads any more; the ranks go on
    text.remove_prefix(static_cast<size_t>(count));
  }
}

// One stream of a rank: passes it on in whole lines, so that ranks do not mix within one.
class LineForwarder {
 public:
  LineForwarder(Descriptor source, int target, std::string prefix, bool keeps_lines)
      : source_(std::move(source)),
        target_(target),
        prefix_(std::move(prefix)),
        keeps_lines_(keeps_lines) {
    fcntl(source_.get(), F_SETFL, fcntl(source_.get(), F_GETFL) | O_NONBLOCK);
  }

  int descriptor() const { return source_.get(); }

  // Passes on what is there, but no more than a pipe holds: an endless writer must not keep us from
  // signals. Closes at the end of the stream.
  void forward() {
    std::array<char, 16384> buffer{};
    for (int block = 0; block < kMostBlocks && source_.is_open(); ++block) {
      const ssize_t count = read(source_.get(), buffer.data(), buffer.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) break;
      if (count <= 0) {
        close();
        break;
      }
      pending_.append(buffer.data(), static_cast<size_t>(count));
      pass_lines();
    }
  }

  void close() {
    if (!pending_.empty()) pass(std::exchange(pending_, {}));
    source_.close();
  }

  std::string last_lines() const {
    std::string text;
    for (const std::string& line : lines_) text += (text.empty() ? "" : "\n") + line;
    return text;
  }

 private:
  void pass_lines() {
    size_t begin = 0;
    for (size_t end = pending_.find('\n'); end != std::string::npos;
         end = pending_.find('\n', begin)) {
      pass(pending_.substr(begin, end - begin));
      begin = end + 1;
    }
    pending_.erase(0, begin);
    if (pending_.size() > kLongestLine) pass(std::exchange(pending_, {}));
  }

  void pass(const std::string& line) {
    write_all(target_, prefix_ + line + "\n");
    if (!keeps_lines_) return;
    lines_.push_back(line.substr(0, 1000));
    if (lines_.size() > kKeptLines) lines_.pop_front();
  }

  Descriptor source_;
  int target_;
  std::string prefix_;
  bool keeps_lines_;
  std::string pending_;
  std::deque<std::string> lines_;
};

// The signals that we pass on or wait for arrive as data while this lives; orphans of the ranks
// become our children, so that none is left a zombie.
class SignalSource {
 public:
  SignalSource() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : kForwarded) {
      sigaddset(&signals, number);
      // A shell starts background jobs with some of them ignored; those would never arrive.
      signal(number, SIG_DFL);
    }
    sigaddset(&signals, SIGCHLD);
    signal(SIGCHLD, SIG_DFL);  // ignored, the system would bury ranks before we see how they ended
    pthread_sigmask(SIG_BLOCK, &signals, &outer_mask_);
    descriptor_ = Descriptor(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    outer_pipe_action_ = signal(SIGPIPE, SIG_IGN);
    prctl(PR_GET_CHILD_SUBREAPER, &was_reaper_);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  ~SignalSource() {
    prctl(PR_SET_CHILD_SUBREAPER, was_reaper_);
    signal(SIGPIPE, outer_pipe_action_);
    pthread_sigmask(SIG_SETMASK, &outer_mask_, nullptr);
  }
  SignalSource(const SignalSource&) = delete;
  SignalSource& operator=(const SignalSource&) = delete;

  int descriptor() const { return descriptor_.get(); }
  // The next signal, or 0.
  int next() const {
    signalfd_siginfo info{};
    const ssize_t count = read(descriptor_.get(), &info, sizeof(info));
    return count == sizeof(info) ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  sigset_t outer_mask_{};
  sighandler_t outer_pipe_action_ = SIG_DFL;
  int was_reaper_ = 0;
  Descriptor descriptor_;
};

int free_port() {
  const Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener.get(), generic, size) != 0 ||
      getsockname(listener.get(), generic, &size) != 0) {
    throw Error(fmt::format("launch: no free port on 127.0.0.1: {}.", std::strerror(errno)));
  }
  return ntohs(address.sin_port);
}

int64_t num_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) return 1;
  return CPU_COUNT(&cores);
}

// torchrun's variables, as PyTorch's own programs read them.
std::vector<std::string> rank_environment(int64_t rank, int64_t num_ranks, int port,
                                          int64_t num_restarts, int64_t max_restarts) {
  std::map<std::string, std::string> ours = {
      {"RANK", fmt::format("{}", rank)},
      {"LOCAL_RANK", fmt::format("{}", rank)},
      {"ROLE_RANK", fmt::format("{}", rank)},
      {"WORLD_SIZE", fmt::format("{}", num_ranks)},
      {"LOCAL_WORLD_SIZE", fmt::format("{}", num_ranks)},
      {"ROLE_WORLD_SIZE", fmt::format("{}", num_ranks)},
      {"GROUP_RANK", "0"},
      {"GROUP_WORLD_SIZE", "1"},
      {"ROLE_NAME", "default"},
      {"MASTER_ADDR", "127.0.0.1"},
      {"MASTER_PORT", fmt::format("{}", port)},
      {"TORCHELASTIC_RUN_ID", fmt::format("swath-{}", getpid())},
      {"TORCHELASTIC_RESTART_COUNT", fmt::format("{}", num_restarts)},
      {"TORCHELASTIC_MAX_RESTARTS", fmt::format("{}", max_restarts)},
      {"TORCHELASTIC_USE_AGENT_STORE", "False"},  // rank 0 opens the port
  };
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    ours["OMP_NUM_THREADS"] = fmt::format("{}", std::max<int64_t>(1, num_cores() / num_ranks));
  }
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!ours.contains(std::string(text.substr(0, text.find('='))))) environment.emplace_back(text);
  }
  for (const auto& [name, value] : ours) environment.push_back(fmt::format("{}={}", name, value));
  return environment;
}

std::vector<char*> as_c_array(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// In the child, between fork and exec: system calls only. Writes errno to `report` on failure.
[[noreturn]] void become_rank(char* const* command, char* const* environment, int standard_input,
                              int standard_output, int standard_error, int report, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(standard_input, STDIN_FILENO);
  dup2(standard_output, STDOUT_FILENO);
  dup2(standard_error, STDERR_FILENO);
  execvpe(command[0], command, environment);
  const int error = errno;
  while (write(report, &error, sizeof(error)) < 0 && errno == EINTR) {
  }
  _exit(127);
}

// One rank: its process, the group of what it starts, and its two streams.
class Rank {
 public:
  Rank(int64_t number, const RankLaunchOptions& options, const std::vector<std::string>& variables)
      : number_(number) {
    Pipe output = make_pipe();
    Pipe errors = make_pipe();
    Pipe report = make_pipe();
    const Descriptor nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const std::vector<char*> command = as_c_array(options.command);
    const std::vector<char*> environment = as_c_array(variables);
    const pid_t parent = getpid();
    process_ = fork();
    if (process_ == 0) {
      become_rank(command.data(), environment.data(), nothing.get(), output.write_end.get(),
                  errors.write_end.get(), report.write_end.get(), parent);
    }
    if (process_ < 0) {
      throw Error(fmt::format("launch: cannot start rank {}: {}.", number, std::strerror(errno)));
    }
    setpgid(process_, process_);  // whichever comes first, the child or we
    has_group_ = true;
    is_running_ = true;
    report.write_end.close();
    int error = 0;
    ssize_t count = 0;
    do {
      count = read(report.read_end.get(), &error, sizeof(error));
    } while (count < 0 && errno == EINTR);
    if (count == sizeof(error)) {
      waitpid(process_, nullptr, 0);
      throw UsageError(fmt::format("launch: cannot start `{}`: {}.", options.command.front(),
                                   std::strerror(error)),
                       "what follows `--` is a program and its arguments.");
    }
    const std::string prefix =
        options.prefixes_stderr ? fmt::format("[rank {}] ", number) : std::string();
    stdout_ = std::make_unique<LineForwarder>(std::move(output.read_end), options.stdout_descriptor,
                                              "", false);
    stderr_ = std::make_unique<LineForwarder>(std::move(errors.read_end), options.stderr_descriptor,
                                              prefix, true);
  }
  // Reached with processes only when starting another rank failed.
  ~Rank() {
    send(SIGKILL);
    if (is_running_) waitpid(process_, nullptr, 0);
  }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  int64_t number() const { return number_; }
  bool is_running() const { return is_running_; }
  bool has_group() const { return has_group_; }
  int exit_code() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : 0; }
  int signal_number() const { return WIFSIGNALED(status_) ? WTERMSIG(status_) : 0; }
  int code() const { return signal_number() != 0 ? 128 + signal_number() : exit_code(); }
  LineForwarder& output() { return *stdout_; }
  LineForwarder& errors() { return *stderr_; }

  void send(int signal) {
    if (has_group_) kill(-process_, signal);
  }

  // True once: when the process has ended. Its last lines are then passed on.
  bool reap() {
    if (!is_running_ || waitpid(process_, &status_, WNOHANG) != process_) return false;
    is_running_ = false;
    stdout_->forward();
    stderr_->forward();
    return true;
  }

  // Buries what the process left behind, and notices when nothing of the group is left. Until then
  // the system gives its number to nobody else.
  void reap_group() {
    if (is_running_ || !has_group_) return;
    while (waitpid(-process_, nullptr, WNOHANG) > 0) {
    }
    if (kill(-process_, 0) != 0 && errno == ESRCH) has_group_ = false;
  }

 private:
  int64_t number_;
  pid_t process_ = -1;
  bool is_running_ = false;
  bool has_group_ = false;
  int status_ = 0;
  std::unique_ptr<LineForwarder> stdout_;
  std::unique_ptr<LineForwarder> stderr_;
};

// All ranks of one start, from the first to the last.
class Attempt {
 public:
  Attempt(const RankLaunchOptions& options, int64_t num_ranks, int64_t num_restarts,
          SignalSource& signals)
      : options_(options), signals_(signals), start_(Clock::now()) {
    const int port = free_port();
    for (int64_t rank = 0; rank < num_ranks; ++rank) {
      ranks_.push_back(std::make_unique<Rank>(
          rank, options,
          rank_environment(rank, num_ranks, port, num_restarts, options.max_restarts)));
    }
  }

  void run() {
    while (is_anything_left() && stage_ != Stage::kGivenUp) {
      wait();
      for (const auto& rank : ranks_) {
        rank->output().forward();
        rank->errors().forward();
      }
      for (int signal = signals_.next(); signal != 0; signal = signals_.next()) {
        if (signal != SIGCHLD) pass_on(signal);
      }
      reap();
      check_deadline();
    }
    for (const auto& rank : ranks_) {
      rank->output().forward();
      rank->output().close();
      rank->errors().forward();
      rank->errors().close();
    }
  }

  const std::optional<RankFailure>& failure() const { return failure_; }
  // 128 + signal when ranks ended as a passed signal asked them to, else 0.
  int stopped_code() const { return stopped_code_; }
  bool may_restart() const { return !is_asked_to_end_; }

 private:
  enum class Stage { kRunning, kLingering, kEnding, kKilled, kGivenUp };

  bool is_any_running() const {
    return std::any_of(ranks_.begin(), ranks_.end(),
                       [](const auto& rank) { return rank->is_running(); });
  }
  bool is_anything_left() const {
    return std::any_of(ranks_.begin(), ranks_.end(),
                       [](const auto& rank) { return rank->has_group(); });
  }

  void wait() {
    std::vector<pollfd> sources = {{signals_.descriptor(), POLLIN, 0}};
    for (const auto& rank : ranks_) {
      for (const LineForwarder* stream : {&rank->output(), &rank->errors()}) {
        if (stream->descriptor() >= 0) sources.push_back({stream->descriptor(), POLLIN, 0});
      }
    }
    // Nothing tells when a group empties, and a deadline may be near: look again soon.
    constexpr int kLookAgainMs = 50;
    poll(sources.data(), sources.size(), stage_ == Stage::kRunning ? -1 : kLookAgainMs);
  }

  void pass_on(int signal) {
    log_info(fmt::format("launch: {} goes to all ranks.", strsignal(signal)));
    for (const auto& rank : ranks_) rank->send(signal);
    if (!passed_.empty()) end_within(options_.grace_seconds);
    passed_.push_back(signal);
    if (signal != SIGUSR1) is_asked_to_end_ = true;
  }

  void reap() {
    std::vector<Rank*> failed;
    for (const auto& rank : ranks_) {
      if (rank->reap() && rank->code() != 0) failed.push_back(rank.get());
      rank->reap_group();
    }
    std::erase_if(failed, [&](const Rank* rank) {
      const bool ends_as_asked = std::any_of(
          passed_.begin(), passed_.end(), [&](int signal) { return rank->code() == 128 + signal; });
      if (ends_as_asked) stopped_code_ = rank->code();
      return ends_as_asked;
    });
    if (!failed.empty() && !failure_) fail(failed);
    if (stage_ == Stage::kRunning && !is_any_running()) {
      stage_ = Stage::kLingering;
      deadline_ = Clock::now() + (passed_.empty() ? Clock::duration(kLingerTime)
                                                  : to_duration(options_.grace_seconds));
    }
  }

  // Of those found at once, one that a signal ended is the likelier cause.
  void fail(const std::vector<Rank*>& failed) {
    Rank* first = failed.front();
    for (Rank* rank : failed) {
      if (rank->signal_number() != 0 && first->signal_number() == 0) first = rank;
    }
    failure_ = RankFailure{.rank = first->number(),
                           .num_ranks = static_cast<int64_t>(ranks_.size()),
                           .exit_code = first->exit_code(),
                           .signal = first->signal_number(),
                           .seconds = seconds_since(start_),
                           .last_stderr = first->errors().last_lines()};
    for (const auto& rank : ranks_) rank->send(SIGTERM);
    end_within(options_.grace_seconds);
  }

  void end_within(double seconds) {
    if (stage_ == Stage::kEnding || stage_ == Stage::kKilled) return;  // the first deadline holds
    stage_ = Stage::kEnding;
    deadline_ = Clock::now() + to_duration(seconds);
  }

  void check_deadline() {
    if (stage_ == Stage::kRunning || Clock::now() < deadline_) return;
    if (stage_ == Stage::kLingering && passed_.empty()) {
      for (const auto& rank : ranks_) rank->send(SIGTERM);
      end_within(options_.grace_seconds);
    } else if (stage_ != Stage::kKilled || is_any_running()) {
      for (const auto& rank : ranks_) rank->send(SIGKILL);
      stage_ = Stage::kKilled;
      deadline_ = Clock::now() + kLastWait;
    } else {
      stage_ = Stage::kGivenUp;
    }
  }

  const RankLaunchOptions& options_;
  SignalSource& signals_;
  Clock::time_point start_;
  Clock::time_point deadline_;
  Stage stage_ = Stage::kRunning;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<int> passed_;  // signals sent to the ranks because we received them
  bool is_asked_to_end_ = false;
  std::optional<RankFailure> failure_;
  int stopped_code_ = 0;
};

void check(const RankLaunchOptions& options) {
  if (options.command.empty()) {
    throw UsageError("launch: no command.", "swath launch -n 2 -- COMMAND …");
  }
  if (options.num_ranks < 1 || options.min_ranks < 1 || options.min_ranks > options.num_ranks) {
    throw UsageError(fmt::format("launch: {} ranks, and at least {} after a restart.",
                                 options.num_ranks, options.min_ranks),
                     "both count from 1, and the second is not larger.");
  }
}

}  // namespace

std::string to_text(const RankFailure& failure) {
  std::string text = fmt::format("rank {} of {} ", failure.rank, failure.num_ranks);
  text += failure.signal != 0 ? fmt::format("was ended by signal {} ({})", failure.signal,
                                            strsignal(failure.signal))
                              : fmt::format("ended with exit code {}", failure.exit_code);
  text += fmt::format(" after {:.1f} s; ", failure.seconds);
  if (failure.last_stderr.empty()) return text + "it wrote nothing to stderr.";
  text += "its last lines on stderr:\n  ";
  for (const char letter : failure.last_stderr) {
    text += letter == '\n' ? std::string("\n  ") : std::string(1, letter);
  }
  return text;
}

RankLaunchResult launch_ranks(const RankLaunchOptions& options) {
  check(options);
  SignalSource signals;
  const Clock::time_point start = Clock::now();
  RankLaunchResult result;
  result.num_ranks = options.num_ranks;
  while (true) {
    Attempt attempt(options, result.num_ranks, result.num_restarts, signals);
    attempt.run();
    result.failure = attempt.failure();
    result.exit_code = result.failure ? result.failure->code() : attempt.stopped_code();
    if (!result.failure || result.failure->code() == kWrongUsage || !attempt.may_restart() ||
        result.num_restarts == options.max_restarts) {
      break;
    }
    ++result.num_restarts;
    result.num_ranks = std::max(options.min_ranks, result.num_ranks - 1);
    log_warning(fmt::format("launch: {}\nlaunch: restart {} of {} with {} ranks.",
                            to_text(*result.failure), result.num_restarts, options.max_restarts,
                            result.num_ranks));
  }
  result.seconds = seconds_since(start);
  return result;
}

}  // namespace swath
