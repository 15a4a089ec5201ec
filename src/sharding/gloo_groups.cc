#include "sharding/gloo_groups.h"

#include <ATen/ATen.h>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "core/error.h"
#include "core/log.h"
#include "sharding/failure_board.h"
#include "sharding/flight_recorder.h"
#include "sharding/point_to_point.h"

namespace swath::sharding {
namespace {

// Smaller sums take fewer messages through Gloo's own algorithm.
constexpr int64_t kRingBytes = 64 << 10;

// This host's address on the way to rank 0: the interface that all ranks can reach.
std::string own_address_towards(const std::string& host, int64_t port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return {};
  std::string address;
  const int handle = socket(found->ai_family, SOCK_DGRAM, 0);
  if (handle >= 0 && connect(handle, found->ai_addr, found->ai_addrlen) == 0) {
    sockaddr_storage own = {};
    socklen_t length = sizeof(own);
    char text[NI_MAXHOST];
    auto* generic = reinterpret_cast<sockaddr*>(&own);
    if (getsockname(handle, generic, &length) == 0 &&
        getnameinfo(generic, length, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0) {
      address = text;
    }
  }
  if (handle >= 0) close(handle);
  freeaddrinfo(found);
  return address;
}

std::shared_ptr<gloo::transport::Device> choose_device(const LaunchEnvironment& environment) {
  using Gloo = c10d::ProcessGroupGloo;
  if (const char* name = std::getenv("GLOO_SOCKET_IFNAME"); name != nullptr && *name != '\0') {
    return Gloo::createDeviceForInterface(name, /*lazyInit=*/false);
  }
  if (environment.local_world_size == environment.world_size) {
    return Gloo::createDeviceForHostname("127.0.0.1", /*lazyInit=*/false);
  }
  const std::string address =
      own_address_towards(environment.master_address, environment.master_port);
  if (address.empty() || address.starts_with("127.") || address == "::1") {
    throw Error(fmt::format("gloo: rank {} does not know the address under which other hosts reach "
                            "it (towards {} it is '{}').",
                            environment.rank, environment.master_address, address),
                "name its network interface in GLOO_SOCKET_IFNAME, or give MASTER_ADDR as an "
                "address instead of a name that means this host.");
  }
  return Gloo::createDeviceForHostname(address, /*lazyInit=*/false);
}

c10::intrusive_ptr<c10d::TCPStore> open_store(const LaunchEnvironment& environment,
                                              const GlooOptions& options) {
  const std::string where =
      fmt::format("{}:{}", environment.master_address, environment.master_port);
  c10d::TCPStoreOptions store;
  store.port = static_cast<uint16_t>(environment.master_port);
  store.isServer = environment.rank == 0;
  store.numWorkers = static_cast<size_t>(environment.world_size);
  store.timeout = options.start_timeout;
  try {
    return c10::make_intrusive<c10d::TCPStore>(environment.master_address, store);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    if (text.find("EADDRINUSE") != std::string::npos || text.find("in use") != std::string::npos) {
      throw Error(fmt::format("rank 0 cannot serve {}: the port is in use.", where),
                  "another job of yours may run there; set MASTER_PORT to a free port, on all "
                  "ranks alike.");
    }
    throw Error(fmt::format("rank {} of {} cannot meet the others at {} within {} s: {}",
                            environment.rank, environment.world_size, where,
                            options.start_timeout.count() / 1000, text.substr(0, text.find('\n'))),
                environment.rank == 0
                    ? "not all ranks came: look at their own messages."
                    : "rank 0 serves there: is it running, is MASTER_ADDR its host, does a "
                      "firewall close the port?");
  }
}

// Gloo's own words, without the place in its sources and the stack.
std::string reason_in(const std::string& what) {
  const size_t start = what.starts_with('[') ? what.find("] ") + 2 : 0;
  return what.substr(start, what.find('\n', start) - start);
}

// What all communicators of the process share.
struct Shared {
  LaunchEnvironment environment;
  GlooOptions options;
  std::filesystem::path flight_directory;  // empty: no record
  c10::intrusive_ptr<c10d::TCPStore> store;
  std::shared_ptr<gloo::transport::Device> device;
  FlightRecorder recorder;
  std::unique_ptr<FailureBoard> board;

  // Turns what a collective threw into an error that says who failed first.
  [[noreturn]] void fail(const std::string& label, const std::string& what) {
    if (!flight_directory.empty()) {
      try {
        recorder.write(flight_directory / fmt::format("flight_rank_{:05d}.json", environment.rank),
                       environment.rank);
      } catch (const std::exception& error) {
        log_warning(fmt::format("no flight record: {}", error.what()));
      }
    }
    throw Error(fmt::format("rank {}: {} failed: {}. {}", environment.rank, label, reason_in(what),
                            board->describe_failure(label)),
                "the run goes on from its last checkpoint with resume=auto.");
  }
};

class GlooLinks final : public PointToPoint {
 public:
  GlooLinks(c10::intrusive_ptr<c10d::ProcessGroupGloo> group, std::chrono::milliseconds timeout)
      : group_(std::move(group)), timeout_(timeout) {}
  Completion send(const at::Tensor& values, int64_t to, int64_t tag) override {
    std::vector<at::Tensor> tensors = {values};
    return completion_of(group_->send(tensors, static_cast<int>(to), static_cast<int>(tag)));
  }
  Completion receive(const at::Tensor& values, int64_t from, int64_t tag) override {
    std::vector<at::Tensor> tensors = {values};
    return completion_of(group_->recv(tensors, static_cast<int>(from), static_cast<int>(tag)));
  }

 private:
  Completion completion_of(c10::intrusive_ptr<c10d::Work> work) const {
    return [work = std::move(work), timeout = timeout_] { work->wait(timeout); };
  }
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::chrono::milliseconds timeout_;
};

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(int64_t rank, std::vector<int64_t> global_ranks, std::string name,
                   const std::string& key, std::shared_ptr<Shared> shared)
      : Communicator(rank, std::move(global_ranks)),
        name_(std::move(name)),
        shared_(std::move(shared)) {
    if (size() == 1) return;
    const auto options = c10d::ProcessGroupGloo::Options::create(shared_->options.timeout);
    options->devices.push_back(shared_->device);
    const auto store = c10::make_intrusive<c10d::PrefixStore>(key, shared_->store);
    group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(rank),
                                                         static_cast<int>(size()), options);
    links_ = std::make_unique<GlooLinks>(group_, shared_->options.timeout);
  }

