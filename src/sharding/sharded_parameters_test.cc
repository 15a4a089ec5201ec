#include "sharding/sharded_parameters.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "core/error.h"
#include "sharding/silent_groups.h"
#include "sharding/thread_groups.h"
#include "sharding/toy_model.h"

namespace swath::sharding {
namespace {

using ByName = std::map<std::string, at::Tensor>;

struct Outcome {
  std::vector<double> losses;
  ByName parameters;
};

Outcome train_alone(const ToyRun& run) {
  ToyModel model;
  ThreadHub hub(1);
  const auto groups = hub.groups_of(0);
  ShardedOptions options;
  options.accumulation = run.accumulation;
  ShardedParameters parameters(model, model.spec(), make_strategy({}, 1), *groups, options, {});
  Outcome outcome;
  outcome.losses = train_toy(model, parameters, run);
  collect_toy(parameters, outcome.parameters);
  return outcome;
}

// Every rank's losses and parameters must agree; returns them once.
Outcome train_with(int64_t world_size, const Strategy& strategy, const ShardedOptions& options,
                   const ToyRun& run) {
  ThreadHub hub(world_size);
  std::mutex mutex;
  Outcome outcome;
  run_ranks(hub, [&](ProcessGroups& groups) {
    ToyModel model;
    ShardedParameters parameters(model, model.spec(), strategy, groups, options, {});
    const std::vector<double> losses = train_toy(model, parameters, run);
    ByName own;
    collect_toy(parameters, own);
    std::lock_guard lock(mutex);
    if (outcome.losses.empty()) outcome.losses = losses;
    EXPECT_EQ(outcome.losses, losses) << "rank " << groups.rank();
    for (auto& [name, values] : own) {
      at::Tensor& known = outcome.parameters[name];
      if (!known.defined()) known = at::full_like(values, std::nan(""));
      const at::Tensor is_here = values.isnan().logical_not();
      // Replicas hold the same bits.
      const at::Tensor is_known = known.isnan().logical_not().logical_and(is_here);
      EXPECT_TRUE(known.masked_select(is_known).equal(values.masked_select(is_known)))
          << name << " drifts on rank " << groups.rank();
      known = at::where(is_here, values, known);
    }
  });
  return outcome;
}

void expect_close(const Outcome& found, const Outcome& expected, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(found.losses.size(), expected.losses.size()) << what;
  for (size_t i = 0; i < expected.losses.size(); ++i) {
    EXPECT_NEAR(found.losses[i], expected.losses[i], tolerance * std::abs(expected.losses[i]))
        << what << ", step " << i;
  }
  ASSERT_EQ(found.parameters.size(), expected.parameters.size()) << what;
  for (const auto& [name, values] : expected.parameters) {
    const at::Tensor& other = found.parameters.at(name);
    const double difference = (other - values).abs().max().item<double>();
    EXPECT_LE(difference, tolerance * values.abs().max().item<double>()) << what << ": " << name;
  }
}

Strategy strategy_of(const std::string& name, int64_t world_size,
                     const std::string& prefetch = "BACKWARD_PRE", bool forward_prefetch = false,
                     bool limit = true) {
  StrategyOptions options;
  options.strategy = name;
  options.backward_prefetch = prefetch;
  options.forward_prefetch = forward_prefetch;
  options.limit_all_gathers = limit;
  options.bucket_mib = 600.0 / (1 << 20);  // a few buckets of the toy
  options.first_bucket_mib = 100.0 / (1 << 20);
  return make_strategy(options, world_size);
}

constexpr double kTolerance = 2e-5;  // of float32 after 20 steps; sums run in other orders

TEST(ShardedParameters, OneRankTrainsTheToy) {
  const Outcome alone = train_alone({});
  EXPECT_LT(alone.losses.back(), 0.9 * alone.losses.front());
  for (const auto& [name, values] : alone.parameters) {
    EXPECT_FALSE(values.isnan().any().item<bool>()) << name;
  }
}

TEST(ShardedParameters, EveryStrategyEqualsOneProcess) {
  const Outcome alone = train_alone({});
  for (const int64_t world_size : {2, 3, 4, 8}) {
    for (const char* name : {"DDP", "NO_SHARD", "SHARD_GRAD_OP", "FULL_SHARD", "HYBRID_1",
                             "HYBRID_2", "HYBRID_4", "HYBRID_2_SHARD_GRAD_OP"}) {
      Strategy strategy;
      try {
        strategy = strategy_of(name, world_size);
      } catch (const UsageError&) {
        continue;  // a size that does not divide the world
      }
      expect_close(train_with(world_size, strategy, {}, {}), alone, kTolerance,
                   fmt::format("{} on {} ranks", name, world_size));
    }
  }
}

}  // namespace
}  // namespace swath::sharding
