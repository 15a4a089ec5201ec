#include "sharding/silent_groups.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/error.h"

namespace swath::sharding {
namespace {

class SilentCommunicator final : public Communicator {
 public:
  SilentCommunicator(int64_t rank, std::vector<int64_t> global_ranks, SilentGather gather)
      : Communicator(rank, std::move(global_ranks)), gather_(gather) {}

  void all_gather(const at::Tensor& whole, const at::Tensor& part,
                  const std::string& label) override {
    check_parts(*this, whole, part, label);
    if (gather_ == SilentGather::kRepeat) {
      // One call for any number of ranks; our own slice gets what it may already hold.
      whole.view({size(), part.numel()}).copy_(part.clone().unsqueeze(0));
      return;
    }
    const at::Tensor own = whole.narrow(0, rank() * part.numel(), part.numel());
    if (own.data_ptr() != part.data_ptr()) own.copy_(part);
  }
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    check_parts(*this, whole, part, label);
    const at::Tensor own = whole.narrow(0, rank() * part.numel(), part.numel());
    if (own.data_ptr() != part.data_ptr()) part.copy_(own);
  }
  void all_reduce(const at::Tensor&, const std::string&) override {}
  void broadcast(const at::Tensor&, int64_t, const std::string&) override {}

 private:
  SilentGather gather_;
};

class SilentGroups final : public ProcessGroups {
 public:
  SilentGroups(int64_t rank, int64_t world_size, SilentGather gather)
      : rank_(rank), world_size_(world_size), gather_(gather) {}

  int64_t rank() const override { return rank_; }
  int64_t world_size() const override { return world_size_; }
  std::string name() const override { return "silent"; }
  std::unique_ptr<Communicator> make_group(const std::vector<int64_t>& global_ranks,
                                           const std::string&) override {
    return std::make_unique<SilentCommunicator>(place_in_group(global_ranks, rank_), global_ranks,
                                                gather_);
  }

 private:
  int64_t rank_;
  int64_t world_size_;
  SilentGather gather_;
};

}  // namespace

std::unique_ptr<ProcessGroups> make_silent_groups(int64_t rank, int64_t world_size,
                                                  SilentGather gather) {
  if (rank < 0 || rank >= world_size) {
    throw UsageError(fmt::format("sharding: rank {} of {} ranks.", rank, world_size),
                     "ranks count from 0.");
  }
  return std::make_unique<SilentGroups>(rank, world_size, gather);
}

}  // namespace swath::sharding
