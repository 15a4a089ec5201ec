#include "data/location_split.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace swath::data {
namespace {

TEST(LocationSplit, BlocksStartAtTheDateLineAndTheSouthPole) {
  const BlockGrid grid(10);
  EXPECT_EQ(grid.block_of(-180, -90), (BlockKey{0, 0}));
  EXPECT_EQ(grid.block_of(-170.001, -80.001), (BlockKey{0, 0}));
  EXPECT_EQ(grid.block_of(-170, -80), (BlockKey{1, 1}));
  EXPECT_EQ(grid.block_of(179.9, 0), (BlockKey{9, 35}));
  EXPECT_EQ(grid.block_of(180.1, 0), (BlockKey{9, 0}));
  // 7 does not divide 360: the last block is narrower.
  EXPECT_EQ(BlockGrid(7).block_of(179.9, 0).second, 51);
  EXPECT_THROW(BlockGrid(0), UsageError);
}

TEST(LocationSplit, MarginReachesOverEdgesCornersAndTheDateLine) {
  const BlockGrid grid(10);
  const std::set<BlockKey> blocks = {{10, 0}};       // 180 to 170 W, 10 to 20 N
  EXPECT_TRUE(grid.is_near(blocks, -169.5, 15, 1));  // east of it
  EXPECT_FALSE(grid.is_near(blocks, -168.5, 15, 1));
  EXPECT_TRUE(grid.is_near(blocks, 179.5, 15, 1));     // west, over the date line
  EXPECT_TRUE(grid.is_near(blocks, -169.5, 20.5, 1));  // corner
  EXPECT_FALSE(grid.is_near(blocks, -169.5, 21.5, 1));
  EXPECT_TRUE(grid.is_near(blocks, -145, 15, 26));  // a margin wider than blocks
  EXPECT_FALSE(grid.is_near(blocks, -145, 15, 24));
  EXPECT_FALSE(grid.is_near(blocks, -169.5, 15, 0));
}

TEST(LocationSplit, GivesEveryClassItsShare) {
  BlockHistogram blocks;
  for (int64_t i = 0; i < 100; ++i) blocks[{i / 10, i % 10}] = {i % 5, i % 2, i < 20 ? 3 : 0};
  const auto test = choose_test_blocks(blocks, 0.3, 7);
  std::vector<double> total(3), chosen(3);
  for (const auto& [key, counts] : blocks) {
    for (size_t c = 0; c < 3; ++c) {
      total[c] += static_cast<double>(counts[c]);
      if (test.contains(key)) chosen[c] += static_cast<double>(counts[c]);
    }
  }
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_GE(chosen[c] / total[c], 0.3);
    EXPECT_LE(chosen[c] / total[c], 0.6);
  }
  EXPECT_EQ(test, choose_test_blocks(blocks, 0.3, 7));
  EXPECT_NE(test, choose_test_blocks(blocks, 0.3, 8));
}

}  // namespace
}  // namespace swath::data
