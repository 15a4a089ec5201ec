// Who holds an objective's parameters during a step: this process, or many ranks together.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <memory>

#include "models/objective.h"
#include "sharding/communicator.h"
#include "sharding/options.h"
#include "sharding/parameters.h"

namespace swath::train {

struct HoldOptions {
  c10::ScalarType precision = c10::ScalarType::Float;  // of the computation
  c10::Device device = c10::kCPU;
  int64_t accumulation = 1;  // micro-batches per step
  bool activation_checkpointing = false;
};

// Several ranks; null is one process.
bool is_sharded(const sharding::ProcessGroups* groups);

// Puts the parameters on the device. Sharded, those that have no memory are filled in by the
// objective. `objective` and `groups` outlive the result; without `rules`, AdamW's.
std::unique_ptr<sharding::Parameters> hold_parameters(models::Objective& objective,
                                                      const HoldOptions& options,
                                                      const sharding::ShardingOptions& sharding,
                                                      sharding::ProcessGroups* groups,
                                                      const sharding::ParameterRules& rules = {});

}  // namespace swath::train
