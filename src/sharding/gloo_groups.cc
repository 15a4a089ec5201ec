#include "sharding/gloo_groups.h"

#include <ATen/ATen.h>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "core/error.h"
#include "sharding/point_to_point.h"

namespace swath::sharding {
namespace {

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
                   const std::string& key, std::shared_ptr<Rendezvous> rendezvous,
                   const std::shared_ptr<gloo::transport::Device>& device,
                   GlooAlgorithms algorithms)
      : Communicator(rank, std::move(global_ranks)),
        uses_rings_(algorithms == GlooAlgorithms::kRings),
        name_(std::move(name)),
        rendezvous_(std::move(rendezvous)),
        timeout_(rendezvous_->options().timeout) {
    if (size() == 1) return;
    const auto options = c10d::ProcessGroupGloo::Options::create(timeout_);
    options->devices.push_back(device);
    group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
        rendezvous_->store_of(key), static_cast<int>(rank), static_cast<int>(size()), options);
    links_ = std::make_unique<GlooLinks>(group_, timeout_);
  }

  void all_gather(const at::Tensor& whole, const at::Tensor& part,
                  const std::string& label) override {
    check_parts(*this, whole, part, label);
    if (!uses_rings_) {
      at::Tensor into = whole;
      at::Tensor from = part;
      guarded(label, whole.nbytes(), [&] { group_->_allgather_base(into, from)->wait(timeout_); });
      return;
    }
    const at::Tensor own = whole.narrow(0, rank() * part.numel(), part.numel());
    if (own.data_ptr() != part.data_ptr()) own.copy_(part);
    guarded(label, whole.nbytes(),
            [&] { ring_all_gather(*links_, whole, rank(), size(), next_tag(whole)); });
  }
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    check_parts(*this, whole, part, label);
    if (!uses_rings_) {
      at::Tensor into = part;
      at::Tensor from = whole;
      guarded(label, whole.nbytes(),
              [&] { group_->_reduce_scatter_base(into, from)->wait(timeout_); });
      return;
    }
    guarded(label, whole.nbytes(),
            [&] { ring_reduce_scatter(*links_, whole, rank(), size(), next_tag(whole)); });
    const at::Tensor own = whole.narrow(0, rank() * part.numel(), part.numel());
    if (own.data_ptr() != part.data_ptr()) part.copy_(own);
  }
  void all_reduce(const at::Tensor& values, const std::string& label) override {
    guarded(label, values.nbytes(), [&] {
      std::vector<at::Tensor> tensors = {values};
      group_->allreduce(tensors)->wait(timeout_);
    });
  }
  void broadcast(const at::Tensor& values, int64_t root, const std::string& label) override {
    guarded(label, values.nbytes(), [&] {
      std::vector<at::Tensor> tensors = {values};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      group_->broadcast(tensors, options)->wait(timeout_);
    });
  }

 private:
  void guarded(const std::string& label, size_t bytes, const std::function<void()>& work) {
    if (size() > 1) rendezvous_->run_collective(name_, label, bytes, work);
  }

  // Members make the same calls, so they count alike.
  int64_t next_tag(const at::Tensor& values) {
    constexpr int64_t kMost = 1 << 30;
    const int64_t used = tags_used(values.numel(), values.element_size(), size());
    if (tag_ + used > kMost) tag_ = 0;
    return std::exchange(tag_, tag_ + used);
  }

  bool uses_rings_;
  std::string name_;
  std::shared_ptr<Rendezvous> rendezvous_;
  std::chrono::milliseconds timeout_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::unique_ptr<GlooLinks> links_;
  int64_t tag_ = 0;
};

}  // namespace

std::unique_ptr<ProcessGroups> make_gloo_groups(const LaunchEnvironment& environment,
                                                const RendezvousOptions& options) {
  return make_gloo_groups(environment, std::make_shared<Rendezvous>(environment, options, "cpu"),
                          GlooAlgorithms::kRings);
}

std::unique_ptr<ProcessGroups> make_gloo_groups(const LaunchEnvironment& environment,
                                                std::shared_ptr<Rendezvous> rendezvous,
                                                GlooAlgorithms algorithms) {
  const auto device = choose_device(environment);
  return make_process_groups(
      "gloo", std::move(rendezvous),
      [device, algorithms](int64_t place, const std::vector<int64_t>& global_ranks,
                           const std::string& name, const std::string& key,
                           const std::shared_ptr<Rendezvous>& met) {
        return std::make_unique<GlooCommunicator>(place, global_ranks, name, key, met, device,
                                                  algorithms);
      });
}

}  // namespace swath::sharding
