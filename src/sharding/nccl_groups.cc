#include "sharding/nccl_groups.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include <exception>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <utility>

namespace swath::sharding {
namespace {

// A backend that ran the call on the current stream returns no work to wait for.
void wait_for(const c10::intrusive_ptr<c10d::Work>& work) {
  if (work) work->wait();
}

class BackendCommunicator final : public Communicator {
 public:
  BackendCommunicator(int64_t place, std::vector<int64_t> global_ranks, std::string name,
                      const std::string& key, std::shared_ptr<Rendezvous> rendezvous,
                      c10::Device device, const BackendMaker& maker)
      : Communicator(place, std::move(global_ranks)),
        name_(std::move(name)),
        rendezvous_(std::move(rendezvous)) {
    if (size() == 1) return;
    const c10::DeviceGuard guard(device);
    backend_ =
        maker(rendezvous_->store_of(key), place, size(), device, rendezvous_->options().timeout);
  }
  // A group that is left in good order is shut down by all its members; after an error they may
  // not be there to do it.
  ~BackendCommunicator() override {
    if (!backend_) return;
    try {
      if (std::uncaught_exceptions() > 0) {
        backend_->abort();
      } else {
        backend_->shutdown();
      }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): there is nobody to tell
    }
  }

  void all_gather(const at::Tensor& whole, const at::Tensor& part,
                  const std::string& label) override {
    check_parts(*this, whole, part, label);
    if (size() == 1) {
      copy_unless_same(whole, part);
      return;
    }
    c10d::AllgatherOptions options;
    options.asyncOp = false;
    at::Tensor output = whole;
    at::Tensor input = part;
    run(label, whole, [&] { wait_for(backend_->_allgather_base(output, input, options)); });
  }
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    check_parts(*this, whole, part, label);
    if (size() == 1) {
      copy_unless_same(part, whole);
      return;
    }
    c10d::ReduceScatterOptions options;
    options.asyncOp = false;
    at::Tensor output = part;
    at::Tensor input = whole;
    run(label, whole, [&] { wait_for(backend_->_reduce_scatter_base(output, input, options)); });
  }
  void all_reduce(const at::Tensor& values, const std::string& label) override {
    if (size() == 1) return;
    c10d::AllreduceOptions options;
    options.asyncOp = false;
    std::vector<at::Tensor> tensors = {values};
    run(label, values, [&] { wait_for(backend_->allreduce(tensors, options)); });
  }
  void broadcast(const at::Tensor& values, int64_t root, const std::string& label) override {
    if (size() == 1) return;
    c10d::BroadcastOptions options;
    options.asyncOp = false;
    options.rootRank = root;
    std::vector<at::Tensor> tensors = {values};
    run(label, values, [&] { wait_for(backend_->broadcast(tensors, options)); });
  }

 private:
  static void copy_unless_same(const at::Tensor& to, const at::Tensor& from) {
    if (to.data_ptr() != from.data_ptr()) to.copy_(from, /*non_blocking=*/true);
  }
  void run(const std::string& label, const at::Tensor& whole, const std::function<void()>& work) {
    rendezvous_->run_collective(name_, label, whole.nbytes(), work);
  }

  std::string name_;
  std::shared_ptr<Rendezvous> rendezvous_;
  c10::intrusive_ptr<c10d::Backend> backend_;
};

}  // namespace

std::unique_ptr<ProcessGroups> make_nccl_groups(const LaunchEnvironment& environment,
                                                const RendezvousOptions& options,
                                                c10::Device device, const BackendMaker& maker) {
  const std::string kind = device.is_cpu() ? "cpu" : "cuda";
  auto rendezvous = std::make_shared<Rendezvous>(environment, options, kind);
  return make_process_groups(
      "nccl", std::move(rendezvous),
      [device, maker](int64_t place, const std::vector<int64_t>& global_ranks,
                      const std::string& name, const std::string& key,
                      const std::shared_ptr<Rendezvous>& met) {
        return std::make_unique<BackendCommunicator>(place, global_ranks, name, key, met, device,
                                                     maker);
      });
}

}  // namespace swath::sharding
