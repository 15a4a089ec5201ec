// For tests: what training the toy gives, on one process and on ranks that are threads.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "sharding/local_parameters.h"
#include "sharding/sharded_parameters.h"
#include "sharding/thread_groups.h"
#include "sharding/toy_cases.h"
#include "sharding/toy_model.h"

namespace swath::sharding {

using WrapGroups = std::function<std::unique_ptr<ProcessGroups>(ProcessGroups& groups)>;

struct ToyOutcome {
  std::vector<double> losses;
  std::map<std::string, at::Tensor> parameters;
};

// One process, one batch, no engine.
inline ToyOutcome train_alone(const ToyRun& run = {}, at::ScalarType dtype = at::kFloat) {
  ToyModel model;
  LocalParameters parameters(model, {dtype, run.accumulation, false},
                             [](const std::string&, at::IntArrayRef) { return ParameterRule{}; });
  ToyOutcome outcome;
  outcome.losses = train_toy(model, parameters, run);
  collect_toy(parameters, outcome.parameters);
  return outcome;
}

inline std::map<int64_t, ToyOutcome> train_alone_by_accumulation() {
  ToyRun in_two;
  in_two.accumulation = 2;
  return {{1, train_alone()}, {2, train_alone(in_two)}};
}

// Returns what all ranks agree on; expects that they do.
inline ToyOutcome train_with(const ToyCase& c, const WrapGroups& wrap = {},
                             bool expects_agreement = true) {
  ThreadHub hub(c.strategy.world_size);
  std::mutex mutex;
  ToyOutcome outcome;
  run_ranks(hub, [&](ProcessGroups& plain) {
    const std::unique_ptr<ProcessGroups> wrapped = wrap ? wrap(plain) : nullptr;
    ProcessGroups& groups = wrapped ? *wrapped : plain;
    ToyModel model;
    ShardedParameters parameters(model, model.spec(), c.strategy, groups, c.options, {});
    const std::vector<double> losses = train_toy(model, parameters, c.run);
    std::map<std::string, at::Tensor> own;
    collect_toy(parameters, own);
    std::lock_guard lock(mutex);
    if (outcome.losses.empty()) outcome.losses = losses;
    if (expects_agreement) {
      EXPECT_EQ(outcome.losses, losses) << "rank " << groups.rank();
    }
    for (auto& [name, values] : own) {
      at::Tensor& known = outcome.parameters[name];
      if (!known.defined()) known = at::full_like(values, std::nan(""));
      const at::Tensor is_here = values.isnan().logical_not();
      const at::Tensor is_twice = known.isnan().logical_not().logical_and(is_here);
      if (expects_agreement) {  // replicas hold the same bits
        EXPECT_TRUE(known.masked_select(is_twice).equal(values.masked_select(is_twice)))
            << name << " drifts on rank " << groups.rank();
      }
      known = at::where(is_here, values, known);
    }
  });
  return outcome;
}

// `whole`, with what this rank holds in its place: for a rank that checks its own part.
inline std::map<std::string, at::Tensor> with_own_part(
    Parameters& parameters, const std::map<std::string, at::Tensor>& whole) {
  std::map<std::string, at::Tensor> values;
  for (const auto& [name, of_whole] : whole) values[name] = of_whole.clone();
  collect_toy(parameters, values);
  return values;
}

// The largest difference of a loss or a parameter, relative to the largest value beside it.
inline double difference_of(const ToyOutcome& found, const ToyOutcome& expected) {
  if (found.losses.size() != expected.losses.size() ||
      found.parameters.size() != expected.parameters.size()) {
    return INFINITY;
  }
  double largest = 0;
  const auto count = [&](double relative) {
    largest = std::isnan(relative) ? INFINITY : std::max(largest, relative);
  };
  for (size_t i = 0; i < expected.losses.size(); ++i) {
    count(std::abs(found.losses[i] - expected.losses[i]) / expected.losses[i]);
  }
  for (const auto& [name, values] : expected.parameters) {
    const at::Tensor difference = (found.parameters.at(name) - values).abs().max();
    count((difference / values.abs().max()).item<double>());
  }
  return largest;
}

constexpr double kToyTolerance = 2e-5;  // of float32 after 20 steps; sums run in other orders

}  // namespace swath::sharding
