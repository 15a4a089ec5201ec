#include "train/hold_parameters.h"

#include <torch/nn/module.h>

#include <string>

#include "core/strategy.h"
#include "optim/adamw.h"
#include "sharding/local_parameters.h"
#include "sharding/sharded_parameters.h"

namespace swath::train {
bool is_sharded(const sharding::ProcessGroups* groups) {
  return groups != nullptr && groups->world_size() > 1;
}

std::unique_ptr<sharding::Parameters> hold_parameters(models::Objective& objective,
                                                      const HoldOptions& options,
                                                      const sharding::ShardingOptions& sharding,
                                                      sharding::ProcessGroups* groups,
                                                      const sharding::ParameterRules& rules) {
  sharding::ParameterRules decided = rules;
  if (!decided) {
    decided = [&objective](const std::string& name, at::IntArrayRef shape) {
      return sharding::ParameterRule{
          optim::is_decayed(name, shape) && !objective.never_decays(name), 1.0};
    };
  }
  if (!is_sharded(groups)) {
    objective.module().to(options.device);
    sharding::LocalParameters::Options held;
    held.compute_dtype = options.precision;
    held.accumulation = options.accumulation;
    held.activation_checkpointing = options.activation_checkpointing;
    return std::make_unique<sharding::LocalParameters>(objective.module(), held, decided);
  }
  sharding::ShardedOptions held =
      sharding::sharded_options(sharding, options.precision, options.device);
  held.accumulation = options.accumulation;
  held.activation_checkpointing = options.activation_checkpointing;
  return std::make_unique<sharding::ShardedParameters>(
      objective.module(), objective.spec(), make_strategy(sharding.strategy, groups->world_size()),
      *groups, held, decided, [&objective](const std::string& name, const at::Tensor& values) {
        objective.initialize(name, values);
      });
}

}  // namespace swath::train
