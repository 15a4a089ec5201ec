#include "sharding/emulated_network.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "sharding/sharded_parameters.h"
#include "sharding/silent_groups.h"
#include "sharding/toy_model.h"

namespace swath::sharding {
namespace {

using namespace std::chrono_literals;

EmulatedNetworkOptions two_nodes_of_two() {
  EmulatedNetworkOptions options;
  options.ranks_per_node = 2;
  options.inside_latency_us = 10;
  options.inside_gb_per_s = 10;
  options.across_latency_us = 100;
  options.across_gb_per_s = 1;
  return options;
}

TEST(EmulatedNetwork, TimesOfRings) {
  const EmulatedNetworkOptions options = two_nodes_of_two();
  // One step of 10 us; half of 1 MB at 10 GB/s.
  EXPECT_DOUBLE_EQ(emulated_seconds(options, {2, 3}, 1000000, false), 10e-6 + 50e-6);
  // Three steps of 100 us; three quarters of 1 MB at 1 GB/s; twice for an all-reduce.
  EXPECT_DOUBLE_EQ(emulated_seconds(options, {0, 1, 2, 3}, 1000000, true), 2 * (300e-6 + 750e-6));
  EXPECT_DOUBLE_EQ(emulated_seconds(options, {1, 2}, 0, false), 100e-6);
  EXPECT_EQ(emulated_seconds(options, {1}, 1000000, false), 0);
  EXPECT_EQ(emulated_seconds({}, {0, 1}, 1000000, false), 0);
}

// A model whose blocks do nothing but take their time, forward and backward.
class SlowModel : public torch::nn::Module {
 public:
  explicit SlowModel(std::chrono::milliseconds time) : time_(time) {
    spec_.units.push_back({"root", {{"root", {1000}, true}}, 0, 0});
    weights_.push_back(register_parameter("root", torch::ones({1000})));
    for (int i = 0; i < 6; ++i) {
      const std::string name = "block" + std::to_string(i);
      spec_.units.push_back({name, {{name, {1000}, true}}, 0, 0});
      weights_.push_back(register_parameter(name, torch::ones({1000})));
    }
  }
  at::Tensor loss(UnitRunner& runner) {
    at::Tensor x = weights_[0] * 1.0;
    for (size_t i = 1; i < weights_.size(); ++i) {
      x = runner.run(
          "block" + std::to_string(i - 1),
          [time = time_, weight = weights_[i]](const at::Tensor& h) {
            std::this_thread::sleep_for(time);
            at::Tensor y = h * weight;
            y.register_hook([time](const at::Tensor& gradient) {
              std::this_thread::sleep_for(2 * time);
              return gradient;
            });
            return y;
          },
          x);
    }
    return x.sum();
  }
  const ModelSpec& spec() const { return spec_; }

 private:
  std::chrono::milliseconds time_;
  ModelSpec spec_;
  std::vector<at::Tensor> weights_;
};

struct Timing {
  double seconds = 0;
  double exposed = 0;
  double overlapped = 0;  // the share of its collectives' time
};

// Rank 0 of four, on two nodes of two, with blocks of 4 ms forward and 8 ms backward. The network
// is all there is to wait for, so the silent communicator does.
Timing time_step(const std::string& strategy, const std::string& prefetch,
                 const EmulatedNetworkOptions& network) {
  StrategyOptions options;
  options.strategy = strategy;
  options.backward_prefetch = prefetch;
  options.forward_prefetch = prefetch != "NONE";
  const auto groups = make_emulated_groups(make_silent_groups(0, 4), network);
  SlowModel model(4ms);
  ShardedOptions sharded;
  const auto directory =
      std::filesystem::path(::testing::TempDir()) / ("swath-overlap-" + std::to_string(getpid()));
  sharded.trace_directory = directory;
  auto parameters = std::make_unique<ShardedParameters>(
      model, model.spec(), make_strategy(options, 4), *groups, sharded, ParameterRules());
  Timing best{1e9, 0, 0};
  for (int i = 0; i < 3; ++i) {
    parameters->trace()->clear();
    const double exposed_before = parameters->exposed_seconds();
    const auto start = std::chrono::steady_clock::now();
    parameters->begin_step();
    parameters->begin_forward();
    parameters->backward(model.loss(parameters->runner()));
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds < best.seconds) {
      best = {seconds, parameters->exposed_seconds() - exposed_before,
              overlapped_share(parameters->trace()->spans())};
    }
  }
  parameters.reset();
  std::filesystem::remove_all(directory);
  return best;
}

TEST(EmulatedNetwork, CommunicationRunsUnderComputation) {
  EmulatedNetworkOptions network = two_nodes_of_two();
  network.across_latency_us = 1000;  // 3 ms a collective over all four
  const Timing none = time_step("FULL_SHARD", "NONE", network);
  const Timing pre = time_step("FULL_SHARD", "BACKWARD_PRE", network);
  // 72 ms of computation; 13 gathers of 3 ms, which prefetch hides but for the first ones.
  EXPECT_GT(none.seconds, 0.072 + 11 * 0.003);
  EXPECT_LT(pre.seconds, none.seconds - 7 * 0.003);
  EXPECT_LT(pre.exposed, none.exposed - 7 * 0.003);
  // Without prefetch only reductions run under computation: 7 of 20 collectives, and the gathers
  // that a reduction delays.
  EXPECT_LT(none.overlapped, 0.5);
  EXPECT_GT(pre.overlapped, none.overlapped + 0.25);
}

TEST(EmulatedNetwork, ShardingInsideANodeBeatsShardingAcross) {
  EmulatedNetworkOptions network = two_nodes_of_two();
  network.inside_latency_us = 100;
  network.across_latency_us = 3000;
  const Timing across = time_step("FULL_SHARD", "BACKWARD_PRE", network);
  const Timing inside = time_step("HYBRID_2", "BACKWARD_PRE", network);
  EXPECT_LT(inside.seconds, 0.8 * across.seconds);
}

}  // namespace
}  // namespace swath::sharding
