// Where the processes of a job meet, whatever carries their collectives: a key-value store that
// rank 0 serves at master_address:master_port, with the board on which ranks say that they failed
// and this process's record of its last collectives.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/launch_environment.h"
#include "sharding/communicator.h"

namespace c10d {
class Store;
}

namespace swath::sharding {

struct RendezvousOptions {
  std::chrono::milliseconds timeout = std::chrono::minutes(10);  // of one collective
  std::chrono::milliseconds start_timeout = std::chrono::minutes(5);
};

class Rendezvous {
 public:
  // Waits until all ranks are there. Throws Error when the port is in use, rank 0's host cannot be
  // reached, some ranks do not come, or their kinds of device ("cpu", "cuda") differ.
  Rendezvous(LaunchEnvironment environment, RendezvousOptions options,
             const std::string& device_kind);
  // Rank 0 leaves last, unless the others failed.
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  const LaunchEnvironment& environment() const;
  const RendezvousOptions& options() const;
  // A part of the store for a group that its members name alike.
  c10::intrusive_ptr<c10d::Store> store_of(const std::string& key) const;

  // Runs a collective and keeps it in the record. What it throws becomes an Error that says which
  // rank failed first, or gives no sign of life.
  void run_collective(const std::string& group, const std::string& label, size_t bytes,
                      const std::function<void()>& work);
  void report_failure(const std::string& message);
  // The last collectives go to flight_rank_NNNNN.json there when one fails.
  void record_failures_in(const std::filesystem::path& directory);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What one kind of communicator needs to come to life. `key` names the group's part of the store.
using CommunicatorMaker = std::function<std::unique_ptr<Communicator>(
    int64_t place, const std::vector<int64_t>& global_ranks, const std::string& name,
    const std::string& key, const std::shared_ptr<Rendezvous>& rendezvous)>;

// Groups of the processes that met. `name` is the carrier's: "gloo", "nccl".
std::unique_ptr<ProcessGroups> make_process_groups(std::string name,
                                                   std::shared_ptr<Rendezvous> rendezvous,
                                                   CommunicatorMaker maker);

}  // namespace swath::sharding
