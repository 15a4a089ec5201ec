#include "core/strategy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "core/error.h"

namespace swath {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Strategy strategy_of(const std::string& name, int64_t world_size, int64_t shard_size = 0) {
  StrategyOptions options;
  options.strategy = name;
  options.shard_size = shard_size;
  return make_strategy(options, world_size);
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(Strategy, RowsOfTheTable) {
  struct Expected {
    const char* name;
    int64_t shard_size;
    int64_t replicate_size;
    bool reshards;
    bool has_buckets;
  };
  const Expected rows[] = {
      {"DDP", 1, 8, false, true},
      {"NO_SHARD", 1, 8, false, false},
      {"SHARD_GRAD_OP", 8, 1, false, false},
      {"FULL_SHARD", 8, 1, true, false},
      {"HYBRID_1", 1, 8, true, false},
      {"HYBRID_2", 2, 4, true, false},
      {"HYBRID_8", 8, 1, true, false},
      {"HYBRID_4_SHARD_GRAD_OP", 4, 2, false, false},
  };
  for (const Expected& row : rows) {
    SCOPED_TRACE(row.name);
    const Strategy strategy = strategy_of(row.name, 8);
    EXPECT_EQ(strategy.name, row.name);
    EXPECT_EQ(strategy.shard_size, row.shard_size);
    EXPECT_EQ(strategy.replicate_size, row.replicate_size);
    EXPECT_EQ(strategy.reshard_after_forward, row.reshards);
    EXPECT_EQ(strategy.reduces_in_buckets, row.has_buckets);
  }
}

// FSDP1 takes a shard group of one for "no replicas to reduce over".
TEST(Strategy, HybridOfOneIsReplicatedOverAllRanks) {
  const Strategy strategy = strategy_of("HYBRID_1", 4);
  EXPECT_FALSE(strategy.is_sharded());
  EXPECT_TRUE(strategy.is_replicated());
  EXPECT_THAT(replicate_group(strategy, 2), ElementsAre(0, 1, 2, 3));
}

TEST(Strategy, SpellingsOfHybridMeanTheSame) {
  const std::string expected = to_text(strategy_of("HYBRID_2", 8));
  EXPECT_EQ(to_text(strategy_of("HYBRID_2GPUs", 8)), expected);
  EXPECT_EQ(to_text(strategy_of("hybrid_2gpus", 8)), expected);
  EXPECT_EQ(to_text(strategy_of("HYBRID", 8, 2)), expected);
  EXPECT_EQ(to_text(strategy_of("HYBRID_2", 8, 2)), expected);
  EXPECT_EQ(strategy_of("HYBRID_1GPU", 8).name, "HYBRID_1");
  EXPECT_EQ(strategy_of("HYBRID_SHARD_GRAD_OP", 8, 2).name, "HYBRID_2_SHARD_GRAD_OP");
  EXPECT_EQ(strategy_of("HYBRID_2GPUs_SHARD_GRAD_OP", 8).name, "HYBRID_2_SHARD_GRAD_OP");
}

TEST(Strategy, OptionsComeFromTheFieldTable) {
  StrategyOptions options;
  FieldTable fields = make_field_table(options);
  fields.apply_toml(
      "strategy = 'DDP'\nbucket_mib = 0.5\nfirst_bucket_mib = 0.25\nbackward_prefetch = 'NONE'\n"
      "forward_prefetch = true\nlimit_all_gathers = false\n",
      "test.toml");
  const Strategy strategy = make_strategy(options, 2);
  EXPECT_EQ(strategy.bucket_bytes, 512 * 1024);
  EXPECT_EQ(strategy.first_bucket_bytes, 256 * 1024);
  EXPECT_EQ(strategy.backward_prefetch, BackwardPrefetch::kNone);
  EXPECT_TRUE(strategy.forward_prefetch);
  EXPECT_FALSE(strategy.limit_all_gathers);
}

TEST(Strategy, DefaultsAreThoseOfTheStudy) {
  const Strategy strategy = strategy_of("DDP", 2);
  EXPECT_EQ(strategy.bucket_bytes, 25 * 1024 * 1024);
  EXPECT_EQ(strategy.first_bucket_bytes, 1024 * 1024);
  EXPECT_EQ(strategy.backward_prefetch, BackwardPrefetch::kPre);
  EXPECT_TRUE(strategy.limit_all_gathers);
}

TEST(Strategy, WrongSettingsAreNamed) {
  EXPECT_THAT(error_of([] { strategy_of("ZERO_3", 8); }),
              AllOf(HasSubstr("`ZERO_3`"), HasSubstr("HINT: strategies: DDP")));
  for (const char* name : {"HYBRID_", "HYBRID_x", "HYBRID_2x", "HYBRID2", "DDP_2", ""}) {
    EXPECT_THAT(error_of([&] { strategy_of(name, 8); }), HasSubstr("unknown strategy")) << name;
  }
  EXPECT_THAT(error_of([] { strategy_of("HYBRID", 8); }),
              AllOf(HasSubstr("needs the size"), HasSubstr("--shard-size")));
  EXPECT_THAT(error_of([] { strategy_of("HYBRID_2", 8, 4); }),
              AllOf(HasSubstr("HYBRID_2"), HasSubstr("shard_size 4"), HasSubstr("contradict")));
  EXPECT_THAT(error_of([] { strategy_of("HYBRID_4", 6); }),
              AllOf(HasSubstr("groups of 4"), HasSubstr("6 ranks"), HasSubstr("1, 2, 3, 6")));
  EXPECT_THAT(error_of([] { strategy_of("HYBRID_16", 8); }), HasSubstr("do not divide 8 ranks"));
  EXPECT_THAT(error_of([] { strategy_of("HYBRID_0", 8); }), HasSubstr("groups of 0"));
  EXPECT_THAT(error_of([] { strategy_of("FULL_SHARD", 8, 2); }),
              AllOf(HasSubstr("FULL_SHARD on 8 ranks"), HasSubstr("HINT"), HasSubstr("HYBRID_2")));
  EXPECT_THAT(error_of([] { strategy_of("DDP", 8, 2); }), HasSubstr("contradicts"));
  EXPECT_NO_THROW(strategy_of("FULL_SHARD", 8, 8));
}

TEST(Strategy, GroupsOfARank) {
  const Strategy strategy = strategy_of("HYBRID_2", 8);
  EXPECT_THAT(shard_group(strategy, 5), ElementsAre(4, 5));
  EXPECT_THAT(replicate_group(strategy, 5), ElementsAre(1, 3, 5, 7));
  // The study's example: HYBRID_8 on two nodes of 8 has two groups.
  EXPECT_THAT(replicate_group(strategy_of("HYBRID_8", 16), 3), ElementsAre(3, 11));
  EXPECT_THROW(shard_group(strategy, 8), Error);
}

// Every pair of ranks shares a shard group, a replicate group or none; each rank is in both its
// own.
TEST(Strategy, GroupsPartitionTheWorld) {
  for (const int64_t world : {1, 2, 3, 6, 8, 12}) {
    for (int64_t n = 1; n <= world; ++n) {
      if (world % n != 0) continue;
      const Strategy strategy = strategy_of("HYBRID", world, n);
      for (int64_t rank = 0; rank < world; ++rank) {
        const auto shards = shard_group(strategy, rank);
        const auto replicas = replicate_group(strategy, rank);
        EXPECT_THAT(shards, testing::Contains(rank));
        EXPECT_THAT(replicas, testing::Contains(rank));
        for (const int64_t other : shards) EXPECT_EQ(shard_group(strategy, other), shards);
        for (const int64_t other : replicas) EXPECT_EQ(replicate_group(strategy, other), replicas);
        for (const int64_t other : replicas) {
          EXPECT_EQ(std::count(shards.begin(), shards.end(), other), other == rank ? 1 : 0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace swath
