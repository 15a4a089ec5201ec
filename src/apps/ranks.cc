#include "apps/ranks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <exception>
#include <functional>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/tensor/cuda_plugin.h"
#include "sharding/emulated_network.h"
#include "sharding/gloo_groups.h"
#include "sharding/nccl_groups.h"

namespace swath::apps {

Ranks::Ranks(c10::Device device, const sharding::ShardingOptions& options)
    : environment_(read_launch_environment()), device_(device) {
  if (environment_.world_size == 1) return;
  // Before anybody waits for somebody: a strategy that does not fit is wrong on all ranks alike.
  make_strategy(options.strategy, environment_.world_size);
  if (!is_lead()) keep_to_warnings();
  sharding::RendezvousOptions rendezvous;
  rendezvous.timeout =
      std::chrono::milliseconds(static_cast<int64_t>(options.timeout_minutes * 60e3));
  groups_ = device.is_cpu()
                ? sharding::make_gloo_groups(environment_, rendezvous)
                : sharding::make_nccl_groups(
                      environment_, rendezvous, device,
                      std::bind_front(&CudaPlugin::make_nccl_backend, cuda_plugin(nullptr)));
  if (options.emulate.ranks_per_node > 0) {
    groups_ = sharding::make_emulated_groups(std::move(groups_), options.emulate);
  }
  everyone_ = groups_->make_world_group("command");
}

Ranks::~Ranks() {
  if (groups_ && std::uncaught_exceptions() > 0) groups_->report_failure("ended with an error");
}

std::string Ranks::description() const {
  if (!groups_) return "one process";
  return fmt::format("{} ranks over {}, started by {}", world_size(), groups_->name(),
                     environment_.launcher);
}

std::string Ranks::from_lead(const std::string& text, const std::string& what) {
  if (!groups_) return text;
  return sharding::broadcast_text(*everyone_, device_, text, 0, what);
}

void Ranks::demand_equal(const std::string& text, const std::string& what) {
  if (!groups_) return;
  const at::Tensor own =
      at::full({1}, static_cast<int64_t>(xxh3(text)), at::TensorOptions(at::kLong).device(device_));
  at::Tensor all = at::empty({world_size()}, own.options());
  everyone_->all_gather(all, own, "comparing " + what);
  all = all.cpu();
  std::vector<int64_t> different;
  for (int64_t rank = 0; rank < world_size(); ++rank) {
    if (all[rank].item<int64_t>() != all[0].item<int64_t>()) different.push_back(rank);
  }
  if (different.empty()) return;
  throw UsageError(
      fmt::format("{} of rank {} differ from those of rank 0.", what, fmt::join(different, ", ")),
      "start every rank with the same command, files and program.");
}

void Ranks::on_lead(const std::string& what, const std::function<void()>& work) {
  std::string problem;
  std::exception_ptr error;
  if (is_lead()) {
    try {
      work();
    } catch (const std::exception& thrown) {
      problem = fmt::format(" {}", thrown.what());
      error = std::current_exception();
    }
  }
  problem = from_lead(problem, what);
  if (error) std::rethrow_exception(error);
  if (!problem.empty()) throw Error(fmt::format("{} failed on rank 0:{}", what, problem));
}

}  // namespace swath::apps
