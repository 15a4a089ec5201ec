// The settings of sharding: component "sharding" of a recipe.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"
#include "core/strategy.h"
#include "sharding/emulated_network.h"

namespace swath::sharding {

struct ShardingOptions {
  StrategyOptions strategy;
  std::string reduce_precision = "fp32";
  bool reduce_every_micro_batch = true;
  double unit_mib = 1;
  double timeout_minutes = 10;
  bool check_ranks = true;
  std::string trace;  // folder for trace_rank_NNNNN.json (trace.h); empty: none
  EmulatedNetworkOptions emulate;

  void describe(FieldTable& fields);
};

}  // namespace swath::sharding
