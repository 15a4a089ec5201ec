#include "bench/peer_process.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/error.h"

namespace swath::bench {
namespace {

std::filesystem::path home() {
  const char* directory = std::getenv("SWATH_HOME");
  return directory != nullptr ? directory : ".";
}

}  // namespace

std::string peer_python() {
  if (const char* python = std::getenv("SWATH_PEER_PYTHON")) return python;
  const auto python = home() / ".deps" / "peer" / "bin" / "python";
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

PeerProcess::PeerProcess(const std::vector<std::string>& command) : name_(command.at(1)) {
  std::array<int, 2> input{};
  std::array<int, 2> output{};
  if (pipe(input.data()) != 0 || pipe(output.data()) != 0) {
    throw Error(fmt::format("bench: no pipe for {}: {}.", name_, std::strerror(errno)));
  }
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  process_ = fork();
  if (process_ == 0) {
    dup2(input[0], STDIN_FILENO);
    dup2(output[1], STDOUT_FILENO);
    for (const int descriptor : {input[0], input[1], output[0], output[1]}) close(descriptor);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(input[0]);
  close(output[1]);
  if (process_ < 0) throw Error(fmt::format("bench: cannot start {}.", name_));
  signal(SIGPIPE, SIG_IGN);  // a peer that died is reported by read_json
  to_peer_ = fdopen(input[1], "w");
  from_peer_ = fdopen(output[0], "r");
}

PeerProcess::~PeerProcess() {
  std::fclose(to_peer_);
  std::fclose(from_peer_);
  waitpid(process_, nullptr, 0);
}

void PeerProcess::write_line(const std::string& line) {
  std::fputs((line + "\n").c_str(), to_peer_);
  std::fflush(to_peer_);
}

Json PeerProcess::read_json() {
  std::string line;
  for (int next = std::fgetc(from_peer_); next != EOF && next != '\n';
       next = std::fgetc(from_peer_)) {
    line.push_back(static_cast<char>(next));
  }
  try {
    return Json::parse(line);
  } catch (const Json::exception&) {
    throw Error(fmt::format("bench: the peer {} ended or wrote `{}`.", name_, line),
                "its own message is above.");
  }
}

}  // namespace swath::bench
