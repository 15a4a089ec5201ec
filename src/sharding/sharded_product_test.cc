// Every way of sharding the toy on every number of ranks: minutes, hence a long test.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sharding/toy_cases.h"
#include "sharding/toy_outcome.h"

namespace swath::sharding {
namespace {

TEST(ShardedProduct, EqualsOneProcess) {
  const std::map<int64_t, ToyOutcome> alone = train_alone_by_accumulation();
  size_t num_cases = 0;
  for (const int64_t world_size : {1, 2, 3, 4, 8}) {
    for (const ToyCase& c : every_case(world_size)) {
      ++num_cases;
      EXPECT_LE(difference_of(train_with(c), alone.at(c.run.accumulation)), kToyTolerance)
          << c.text();
    }
  }
  fmt::print("{} cases\n", num_cases);
  EXPECT_GT(num_cases, 1000U);
}

}  // namespace
}  // namespace swath::sharding
