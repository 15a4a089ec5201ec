// For tests: groups that are others with something changed.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sharding/communicator.h"

namespace swath::sharding {

// Passes every call on; whoever derives from it changes some.
class ForwardingCommunicator : public Communicator {
 public:
  explicit ForwardingCommunicator(std::unique_ptr<Communicator> real)
      : Communicator(real->rank(), real->global_ranks()), real_(std::move(real)) {}
  void all_gather(const at::Tensor& whole, const at::Tensor& part,
                  const std::string& label) override {
    real_->all_gather(whole, part, label);
  }
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    real_->reduce_scatter(part, whole, label);
  }
  void all_reduce(const at::Tensor& values, const std::string& label) override {
    real_->all_reduce(values, label);
  }
  void broadcast(const at::Tensor& values, int64_t root, const std::string& label) override {
    real_->broadcast(values, root, label);
  }

 private:
  std::unique_ptr<Communicator> real_;
};

// `wrap` is given each group that is made, and its name.
class ForwardingGroups final : public ProcessGroups {
 public:
  using Wrap = std::function<std::unique_ptr<Communicator>(std::unique_ptr<Communicator> group,
                                                           const std::string& name)>;
  ForwardingGroups(ProcessGroups& real, Wrap wrap) : real_(real), wrap_(std::move(wrap)) {}
  int64_t rank() const override { return real_.rank(); }
  int64_t world_size() const override { return real_.world_size(); }
  std::string name() const override { return real_.name(); }
  std::unique_ptr<Communicator> make_group(const std::vector<int64_t>& global_ranks,
                                           const std::string& name) override {
    return wrap_(real_.make_group(global_ranks, name), name);
  }

 private:
  ProcessGroups& real_;
  Wrap wrap_;
};

}  // namespace swath::sharding
