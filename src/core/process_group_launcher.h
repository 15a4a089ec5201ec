// Starts the ranks of one host with torchrun's environment variables, passes on their output and
// the signals that reach us, and ends all of them when one fails.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace swath {

struct RankLaunchOptions {
  std::vector<std::string> command;  // searched in PATH
  int64_t num_ranks = 1;
  // After a failure the command is started again, so many times, each time with one rank fewer but
  // never fewer than min_ranks. Not after exit code 2: wrong usage stays wrong.
  int64_t max_restarts = 0;
  int64_t min_ranks = 1;
  // Between SIGTERM and SIGKILL for ranks that do not end.
  double grace_seconds = 10;
  bool prefixes_stderr = true;  // "[rank 3] " before each line
  // Where the ranks' lines go. stdout's are passed unchanged, so that results stay readable.
  int stdout_descriptor = STDOUT_FILENO;
  int stderr_descriptor = STDERR_FILENO;
};

struct RankFailure {
  int64_t rank = 0;
  int64_t num_ranks = 0;
  int exit_code = 0;        // of a rank that ended by itself
  int signal = 0;           // that ended it, or 0
  double seconds = 0;       // since the ranks were started
  std::string last_stderr;  // its last lines

  // As shells count: 128 + signal, or the exit code.
  int code() const { return signal != 0 ? 128 + signal : exit_code; }
};
// "rank 2 of 4 ended with exit code 3 after 1.2 s; its last lines on stderr: ..."
std::string to_text(const RankFailure& failure);

struct RankLaunchResult {
  int exit_code = 0;      // of the first rank to fail; 128 + signal when a signal stopped the ranks
  int64_t num_ranks = 0;  // of the last start
  int64_t num_restarts = 0;
  double seconds = 0;
  std::optional<RankFailure> failure;  // the first of the last start
};

// Returns when every rank and whatever it left behind has ended. SIGINT, SIGTERM and SIGUSR1 go to
// all ranks, which are then expected to end in their own time; a second one starts the grace time.
// The ranks die with this process. Each rank is a process group of its own, reads nothing, and gets
// an equal share of the processor cores as OMP_NUM_THREADS unless that is set.
//
// Call it in a process without other threads, and without `watch_for_interrupts`: it takes the
// signals itself. Throws UsageError when the command cannot be started.
RankLaunchResult launch_ranks(const RankLaunchOptions& options);

}  // namespace swath
