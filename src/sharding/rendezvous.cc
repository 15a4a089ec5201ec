#include "sharding/rendezvous.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "sharding/failure_board.h"
#include "sharding/flight_recorder.h"

namespace swath::sharding {
namespace {

c10::intrusive_ptr<c10d::TCPStore> open_store(const LaunchEnvironment& environment,
                                              std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions store;
  store.port = static_cast<uint16_t>(environment.master_port);
  store.isServer = environment.rank == 0;
  store.numWorkers = static_cast<size_t>(environment.world_size);
  store.timeout = timeout;
  return c10::make_intrusive<c10d::TCPStore>(environment.master_address, store);
}

constexpr const char* kDeviceKinds[] = {"cpu", "cuda"};

// "2 on cpu, 1 on cuda": of all ranks, once the last has come and counted.
std::string count_devices(c10d::Store& store, const LaunchEnvironment& environment,
                          const std::string& kind) {
  store.add("device/" + kind, 1);
  if (store.add("devices", 1) == environment.world_size) {
    std::vector<std::string> counts;
    for (const char* known : kDeviceKinds) {
      const int64_t count = store.add(fmt::format("device/{}", known), 0);
      if (count > 0) counts.push_back(fmt::format("{} on {}", count, known));
    }
    store.set("device_counts", fmt::format("{}", fmt::join(counts, ", ")));
  }
  const std::vector<uint8_t> bytes = store.get("device_counts");
  return {bytes.begin(), bytes.end()};
}

// What `what` says about the first meeting.
[[noreturn]] void fail_to_meet(const LaunchEnvironment& environment,
                               const RendezvousOptions& options, const std::string& what) {
  const std::string where =
      fmt::format("{}:{}", environment.master_address, environment.master_port);
  if (what.find("EADDRINUSE") != std::string::npos || what.find("in use") != std::string::npos) {
    throw Error(fmt::format("rank 0 cannot serve {}: the port is in use.", where),
                "another job of yours may run there; set MASTER_PORT to a free port, on all "
                "ranks alike.");
  }
  throw Error(fmt::format("rank {} of {} cannot meet the others at {} within {} s: {}",
                          environment.rank, environment.world_size, where,
                          options.start_timeout.count() / 1000, what.substr(0, what.find('\n'))),
              environment.rank == 0
                  ? "not all ranks came: look at their own messages."
                  : "rank 0 serves there: is it running, is MASTER_ADDR its host, does a "
                    "firewall close the port? Or another rank did not come.");
}

// A backend's own words, without the place in its sources and the stack.
std::string reason_in(const std::string& what) {
  const size_t start = what.starts_with('[') ? what.find("] ") + 2 : 0;
  return what.substr(start, what.find('\n', start) - start);
}

}  // namespace

struct Rendezvous::State {
  LaunchEnvironment environment;
  RendezvousOptions options;
  std::filesystem::path flight_directory;  // empty: no record
  c10::intrusive_ptr<c10d::TCPStore> store;
  FlightRecorder recorder;
  std::unique_ptr<FailureBoard> board;

  void write_flight_record() const {
    if (flight_directory.empty()) return;
    try {
      recorder.write(flight_directory / fmt::format("flight_rank_{:05d}.json", environment.rank),
                     environment.rank);
    } catch (const std::exception& error) {
      log_warning(fmt::format("no flight record: {}", error.what()));
    }
  }
};

Rendezvous::Rendezvous(LaunchEnvironment environment, RendezvousOptions options,
                       const std::string& device_kind)
    : state_(std::make_unique<State>()) {
  state_->environment = std::move(environment);
  state_->options = options;
  std::string counts;
  try {
    state_->store = open_store(state_->environment, options.start_timeout);
    counts = count_devices(*state_->store, state_->environment, device_kind);
  } catch (const std::exception& error) {
    fail_to_meet(state_->environment, options, error.what());
  }
  state_->board = std::make_unique<FailureBoard>(state_->store, state_->environment.rank,
                                                 state_->environment.world_size);
  if (counts == fmt::format("{} on {}", state_->environment.world_size, device_kind)) return;
  state_->board->leave(std::chrono::seconds(5));  // the others read the answer at rank 0's
  throw UsageError(fmt::format("rank {} is on {}, but not all ranks are: {}.",
                               state_->environment.rank, device_kind, counts),
                   "give every rank the same --device, and every host the same build.");
}

Rendezvous::~Rendezvous() { state_->board->leave(); }

const LaunchEnvironment& Rendezvous::environment() const { return state_->environment; }
const RendezvousOptions& Rendezvous::options() const { return state_->options; }

c10::intrusive_ptr<c10d::Store> Rendezvous::store_of(const std::string& key) const {
  return c10::make_intrusive<c10d::PrefixStore>(key, state_->store);
}

void Rendezvous::run_collective(const std::string& group, const std::string& label, size_t bytes,
                                const std::function<void()>& work) {
  const uint64_t number = state_->recorder.start(group, label, static_cast<int64_t>(bytes));
  try {
    work();
  } catch (const std::exception& error) {
    state_->write_flight_record();
    throw Error(fmt::format("rank {}: {} failed: {}. {}", state_->environment.rank, label,
                            reason_in(error.what()), state_->board->describe_failure(label)),
                "the run goes on from its last checkpoint with resume=auto.");
  }
  state_->recorder.finish(number);
}

void Rendezvous::report_failure(const std::string& message) { state_->board->post(message); }

void Rendezvous::record_failures_in(const std::filesystem::path& directory) {
  state_->flight_directory = directory;
}

namespace {

class MetGroups final : public ProcessGroups {
 public:
  MetGroups(std::string name, std::shared_ptr<Rendezvous> rendezvous, CommunicatorMaker maker)
      : name_(std::move(name)), rendezvous_(std::move(rendezvous)), maker_(std::move(maker)) {}

  int64_t rank() const override { return rendezvous_->environment().rank; }
  int64_t world_size() const override { return rendezvous_->environment().world_size; }
  std::string name() const override { return name_; }
  std::unique_ptr<Communicator> make_group(const std::vector<int64_t>& global_ranks,
                                           const std::string& name) override {
    const int64_t place = place_in_group(global_ranks, rank());
    // Members find each other under a key of the store: a second group of this name needs another.
    const std::string key =
        fmt::format("{}/{}/{}", name, fmt::join(global_ranks, ","), num_groups_[name]++);
    std::unique_ptr<Communicator> group;
    rendezvous_->run_collective(name, "connecting group " + name, 0, [&] {
      group = maker_(place, global_ranks, name, key, rendezvous_);
    });
    return group;
  }
  void report_failure(const std::string& message) override { rendezvous_->report_failure(message); }
  void record_failures_in(const std::filesystem::path& directory) override {
    rendezvous_->record_failures_in(directory);
  }

 private:
  std::string name_;
  std::shared_ptr<Rendezvous> rendezvous_;
  CommunicatorMaker maker_;
  std::map<std::string, int64_t> num_groups_;
};

}  // namespace

std::unique_ptr<ProcessGroups> make_process_groups(std::string name,
                                                   std::shared_ptr<Rendezvous> rendezvous,
                                                   CommunicatorMaker maker) {
  return std::make_unique<MetGroups>(std::move(name), std::move(rendezvous), std::move(maker));
}

}  // namespace swath::sharding
