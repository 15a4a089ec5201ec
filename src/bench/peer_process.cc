#include "bench/peer_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "core/error.h"

namespace swath::bench {
namespace {

std::filesystem::path home() {
  const char* directory = std::getenv("SWATH_HOME");
  return directory != nullptr ? directory : ".";
}

std::string text_of_status(int status) {
  return WIFSIGNALED(status) ? fmt::format("was ended by signal {}", WTERMSIG(status))
                             : fmt::format("ended with status {}", WEXITSTATUS(status));
}

}  // namespace

std::string peer_python(const std::string& set) {
  if (const char* python = std::getenv("SWATH_PEER_PYTHON")) return python;
  const auto python = home() / ".deps" / set / "bin" / "python";
  if (!std::filesystem::exists(python)) {
    throw Error(
        fmt::format("bench: the Python peer is not installed ({} is missing).", python.string()),
        "`./swath test --long` installs it, or name another in SWATH_PEER_PYTHON.");
  }
  return python.string();
}

std::string peer_script(const std::string& name) {
  const auto script = home() / "tools" / "peer" / name;
  if (!std::filesystem::exists(script)) {
    throw Error(fmt::format("bench: {} is missing.", script.string()),
                "run it through ./swath, or set SWATH_HOME to the repository.");
  }
  return script.string();
}

PeerFiles::PeerFiles() {
  std::string name = (std::filesystem::temp_directory_path() / "swath-peer-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    throw Error(fmt::format("bench: cannot create {}: {}.", name, std::strerror(errno)));
  }
  directory_ = name;
}

PeerFiles::~PeerFiles() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  }
  throw Error("bench: /proc/self/status has no VmHWM.");
}

PeerProcess::PeerProcess(const std::vector<std::string>& command)
    : name_(std::filesystem::path(command.at(1)).filename()) {
  signal(SIGPIPE, SIG_IGN);  // a peer that died is reported by read_json
  // Every descriptor closes on exec: a peer that held another's stdin open would keep it alive.
  std::array<int, 2> input{};
  std::array<int, 2> output{};
  messages_ = memfd_create("peer", MFD_CLOEXEC);
  if (messages_ < 0 || pipe2(input.data(), O_CLOEXEC) != 0 ||
      pipe2(output.data(), O_CLOEXEC) != 0) {
    throw Error(fmt::format("bench: no pipe for {}: {}.", name_, std::strerror(errno)));
  }
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // Our blocked signals are not the peer's.
  sigset_t no_signals;
  sigemptyset(&no_signals);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &no_signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_t streams;
  posix_spawn_file_actions_init(&streams);
  posix_spawn_file_actions_adddup2(&streams, input[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&streams, output[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&streams, messages_, STDERR_FILENO);
  const int error =
      posix_spawnp(&process_, arguments[0], &streams, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&streams);
  posix_spawnattr_destroy(&attributes);
  close(input[0]);
  close(output[1]);
  to_peer_ = fdopen(input[1], "w");
  from_peer_ = fdopen(output[0], "r");
  if (error != 0) {
    process_ = -1;
    std::fclose(to_peer_);
    std::fclose(from_peer_);
    close(messages_);
    throw Error(fmt::format("bench: cannot start {}: {}.", command[0], std::strerror(error)));
  }
}

PeerProcess::~PeerProcess() {
  wait();
  std::fclose(from_peer_);
  close(messages_);
}

// Asks it to end, once, and returns its status.
int PeerProcess::wait() {
  int status = 0;
  if (process_ < 0) return status;
  write_line("quit");
  std::fclose(std::exchange(to_peer_, nullptr));
  while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  process_ = -1;
  return status;
}

// The end of what it wrote to stderr.
std::string PeerProcess::last_messages() const {
  constexpr off_t kMost = 4000;
  const off_t size = lseek(messages_, 0, SEEK_END);
  std::string text(static_cast<size_t>(std::min(size, kMost)), '\0');
  const ssize_t count =
      pread(messages_, text.data(), text.size(), std::max<off_t>(0, size - kMost));
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, count)));
  return text.empty() ? "(it wrote no message)" : text;
}

void PeerProcess::write_line(const std::string& line) {
  if (to_peer_ == nullptr) return;  // it has ended, as read_json has said
  std::fputs((line + "\n").c_str(), to_peer_);
  std::fflush(to_peer_);
}

Json PeerProcess::read_json() {
  std::string line;
  for (int next = std::fgetc(from_peer_); next != EOF && next != '\n';
       next = std::fgetc(from_peer_)) {
    line.push_back(static_cast<char>(next));
  }
  if (line.empty() && std::feof(from_peer_) != 0) {
    const std::string end = text_of_status(wait());
    throw Error(fmt::format("bench: the peer {} {}:\n{}", name_, end, last_messages()));
  }
  try {
    return Json::parse(line);
  } catch (const Json::exception&) {
    throw Error(fmt::format("bench: the peer {} wrote `{}`, which is no JSON:\n{}", name_, line,
                            last_messages()));
  }
}

}  // namespace swath::bench
