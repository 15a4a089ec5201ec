#include "sharding/emulated_network.h"

#include <chrono>
#include <thread>
#include <utility>

namespace swath::sharding {
namespace {

class EmulatedCommunicator final : public Communicator {
 public:
  EmulatedCommunicator(std::unique_ptr<Communicator> real, const EmulatedNetworkOptions& options)
      : Communicator(real->rank(), real->global_ranks()),
        real_(std::move(real)),
        options_(options) {}

  void all_gather(const at::Tensor& whole, const at::Tensor& part,
                  const std::string& label) override {
    takes(whole, false, [&] { real_->all_gather(whole, part, label); });
  }
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    takes(whole, false, [&] { real_->reduce_scatter(part, whole, label); });
  }
  void all_reduce(const at::Tensor& values, const std::string& label) override {
    takes(values, true, [&] { real_->all_reduce(values, label); });
  }
  void broadcast(const at::Tensor& values, int64_t root, const std::string& label) override {
    takes(values, false, [&] { real_->broadcast(values, root, label); });
  }

 private:
  template <class Work>
  void takes(const at::Tensor& values, bool is_all_reduce, const Work& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const double seconds = emulated_seconds(options_, global_ranks(),
                                            static_cast<int64_t>(values.nbytes()), is_all_reduce);
    std::this_thread::sleep_until(start + std::chrono::duration<double>(seconds));
  }

  std::unique_ptr<Communicator> real_;
  EmulatedNetworkOptions options_;
};

class EmulatedGroups final : public ProcessGroups {
 public:
  EmulatedGroups(std::unique_ptr<ProcessGroups> real, const EmulatedNetworkOptions& options)
      : real_(std::move(real)), options_(options) {}
  int64_t rank() const override { return real_->rank(); }
  int64_t world_size() const override { return real_->world_size(); }
  std::string name() const override { return real_->name() + ", slowed down"; }
  std::unique_ptr<Communicator> make_group(const std::vector<int64_t>& global_ranks,
                                           const std::string& name) override {
    return std::make_unique<EmulatedCommunicator>(real_->make_group(global_ranks, name), options_);
  }
  void report_failure(const std::string& message) override { real_->report_failure(message); }
  void record_failures_in(const std::filesystem::path& directory) override {
    real_->record_failures_in(directory);
  }

 private:
  std::unique_ptr<ProcessGroups> real_;
  EmulatedNetworkOptions options_;
};

}  // namespace

void EmulatedNetworkOptions::describe(FieldTable& fields) {
  fields
      .add("ranks_per_node", &ranks_per_node,
           "CPU: slow collectives down as a cluster of nodes "
           "of so many ranks would; 0: not")
      .at_least(0);
  fields.add("inside_latency_us", &inside_latency_us, "of a link within a node").at_least(0);
  fields.add("inside_gb_per_s", &inside_gb_per_s, "of a link within a node").at_least(1e-6);
  fields.add("across_latency_us", &across_latency_us, "of a link between nodes").at_least(0);
  fields.add("across_gb_per_s", &across_gb_per_s, "of a link between nodes").at_least(1e-6);
}

double emulated_seconds(const EmulatedNetworkOptions& options,
                        const std::vector<int64_t>& global_ranks, int64_t bytes,
                        bool is_all_reduce) {
  if (options.ranks_per_node == 0 || global_ranks.size() < 2) return 0;
  const bool is_inside =
      global_ranks.front() / options.ranks_per_node == global_ranks.back() / options.ranks_per_node;
  const double latency = (is_inside ? options.inside_latency_us : options.across_latency_us) * 1e-6;
  const double rate = (is_inside ? options.inside_gb_per_s : options.across_gb_per_s) * 1e9;
  const auto ranks = static_cast<double>(global_ranks.size());
  const double once =
      (ranks - 1) * latency + static_cast<double>(bytes) * (ranks - 1) / ranks / rate;
  return is_all_reduce ? 2 * once : once;
}

std::unique_ptr<ProcessGroups> make_emulated_groups(std::unique_ptr<ProcessGroups> real,
                                                    const EmulatedNetworkOptions& options) {
  return std::make_unique<EmulatedGroups>(std::move(real), options);
}

}  // namespace swath::sharding
