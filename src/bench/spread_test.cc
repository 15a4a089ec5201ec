#include "bench/spread.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace swath::bench {
namespace {

TEST(Spread, MedianOfOddAndEvenCounts) {
  const Spread odd = spread_of({5, 1, 2});
  EXPECT_EQ(odd.median, 2);
  EXPECT_EQ(odd.minimum, 1);
  EXPECT_EQ(odd.maximum, 5);
  EXPECT_EQ(odd.count, 3);
  EXPECT_EQ(spread_of({4, 1, 2, 10}).median, 3);
  EXPECT_EQ(spread_of({7}).median, 7);
}

TEST(Spread, RatiosArePairByPair) {
  const Spread ratios = spread_of_ratios({2, 6, 3}, {1, 2, 3});
  EXPECT_EQ(ratios.median, 2);
  EXPECT_EQ(ratios.minimum, 1);
  EXPECT_EQ(ratios.maximum, 3);
}

TEST(Spread, NothingMeasuredIsAnError) { EXPECT_THROW(spread_of({}), Error); }

TEST(Spread, JsonHoldsAllFour) {
  const Json json = to_json(spread_of({3, 1}));
  EXPECT_EQ(json, Json({{"median", 2.0}, {"minimum", 1.0}, {"maximum", 3.0}, {"count", 2}}));
}

}  // namespace
}  // namespace swath::bench
