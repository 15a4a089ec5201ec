// A Python program that measures beside us, spoken to line by line.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <string>
#include <vector>

#include "core/json.h"

namespace swath::bench {

// The interpreter of the peer environment: $SWATH_PEER_PYTHON, else .deps/peer/bin/python below
// $SWATH_HOME. Throws Error saying how to install it.
std::string peer_python();
// tools/peer/NAME below $SWATH_HOME.
std::string peer_script(const std::string& name);

class PeerProcess {
 public:
  // Starts `command`; its stderr goes to ours.
  explicit PeerProcess(const std::vector<std::string>& command);
  ~PeerProcess();  // closes its stdin and waits for it
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  void write_line(const std::string& line);
  // The next line of its stdout as JSON. Throws Error naming the program when it ended instead.
  Json read_json();

 private:
  std::string name_;
  pid_t process_ = -1;
  std::FILE* to_peer_ = nullptr;
  std::FILE* from_peer_ = nullptr;
};

}  // namespace swath::bench
