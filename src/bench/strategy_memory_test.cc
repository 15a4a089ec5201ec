// What a rank of a sharded job really holds, against the formula that a planner goes by.
#include <gtest/gtest.h>

#include "bench/silent_rank_bench.h"
#include "core/tensor/memory.h"

namespace swath::bench {
namespace {

Json measure(const std::string& strategy, int64_t world_size, int64_t rank) {
  StepBenchOptions options;
  options.model.name = "vit_micro";
  options.model.image_size = 32;
  options.model.patch = 8;
  options.batch_size = 1;
  options.warmup_steps = 1;
  options.steps = 1;
  options.repeats = 1;
  options.precision = "fp32";
  options.sharding.strategy.strategy = strategy;
  options.pretend_world = world_size;
  options.pretend_rank = rank;
  return bench_syn_no_comm(options, c10::kCPU);
}

TEST(StrategyMemory, StateAndGatheredUnitsAreAsTheFormulaSays) {
  install_memory_counter();
  const int64_t before = memory_stats(c10::kCPU).allocated_bytes;
  for (const char* strategy :
       {"DDP", "NO_SHARD", "SHARD_GRAD_OP", "FULL_SHARD", "HYBRID_4", "HYBRID_4_SHARD_GRAD_OP"}) {
    for (const int64_t rank : {0, 15}) {
      const Json result = measure(strategy, 16, rank);
      const auto state = result.at("model_state_bytes").get<double>();
      const auto gathered = result.at("gathered_bytes").get<double>();
      const double held = result.at("allocated_bytes").get<double>() - static_cast<double>(before);
      EXPECT_NEAR(held, state, 0.05 * state) << strategy << ", rank " << rank;
      // Activations come on top: with one small image they are little.
      const double peak =
          result.at("peak_memory_bytes").get<double>() - static_cast<double>(before);
      EXPECT_GT(peak, 0.95 * (state + gathered)) << strategy << ", rank " << rank;
      EXPECT_LT(peak, 1.05 * (state + gathered) + 4e6) << strategy << ", rank " << rank;
    }
  }
}

}  // namespace
}  // namespace swath::bench
