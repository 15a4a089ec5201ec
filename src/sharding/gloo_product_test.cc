// Every way of sharding the toy, as processes over Gloo: minutes, hence a long test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/rank_processes.h"

namespace swath::sharding {
namespace {

TEST(GlooProduct, EqualsOneProcess) {
  for (const int64_t num_ranks : {2, 3, 4}) {
    const RanksOfTest result = run_ranks_of_test("every case", num_ranks);
    EXPECT_EQ(result.launch.exit_code, 0) << result.stderr_text;
    EXPECT_THAT(result.stdout_text, testing::HasSubstr("cases"));
  }
  std::filesystem::remove_all(ranks_folder());
}

}  // namespace
}  // namespace swath::sharding
