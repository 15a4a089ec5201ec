// A Python program that measures beside us, spoken to line by line.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace swath::bench {

// The interpreter of a set of peers: $SWATH_PEER_PYTHON, else .deps/SET/bin/python below
// $SWATH_HOME. Throws Error saying how to install it.
std::string peer_python(const std::string& set = "peer");
// tools/peer/NAME below $SWATH_HOME.
std::string peer_script(const std::string& name);

// A fresh temporary directory for what peers read; removed at the end.
class PeerFiles {
 public:
  PeerFiles();
  ~PeerFiles();
  PeerFiles(const PeerFiles&) = delete;
  PeerFiles& operator=(const PeerFiles&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return directory_ / name; }

 private:
  std::filesystem::path directory_;
};

// The largest resident set of this process so far (VmHWM), as peers report theirs.
int64_t peak_resident_bytes();

class PeerProcess {
 public:
  // Starts `command`: an interpreter, a script, its arguments. Throws Error when it cannot start.
  explicit PeerProcess(const std::vector<std::string>& command);
  ~PeerProcess();  // writes `quit`, closes its stdin and waits for it
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  void write_line(const std::string& line);
  // The next line of its stdout as JSON. Throws Error with the end of its stderr when it ended or
  // wrote something else instead.
  Json read_json();

 private:
  int wait();
  std::string last_messages() const;

  std::string name_;
  pid_t process_ = -1;
  int messages_ = -1;  // a file in memory that takes its stderr
  std::FILE* to_peer_ = nullptr;
  std::FILE* from_peer_ = nullptr;
};

}  // namespace swath::bench
