// Ranks as threads of one process, with collectives that really reduce: for tests, and for trying a
// strategy without a launcher.
//
//   ThreadHub hub(4);
//   run_ranks(hub, [](ProcessGroups& groups) { ... });   // one thread per rank
//
// Sums run in the order of ranks, in the tensors' dtype (bfloat16 in float32, rounded once).
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "sharding/communicator.h"

namespace swath::sharding {

class ThreadHub {
 public:
  explicit ThreadHub(int64_t world_size,
                     std::chrono::milliseconds timeout = std::chrono::seconds(60));
  ~ThreadHub();

  // The groups as `rank` sees them; outlived by the hub.
  std::unique_ptr<ProcessGroups> groups_of(int64_t rank);

  // Ends every collective, under way or to come, with an error that carries `reason`. The first
  // reason stays.
  void abort(const std::string& reason);

  int64_t world_size() const;

 private:
  friend class ThreadGroups;
  struct State;
  std::shared_ptr<State> state_;
};

// Runs `body` once per rank, each in its own thread with one compute thread, and waits for all.
// When a rank throws, the others' collectives end too; the first rank's exception is rethrown.
void run_ranks(ThreadHub& hub, const std::function<void(ProcessGroups& groups)>& body);

}  // namespace swath::sharding
