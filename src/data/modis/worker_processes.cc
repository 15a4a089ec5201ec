#include "data/modis/worker_processes.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "data/modis/granule.h"

namespace swath::data::modis {
namespace {

constexpr auto kPollTime = std::chrono::milliseconds(50);

// What all processes share.
struct Shared {
  std::atomic<int64_t> next{0};  // task
  std::atomic<int64_t> done{0};
  // The first failure, written by whoever sets `has_failed` first.
  std::atomic<bool> has_failed{false};
  std::atomic<bool> is_failure_complete{false};
  char reason[64] = {};  // BadGranule's; empty: another error
  char message[4000] = {};
  char hint[1000] = {};
};

// What one of them works on; -1: nothing.
struct Position {
  std::atomic<int64_t> task{-1};
  std::atomic<int64_t> item{-1};
};

class SharedMemory {
 public:
  SharedMemory(int64_t processes, int64_t items)
      : positions_offset_(sizeof(Shared)),
        signals_offset_(positions_offset_ + static_cast<size_t>(processes) * sizeof(Position)),
        bytes_(signals_offset_ + static_cast<size_t>(items) * sizeof(std::atomic<int>)) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      throw Error(fmt::format("no memory to share among processes: {}.", std::strerror(errno)));
    }
    memory_ = static_cast<char*>(memory);
    shared_ = new (memory_) Shared;
    positions_ = reinterpret_cast<Position*>(memory_ + positions_offset_);
    signals_ = reinterpret_cast<std::atomic<int>*>(memory_ + signals_offset_);
    std::uninitialized_default_construct_n(positions_, processes);
    std::uninitialized_value_construct_n(signals_, items);
  }
  ~SharedMemory() { munmap(memory_, bytes_); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  Shared* operator->() { return shared_; }
  Position& position(int64_t process) { return positions_[process]; }
  // That ended the process which worked on the item.
  std::atomic<int>& signal(int64_t item) { return signals_[item]; }

 private:
  static_assert(sizeof(Shared) % alignof(Position) == 0);
  static_assert(std::atomic<int64_t>::is_always_lock_free);
  size_t positions_offset_;
  size_t signals_offset_;
  size_t bytes_;
  char* memory_ = nullptr;
  Shared* shared_ = nullptr;
  Position* positions_ = nullptr;
  std::atomic<int>* signals_ = nullptr;
};

class SharedItemLog final : public ItemLog {
 public:
  SharedItemLog(SharedMemory& shared, Position& position) : shared_(shared), position_(position) {}
  int signal_of(int64_t item) const override { return shared_.signal(item); }
  void begin(int64_t item) override { position_.item = item; }
  void end() override { position_.item = -1; }

 private:
  SharedMemory& shared_;
  Position& position_;
};

template <size_t Size>
void copy_text(const std::string& text, char (&to)[Size]) {
  std::strncpy(to, text.c_str(), Size - 1);
}

void keep_failure(SharedMemory& shared, const std::string& reason, const Error& error) {
  if (shared->has_failed.exchange(true)) return;
  copy_text(reason, shared->reason);
  copy_text(error.message(), shared->message);
  copy_text(error.hint(), shared->hint);
  shared->is_failure_complete = true;
}

class Workers {
 public:
  explicit Workers(const WorkerPlan& plan)
      : plan_(plan),
        shared_(plan.processes, plan.items),
        children_(static_cast<size_t>(plan.processes), 0) {}

  void run() {
    for (int64_t i = 0; i < plan_.processes; ++i) start(i, -1);
    while (is_any_left()) {
      std::this_thread::sleep_for(kPollTime);
      show_progress(fmt::format("{}: {} {} of {}", plan_.name, plan_.task_name,
                                shared_->done.load(), plan_.tasks));
      for (int64_t i = 0; i < plan_.processes; ++i) look_after(i);
      // Who failed says why first.
      if (shared_->is_failure_complete || interrupt_signal() != 0) end_all();
    }
    end_progress();
    stop_if_interrupted(plan_.name);
    throw_failure();
  }

 private:
  pid_t& child(int64_t process) { return children_[static_cast<size_t>(process)]; }
  bool is_any_left() const {
    return std::ranges::any_of(children_, [](pid_t child) { return child != 0; });
  }

  // With a task to begin with, or -1.
  void start(int64_t process, int64_t task) {
    const pid_t parent = getpid();
    const pid_t started = fork();
    if (started == 0) work_as_child(process, task, parent);
    if (started < 0) {
      const int reason = errno;
      end_all();
      throw Error(fmt::format("{}: process {} of {} cannot be started: {}.", plan_.name, process,
                              plan_.processes, std::strerror(reason)),
                  "ask for fewer with --processes.");
    }
    child(process) = started;
  }

  [[noreturn]] void work_as_child(int64_t process, int64_t task, pid_t parent) {
    // The parent waits for signals in a thread, with them blocked: here they mean the end again.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    _exit(work(process, task) ? 0 : 1);
  }

  // Takes tasks until none is left. Returns whether all went well.
  bool work(int64_t process, int64_t task) {
    try {
      const Task run_task = plan_.make_task();
      Position& position = shared_.position(process);
      SharedItemLog log(shared_, position);
      for (; !shared_->has_failed; task = -1) {
        if (task < 0) task = shared_->next.fetch_add(1);
        if (task >= plan_.tasks) return true;
        position.task = task;
        run_task(task, log);
        ++shared_->done;
      }
    } catch (const BadGranule& error) {
      keep_failure(shared_, error.reason(), error);
    } catch (const Error& error) {
      keep_failure(shared_, "", error);
    } catch (const std::exception& error) {
      keep_failure(shared_, "", Error(error.what()));
    }
    return false;
  }

  void look_after(int64_t process) {
    int status = 0;
    if (child(process) == 0 || waitpid(child(process), &status, WNOHANG) == 0) return;
    child(process) = 0;
    if (!WIFSIGNALED(status)) return;
    const int signal = WTERMSIG(status);
    const int64_t item = shared_.position(process).item;
    // Someone killed it, or memory ran out: not the item's doing.
    const bool is_killed = signal == SIGKILL || signal == SIGTERM || signal == SIGINT;
    if (item >= 0 && plan_.goes_on_after_crash && !is_killed) {
      shared_.signal(item) = signal;
      start(process, shared_.position(process).task);
      return;
    }
    const std::string where =
        item < 0 ? "" : fmt::format(" while it read {}", plan_.name_of_item(item));
    const std::string hint = is_killed ? "run the same command again. Where memory ran out, ask "
                                         "for fewer --processes."
                                       : plan_.crash_hint;
    keep_failure(shared_, "",
                 Error(fmt::format("{}: a process was ended by signal {} ({}){}.", plan_.name,
                                   signal, strsignal(signal), where),
                       hint));
  }

  void end_all() {
    for (const pid_t child : children_) {
      if (child != 0) kill(child, SIGKILL);
    }
    for (pid_t& child : children_) {
      if (child != 0) waitpid(child, nullptr, 0);
      child = 0;
    }
  }

  void throw_failure() {
    if (!shared_->has_failed) return;
    const std::string message = shared_->is_failure_complete
                                    ? shared_->message
                                    : plan_.name + ": a process ended without saying why.";
    if (shared_->reason[0] != '\0') throw BadGranule(shared_->reason, message, shared_->hint);
    throw Error(message, shared_->hint);
  }

  const WorkerPlan& plan_;
  SharedMemory shared_;
  std::vector<pid_t> children_;  // 0: ended
};

}  // namespace

void run_in_processes(const WorkerPlan& plan) { Workers(plan).run(); }

}  // namespace swath::data::modis
