#include "optim/schedule.h"

#include <gtest/gtest.h>

namespace swath::optim {
namespace {

TEST(Schedule, MatchesTheValuesOfMae) {
  ScheduleOptions options;
  options.warmup_epochs = 40;
  const double peak = peak_learning_rate(options, 4096);
  EXPECT_DOUBLE_EQ(peak, 2.4e-3);
  EXPECT_DOUBLE_EQ(learning_rate_at(options, peak, 0, 800), 0);
  EXPECT_DOUBLE_EQ(learning_rate_at(options, peak, 20, 800), 1.2e-3);
  EXPECT_DOUBLE_EQ(learning_rate_at(options, peak, 40, 800), 2.4e-3);
  EXPECT_NEAR(learning_rate_at(options, peak, 420, 800), 1.2e-3, 1e-18);
  EXPECT_NEAR(learning_rate_at(options, peak, 800, 800), 0, 1e-18);
}

TEST(Schedule, MatchesTheValuesOfTheLinearProbe) {
  ScheduleOptions options;
  options.base_lr = 0.1;
  options.warmup_epochs = 10;
  const double peak = peak_learning_rate(options, 256);
  EXPECT_NEAR(learning_rate_at(options, peak, 5, 100), 0.05, 1e-15);
  EXPECT_NEAR(learning_rate_at(options, peak, 10, 100), 0.1, 1e-15);
  EXPECT_NEAR(learning_rate_at(options, peak, 55, 100), 0.05, 1e-15);
  EXPECT_NEAR(learning_rate_at(options, peak, 99, 100), 3.046e-5, 1e-8);
}

TEST(Schedule, SimmimsRuleCountsBatchesOf512) {
  ScheduleOptions options;
  options.base_lr = 1e-4;
  options.base_batch = 512;
  EXPECT_DOUBLE_EQ(peak_learning_rate(options, 2048), 4e-4);
}

TEST(Schedule, GivenRateBeatsTheScalingRule) {
  ScheduleOptions options;
  options.lr = 0.25;
  EXPECT_DOUBLE_EQ(peak_learning_rate(options, 4096), 0.25);
}

TEST(Schedule, StaysAtTheMinimumAfterTheEnd) {
  ScheduleOptions options;
  options.warmup_epochs = 0;
  options.min_lr = 1e-6;
  EXPECT_DOUBLE_EQ(learning_rate_at(options, 1e-3, 12, 10), 1e-6);
}

}  // namespace
}  // namespace swath::optim
