#include "core/strategy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>

#include "core/error.h"

namespace swath {
namespace {

enum class ShardGroup { kOne, kAll, kGiven };

struct Row {
  std::string_view name;
  ShardGroup shard_group;
  bool reshard_after_forward;
  bool reduces_in_buckets;
};

// HYBRID's number stands behind the first word: HYBRID_2, HYBRID_2_SHARD_GRAD_OP.
constexpr std::string_view kHybrid = "HYBRID";
constexpr std::array kRows = {
    Row{"DDP", ShardGroup::kOne, false, true},
    Row{"NO_SHARD", ShardGroup::kOne, false, false},
    Row{"SHARD_GRAD_OP", ShardGroup::kAll, false, false},
    Row{"FULL_SHARD", ShardGroup::kAll, true, false},
    Row{kHybrid, ShardGroup::kGiven, true, false},
    Row{"HYBRID_SHARD_GRAD_OP", ShardGroup::kGiven, false, false},
};

struct NamedPrefetch {
  std::string_view name;
  BackwardPrefetch prefetch;
};
constexpr std::array kPrefetches = {
    NamedPrefetch{"NONE", BackwardPrefetch::kNone},
    NamedPrefetch{"BACKWARD_POST", BackwardPrefetch::kPost},
    NamedPrefetch{"BACKWARD_PRE", BackwardPrefetch::kPre},
};

constexpr const char* kKnownNames =
    "strategies: DDP, NO_SHARD, SHARD_GRAD_OP, FULL_SHARD, HYBRID_n, HYBRID_n_SHARD_GRAD_OP.";

std::string upper_case(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  }
  return text;
}

struct ParsedName {
  const Row* row = nullptr;
  std::optional<int64_t> shard_size;
};

// Takes "_2" or "_2GPUS" out of "HYBRID_2GPUS_SHARD_GRAD_OP".
std::optional<int64_t> take_hybrid_size(std::string* name) {
  const size_t begin = kHybrid.size() + 1;
  if (!name->starts_with(kHybrid) || name->size() <= begin || (*name)[begin - 1] != '_') return {};
  int64_t size = 0;
  const char* const end = name->data() + name->size();
  const auto [rest, error] = std::from_chars(name->data() + begin, end, size);
  if (error != std::errc()) return {};
  std::string_view tail(rest, static_cast<size_t>(end - rest));
  for (const std::string_view word : {"GPUS", "GPU"}) {
    if (tail.starts_with(word)) {
      tail.remove_prefix(word.size());
      break;
    }
  }
  *name = std::string(kHybrid) + std::string(tail);
  return size;
}

ParsedName parse_name(const std::string& text) {
  std::string name = upper_case(text);
  ParsedName parsed;
  parsed.shard_size = take_hybrid_size(&name);
  for (const Row& row : kRows) {
    if (row.name == name) parsed.row = &row;
  }
  if (parsed.row == nullptr) {
    throw UsageError(fmt::format("sharding: unknown strategy `{}`.", text), kKnownNames);
  }
  return parsed;
}

int64_t hybrid_shard_size(const ParsedName& parsed, const StrategyOptions& options,
                          int64_t world_size) {
  if (!parsed.shard_size && options.shard_size == 0) {
    throw UsageError(fmt::format("sharding: {} needs the size of a shard group.", options.strategy),
                     "write it into the name (HYBRID_2) or give shard_size (--shard-size 2).");
  }
  if (parsed.shard_size && options.shard_size != 0 && *parsed.shard_size != options.shard_size) {
    throw UsageError(fmt::format("sharding: strategy {} and shard_size {} contradict each other.",
                                 options.strategy, options.shard_size),
                     "give only one of them.");
  }
  const int64_t size = parsed.shard_size.value_or(options.shard_size);
  if (size < 1 || world_size % size != 0) {
    std::string divisors;
    for (int64_t n = 1; n <= world_size; ++n) {
      if (world_size % n == 0) divisors += fmt::format("{}{}", divisors.empty() ? "" : ", ", n);
    }
    throw UsageError(
        fmt::format("sharding: shard groups of {} do not divide {} ranks (strategy {}).", size,
                    world_size, options.strategy),
        fmt::format("shard sizes for {} ranks: {}.", world_size, divisors));
  }
  return size;
}

int64_t shard_size_of(const ParsedName& parsed, const StrategyOptions& options,
                      int64_t world_size) {
  if (parsed.row->shard_group == ShardGroup::kGiven) {
    return hybrid_shard_size(parsed, options, world_size);
  }
  const int64_t size = parsed.row->shard_group == ShardGroup::kOne ? 1 : world_size;
  if (options.shard_size != 0 && options.shard_size != size) {
    throw UsageError(
        fmt::format("sharding: {} on {} ranks has shard groups of {}; shard_size {} "
                    "contradicts it.",
                    parsed.row->name, world_size, size, options.shard_size),
        fmt::format("leave shard_size away, or use --strategy HYBRID_{}.", options.shard_size));
  }
  return size;
}

std::string canonical_name(const Row& row, int64_t shard_size) {
  if (row.shard_group != ShardGroup::kGiven) return std::string(row.name);
  return fmt::format("{}_{}{}", kHybrid, shard_size, row.name.substr(kHybrid.size()));
}

BackwardPrefetch parse_prefetch(const std::string& text) {
  for (const NamedPrefetch& row : kPrefetches) {
    if (row.name == text) return row.prefetch;
  }
  throw UsageError(fmt::format("sharding: unknown backward_prefetch `{}`.", text),
                   "choices: NONE, BACKWARD_POST, BACKWARD_PRE.");
}

int64_t bytes_of_mib(double mib) { return static_cast<int64_t>(mib * 1024 * 1024); }

void check_rank(const Strategy& strategy, int64_t rank) {
  if (rank >= 0 && rank < strategy.world_size) return;
  throw Error(fmt::format("sharding: rank {} is none of {} ranks.", rank, strategy.world_size));
}

}  // namespace