  void all_gather(const at::Tensor& whole, const at::Tensor& part,
                  const std::string& label) override {
    check_parts(*this, whole, part, label);
    const at::Tensor own = whole.narrow(0, rank() * part.numel(), part.numel());
    if (own.data_ptr() != part.data_ptr()) own.copy_(part);
    guarded(label, whole.nbytes(),
            [&] { ring_all_gather(*links_, whole, rank(), size(), next_tag(whole)); });
  }
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    check_parts(*this, whole, part, label);
    guarded(label, whole.nbytes(),
            [&] { ring_reduce_scatter(*links_, whole, rank(), size(), next_tag(whole)); });
    const at::Tensor own = whole.narrow(0, rank() * part.numel(), part.numel());
    if (own.data_ptr() != part.data_ptr()) part.copy_(own);
  }
  void all_reduce(const at::Tensor& values, const std::string& label) override {
    guarded(label, values.nbytes(), [&] {
      if (static_cast<int64_t>(values.nbytes()) >= kRingBytes) {
        ring_reduce_scatter(*links_, values, rank(), size(), next_tag(values));
        ring_all_gather(*links_, values, rank(), size(), next_tag(values));
      } else {
        std::vector<at::Tensor> tensors = {values};
        group_->allreduce(tensors)->wait(shared_->options.timeout);
      }
    });
  }
  void broadcast(const at::Tensor& values, int64_t root, const std::string& label) override {
    guarded(label, values.nbytes(), [&] {
      std::vector<at::Tensor> tensors = {values};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      group_->broadcast(tensors, options)->wait(shared_->options.timeout);
    });
  }

 private:
  template <class Work>
  void guarded(const std::string& label, size_t bytes, const Work& work) {
    if (size() == 1) return;
    const uint64_t number = shared_->recorder.start(name_, label, static_cast<int64_t>(bytes));
    try {
      work();
    } catch (const std::exception& error) {
      shared_->fail(label, error.what());
    }
    shared_->recorder.finish(number);
  }

  // Members make the same calls, so they count alike.
  int64_t next_tag(const at::Tensor& values) {
    constexpr int64_t kMost = 1 << 30;
    const int64_t used = tags_used(values.numel(), values.element_size(), size());
    if (tag_ + used > kMost) tag_ = 0;
    return std::exchange(tag_, tag_ + used);
  }

  std::string name_;
  std::shared_ptr<Shared> shared_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::unique_ptr<GlooLinks> links_;
  int64_t tag_ = 0;
};

class GlooGroups final : public ProcessGroups {
 public:
  explicit GlooGroups(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  // Rank 0 serves the store: it leaves last, unless the others failed.
  ~GlooGroups() override { shared_->board->leave(); }

  int64_t rank() const override { return shared_->environment.rank; }
  int64_t world_size() const override { return shared_->environment.world_size; }
  std::string name() const override { return "gloo"; }
  std::unique_ptr<Communicator> make_group(const std::vector<int64_t>& global_ranks,
                                           const std::string& name) override {
    const int64_t place = place_in_group(global_ranks, rank());
    // Members find each other under a key of the store: a second group of this name needs another.
    const std::string key =
        fmt::format("{}/{}/{}", name, fmt::join(global_ranks, ","), num_groups_[name]++);
    try {
      return std::make_unique<GlooCommunicator>(place, global_ranks, name, key, shared_);
    } catch (const std::exception& error) {
      shared_->fail(fmt::format("connecting group {}", name), error.what());
    }
  }
  void report_failure(const std::string& message) override { shared_->board->post(message); }
  void record_failures_in(const std::filesystem::path& directory) override {
    shared_->flight_directory = directory;
  }

 private:
  std::shared_ptr<Shared> shared_;
  std::map<std::string, int64_t> num_groups_;
};

}  // namespace

std::unique_ptr<ProcessGroups> make_gloo_groups(const LaunchEnvironment& environment,
                                                const GlooOptions& options) {
  auto shared = std::make_shared<Shared>();
  shared->environment = environment;
  shared->options = options;
  shared->store = open_store(environment, options);
  shared->device = choose_device(environment);
  shared->board =
      std::make_unique<FailureBoard>(shared->store, environment.rank, environment.world_size);
  return std::make_unique<GlooGroups>(std::move(shared));
}

}  // namespace swath::sharding
