#include "apps/ranks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <exception>
#include <functional>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor/cuda_plugin.h"
#include "sharding/emulated_network.h"
#include "sharding/gloo_groups.h"
#include "sharding/nccl_groups.h"

namespace swath::apps {

Ranks::Ranks(c10::Device device, const sharding::ShardingOptions& options)
    : environment_(read_launch_environment()), device_(device) {
  if (environment_.world_size == 1) {
    if (!options.trace.empty()) {
      log_warning("sharding.trace: one process shards nothing, no trace will be written.");
    }
    return;
  }
  // Before anybody waits for somebody: a strategy that does not fit is wrong on all ranks alike.
  make_strategy(options.strategy, environment_.world_size);
  if (!is_lead()) keep_to_warnings();
  sharding::RendezvousOptions rendezvous;
  rendezvous.timeout =
      std::chrono::milliseconds(static_cast<int64_t>(options.timeout_minutes * 60e3));
  if (device.is_cpu()) {
    met_over_gloo_ = std::make_shared<sharding::Rendezvous>(environment_, rendezvous, "cpu");
    groups_ =
        sharding::make_gloo_groups(environment_, met_over_gloo_, sharding::GlooAlgorithms::kRings);
  } else {
    groups_ = sharding::make_nccl_groups(
        environment_, rendezvous, device,
        std::bind_front(&CudaPlugin::make_nccl_backend, cuda_plugin(nullptr)));
  }
  if (options.emulate.ranks_per_node > 0) {
    groups_ = sharding::make_emulated_groups(std::move(groups_), options.emulate);
  }
  everyone_ = groups_->make_world_group("command");
}

Ranks::~Ranks() {
  if (groups_ && std::uncaught_exceptions() > 0) groups_->report_failure("ended with an error");
}

std::unique_ptr<sharding::ProcessGroups> Ranks::library_groups() {
  if (!met_over_gloo_) return nullptr;
  return sharding::make_gloo_groups(environment_, met_over_gloo_,
                                    sharding::GlooAlgorithms::kLibrary);
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
  if (groups_) sharding::demand_equal(*everyone_, device_, text, what);
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
