#include "bench/report/chart_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace swath::bench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(ChartData, FewPointsAreAllKept) {
  const Json series = thinned_series({1, 2, 3, 4}, {0.5, kNoNumber, kInfinity, 0.25}, 4);
  EXPECT_EQ(series["x"], Json::array({1.0, 4.0}));
  EXPECT_EQ(series["y"], Json::array({0.5, 0.25}));
  EXPECT_FALSE(series.contains("mean"));
}

TEST(ChartData, NoSpikeIsLostInALongLine) {
  std::vector<double> x;
  std::vector<double> y;
  for (int i = 0; i < 100003; ++i) {
    x.push_back(i);
    y.push_back(1);
  }
  y[50021] = 99;
  y[50023] = -99;
  const Json series = thinned_series(x, y, 1000);
  EXPECT_LE(series["x"].size(), 1000U);
  double highest = 0;
  double lowest = 0;
  for (size_t i = 0; i < series["y"].size(); ++i) {
    highest = std::max(highest, series["y"][i].get<double>());
    lowest = std::min(lowest, series["y"][i].get<double>());
    if (i == 0) continue;
    EXPECT_LT(series["x"][i - 1].get<double>(), series["x"][i].get<double>());
  }
  EXPECT_EQ(highest, 99);
  EXPECT_EQ(lowest, -99);
  EXPECT_EQ(series["mean"]["x"].size(), 500U);
  EXPECT_DOUBLE_EQ(series["mean"]["y"][0].get<double>(), 1);
}

TEST(ChartData, StepsBeyondAMillionStayExact) {
  const Json series = thinned_series({1234567, 1234568}, {1, 2}, 10);
  EXPECT_EQ(series["x"], Json::array({1234567.0, 1234568.0}));
}

TEST(ChartData, ClockEndsWithTheRun) {
  RunDirectory run;
  for (int i = 1; i <= 1777; ++i) {
    StepRecord step;
    step.step = i;
    step.loss = 1;
    step.epoch = i / 100.0;
    step.elapsed_seconds = 60.0 * i;
    run.steps.push_back(step);
  }
  run.epochs = {{100, 5, 0.9}, {200, 5, kNoNumber}, {1777, 5, 0.7}};
  const Json data = chart_data({run}, {}, {});
  EXPECT_EQ(data["runs"][0]["series"]["test_loss"]["x"], Json::array({100.0, 1777.0}));
  const Json& clock = data["runs"][0]["clock"];
  EXPECT_EQ(clock["step"].back(), 1777);
  EXPECT_EQ(clock["minutes"].back(), 1777.0);
  EXPECT_EQ(clock["epoch"].back(), 17.77);
  EXPECT_FALSE(data["runs"][0]["series"].contains("mfu"));
}

}  // namespace
}  // namespace swath::bench