void StrategyOptions::describe(FieldTable& fields) {
  fields
      .add("strategy", &strategy,
           "who holds what: DDP, NO_SHARD, SHARD_GRAD_OP, FULL_SHARD, HYBRID_n (shards among n "
           "consecutive ranks), HYBRID_n_SHARD_GRAD_OP")
      .flag("strategy");
  fields.add("shard_size", &shard_size, "ranks of a shard group of HYBRID; 0: as the name says")
      .at_least(0)
      .flag("shard-size");
  fields
      .add("backward_prefetch", &backward_prefetch,
           "when backward gathers the unit it needs next: in its turn, before the reduction of the "
           "running unit, or before its gradients")
      .one_of({"NONE", "BACKWARD_POST", "BACKWARD_PRE"})
      .flag("prefetch");
  fields.add("forward_prefetch", &forward_prefetch,
             "gather the next unit before the running one computes");
  fields.add("limit_all_gathers", &limit_all_gathers,
             "at most two gathered units beside the root where units are freed after forward");
  fields.add("bucket_mib", &bucket_mib, "DDP: gradients reduced together, in MiB").at_least(0);
  fields.add("first_bucket_mib", &first_bucket_mib, "DDP: the same of the first bucket")
      .at_least(0);
}

Strategy make_strategy(const StrategyOptions& options, int64_t world_size) {
  if (world_size < 1) throw UsageError(fmt::format("sharding: {} ranks.", world_size));
  const ParsedName parsed = parse_name(options.strategy);
  Strategy strategy;
  strategy.world_size = world_size;
  strategy.shard_size = shard_size_of(parsed, options, world_size);
  strategy.replicate_size = world_size / strategy.shard_size;
  strategy.name = canonical_name(*parsed.row, strategy.shard_size);
  strategy.reshard_after_forward = parsed.row->reshard_after_forward;
  strategy.reduces_in_buckets = parsed.row->reduces_in_buckets;
  strategy.first_bucket_bytes = bytes_of_mib(options.first_bucket_mib);
  strategy.bucket_bytes = bytes_of_mib(options.bucket_mib);
  strategy.backward_prefetch = parse_prefetch(options.backward_prefetch);
  strategy.forward_prefetch = options.forward_prefetch;
  strategy.limit_all_gathers = options.limit_all_gathers;
  return strategy;
}

std::string to_text(BackwardPrefetch prefetch) {
  for (const NamedPrefetch& row : kPrefetches) {
    if (row.prefetch == prefetch) return std::string(row.name);
  }
  return "?";
}

std::string to_text(const Strategy& strategy) {
  std::string text = fmt::format("{}: {} ranks", strategy.name, strategy.world_size);
  text += fmt::format(", shard groups of {}, {} replicas", strategy.shard_size,
                      strategy.replicate_size);
  if (strategy.reduces_in_buckets) {
    constexpr double kMib = 1024 * 1024;
    text += fmt::format(", buckets of {:g} MiB (the first {:g})",
                        static_cast<double>(strategy.bucket_bytes) / kMib,
                        static_cast<double>(strategy.first_bucket_bytes) / kMib);
  }
  if (strategy.is_sharded()) {
    text += fmt::format(
        ", {} after forward, prefetch {}{}{}", strategy.reshard_after_forward ? "freed" : "kept",
        to_text(strategy.backward_prefetch), strategy.forward_prefetch ? " and forward" : "",
        strategy.limit_all_gathers ? ", limited" : "");
  }
  return text;
}

std::vector<int64_t> shard_group(const Strategy& strategy, int64_t rank) {
  check_rank(strategy, rank);
  const int64_t first = rank / strategy.shard_size * strategy.shard_size;
  std::vector<int64_t> ranks;
  for (int64_t i = 0; i < strategy.shard_size; ++i) ranks.push_back(first + i);
  return ranks;
}

std::vector<int64_t> replicate_group(const Strategy& strategy, int64_t rank) {
  check_rank(strategy, rank);
  std::vector<int64_t> ranks;
  for (int64_t i = 0; i < strategy.replicate_size; ++i) {
    ranks.push_back(rank % strategy.shard_size + i * strategy.shard_size);
  }
  return ranks;
}

}  // namespace swath
