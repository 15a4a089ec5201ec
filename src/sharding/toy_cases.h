// For tests: the ways in which a step can be sharded, all of them or a cover of all pairs.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "core/strategy.h"
#include "sharding/sharded_parameters.h"
#include "sharding/toy_model.h"

namespace swath::sharding {

struct ToyCase {
  Strategy strategy;
  ShardedOptions options;
  ToyRun run;

  std::string text() const {
    return fmt::format("{} | {} micro-batches, reduced {}{}{}", to_text(strategy),
                       options.accumulation,
                       options.reduce_every_micro_batch ? "each time" : "once",
                       options.activation_checkpointing ? ", checkpointing" : "",
                       options.least_unit_numel > 0 ? ", joined blocks" : "");
  }
};

namespace detail {

inline const std::vector<std::string>& strategy_names() {
  static const std::vector<std::string> names = {
      "DDP",      "NO_SHARD", "SHARD_GRAD_OP", "FULL_SHARD",
      "HYBRID_1", "HYBRID_2", "HYBRID_4",      "HYBRID_2_SHARD_GRAD_OP"};
  return names;
}

// One choice per factor: strategy, backward prefetch, forward prefetch, limit, accumulation,
// checkpointing, joined blocks.
using Choice = std::array<int, 7>;

inline bool divides(const std::string& name, int64_t world_size) {
  const size_t digit = name.find_first_of("0123456789");
  return digit == std::string::npos || world_size % (name[digit] - '0') == 0;
}

inline bool is_meaningful(const Choice& c, int64_t world_size) {
  const std::string& name = strategy_names()[static_cast<size_t>(c[0])];
  if (!divides(name, world_size)) return false;
  const bool is_sharded = name != "DDP" && name != "NO_SHARD" && name != "HYBRID_1";
  return is_sharded || (c[1] == 0 && c[2] == 0 && c[3] == 0);
}

inline ToyCase make_case(const Choice& c, int64_t world_size) {
  ToyCase made;
  StrategyOptions options;
  options.strategy = strategy_names()[static_cast<size_t>(c[0])];
  options.backward_prefetch =
      std::array{"NONE", "BACKWARD_POST", "BACKWARD_PRE"}[static_cast<size_t>(c[1])];
  options.forward_prefetch = c[2] == 1;
  options.limit_all_gathers = c[3] == 1;
  options.bucket_mib = 600.0 / (1 << 20);  // a few buckets of the toy
  options.first_bucket_mib = 100.0 / (1 << 20);
  made.strategy = make_strategy(options, world_size);
  made.options.accumulation = made.run.accumulation = c[4] == 0 ? 1 : 2;
  made.options.reduce_every_micro_batch = c[4] != 2;
  made.options.activation_checkpointing = c[5] == 1;
  made.options.least_unit_numel = c[6] == 1 ? 250 : 0;
  return made;
}

inline std::vector<Choice> all_choices(int64_t world_size) {
  constexpr Choice kLevels = {8, 3, 2, 2, 3, 2, 2};
  std::vector<Choice> all;
  Choice c = {};
  while (true) {
    if (is_meaningful(c, world_size)) all.push_back(c);
    size_t factor = 0;
    while (factor < c.size() && ++c[factor] == kLevels[factor]) c[factor++] = 0;
    if (factor == c.size()) return all;
  }
}

}  // namespace detail

// Joined blocks are left to the cover: they change which units there are, not how they are treated.
inline std::vector<ToyCase> every_case(int64_t world_size) {
  std::vector<ToyCase> cases;
  for (const detail::Choice& c : detail::all_choices(world_size)) {
    if (c[6] == 0) cases.push_back(detail::make_case(c, world_size));
  }
  return cases;
}

// Few cases in which every meaningful pair of choices occurs.
inline std::vector<ToyCase> pairwise_cover(int64_t world_size) {
  using Pair = std::tuple<size_t, int, size_t, int>;
  const std::vector<detail::Choice> all = detail::all_choices(world_size);
  const auto pairs_of = [](const detail::Choice& c) {
    std::vector<Pair> pairs;
    for (size_t i = 0; i < c.size(); ++i) {
      for (size_t j = i + 1; j < c.size(); ++j) pairs.emplace_back(i, c[i], j, c[j]);
    }
    return pairs;
  };
  std::set<Pair> missing;
  for (const detail::Choice& c : all) {
    for (const Pair& pair : pairs_of(c)) missing.insert(pair);
  }
  std::vector<ToyCase> cases;
  while (!missing.empty()) {
    const auto gain = [&](const detail::Choice& c) {
      const std::vector<Pair> pairs = pairs_of(c);
      return std::count_if(pairs.begin(), pairs.end(),
                           [&](const Pair& pair) { return missing.contains(pair); });
    };
    const auto best = std::max_element(
        all.begin(), all.end(),
        [&](const detail::Choice& a, const detail::Choice& b) { return gain(a) < gain(b); });
    for (const Pair& pair : pairs_of(*best)) missing.erase(pair);
    cases.push_back(detail::make_case(*best, world_size));
  }
  return cases;
}

}  // namespace swath::sharding
