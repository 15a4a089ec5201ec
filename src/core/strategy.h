// Data-parallel strategies as data: who holds which part of a unit, when it is gathered and freed,
// how gradients are reduced. Rows of one table, read by the sharding engine and by the planner.
// Free of LibTorch.
//
//   name                     shard group  replicas  after forward  reduced
//   DDP                      1            all       keep           in buckets
//   NO_SHARD                 1            all       keep           unit by unit
//   SHARD_GRAD_OP            all          1         keep           unit by unit
//   FULL_SHARD               all          1         free           unit by unit
//   HYBRID_n                 n            all / n   free           unit by unit
//   HYBRID_n_SHARD_GRAD_OP   n            all / n   keep           unit by unit
//
// The names are those of the Frontier study (arXiv 2404.11706) and of PyTorch's FSDP1. A group of
// one communicates nothing; HYBRID_1 still reduces over all its replicas (FSDP1 does not: PyTorch
// issue 154888).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"

namespace swath {

// When the backward pass asks for the unit it needs next (the earlier one of the model):
//   kNone  at its own turn, after everything the unit before issued
//   kPost  after the gradients of the running unit, before their reduction
//   kPre   before the gradients of the running unit: two units are gathered at a time
enum class BackwardPrefetch { kNone, kPost, kPre };

struct Strategy {
  std::string name;  // canonical: "HYBRID_2" also when "HYBRID_2GPUs" was written
  int64_t world_size = 1;
  int64_t shard_size = 1;      // ranks among which a unit is split: consecutive global ranks
  int64_t replicate_size = 1;  // ranks that hold the same part; shard_size * replicate_size = world
  bool reshard_after_forward = false;
  bool reduces_in_buckets = false;
  int64_t first_bucket_bytes = 0;  // small, so that communication starts early
  int64_t bucket_bytes = 0;
  BackwardPrefetch backward_prefetch = BackwardPrefetch::kPre;
  bool forward_prefetch = false;
  bool limit_all_gathers = true;

  // Units are gathered before use and their gradients scattered.
  bool is_sharded() const { return shard_size > 1; }
  bool is_replicated() const { return replicate_size > 1; }
};

// The settings behind a strategy: component "sharding" of a recipe.
struct StrategyOptions {
  std::string strategy = "NO_SHARD";
  int64_t shard_size = 0;  // of HYBRID; 0: the strategy's name says it
  std::string backward_prefetch = "BACKWARD_PRE";
  bool forward_prefetch = false;
  bool limit_all_gathers = true;
  double bucket_mib = 25;
  double first_bucket_mib = 1;

  void describe(FieldTable& fields);
};

// The row for `world_size` ranks. `HYBRID_2`, `HYBRID_2GPUs` and `HYBRID` with shard_size 2 mean
// the same; letters may be small. Throws UsageError for an unknown name, a size that does not
// divide the world, and a shard_size that contradicts the name.
Strategy make_strategy(const StrategyOptions& options, int64_t world_size);

// "HYBRID_2: 8 ranks, shard groups of 2, 4 replicas, freed after forward, BACKWARD_PRE, ..."
std::string to_text(const Strategy& strategy);
std::string to_text(BackwardPrefetch prefetch);

// Global ranks of the groups that `rank` belongs to, ascending. A shard group is shard_size
// consecutive ranks; a replicate group holds the ranks with the same place in their shard groups.
std::vector<int64_t> shard_group(const Strategy& strategy, int64_t rank);
std::vector<int64_t> replicate_group(const Strategy& strategy, int64_t rank);

}  // namespace swath
