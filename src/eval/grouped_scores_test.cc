#include "eval/grouped_scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace swath::eval {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Six images of two granules; class 2 of three has none.
TestGroups six_images() {
  TestGroups test;
  test.labels = {0, 0, 0, 1, 1, 1};
  test.groups = {0, 0, 0, 1, 1, 1};
  test.property_names = {"pressure"};
  test.properties = {{500, 600, kNan, 800, 800, 800}};
  test.subsets = {{"platform Aqua", {2, 3}}};
  return test;
}

std::vector<float> scores_of(const std::vector<int64_t>& classes) {
  std::vector<float> scores(classes.size() * 3, 0);
  for (size_t i = 0; i < classes.size(); ++i) scores[3 * i + static_cast<size_t>(classes[i])] = 1;
  return scores;
}

TEST(GroupedScores, ByHand) {
  const Json report = score_groups(six_images(), scores_of({0, 0, 2, 1, 1, 0}), 3, 7);
  EXPECT_DOUBLE_EQ(report["top1"], 4.0 / 6);
  EXPECT_DOUBLE_EQ(report["top5"], 1);
  EXPECT_DOUBLE_EQ(report["balanced_accuracy"], 2.0 / 3);
  // F1: 2*2/(3+3), 2*2/(3+2); class 2 has no images.
  EXPECT_DOUBLE_EQ(report["macro_f1"], (2.0 / 3 + 0.8) / 2);
  // p_e = 1/2 * 1/2 + 1/2 * 1/3.
  EXPECT_DOUBLE_EQ(report["kappa"], (4.0 / 6 - 5.0 / 12) / (7.0 / 12));
  EXPECT_EQ(report["absent_classes"], Json({2}));
  EXPECT_TRUE(report["recall"][2].is_null());
  EXPECT_EQ(report["confusion"], Json::parse("[[2,0,1],[1,2,0],[0,0,0]]"));
  EXPECT_TRUE(report["intervals"].empty());  // of two granules nothing can be said
  EXPECT_DOUBLE_EQ(report["physics"]["pressure"]["by_label"][0], 550);
  EXPECT_DOUBLE_EQ(report["physics"]["pressure"]["by_prediction"][0], 1900.0 / 3);
  EXPECT_EQ(report["physics"]["pressure"]["classes"], 2);
  EXPECT_EQ(report["subsets"]["platform Aqua"]["images"], 2);
  EXPECT_DOUBLE_EQ(report["subsets"]["platform Aqua"]["top1"], 0.5);
}

// All granules have two of three right, however they are drawn.
TEST(GroupedScores, IntervalsAreOverGroups) {
  TestGroups test;
  std::vector<int64_t> predicted;
  for (int64_t granule = 0; granule < 5; ++granule) {
    test.labels.insert(test.labels.end(), {0, 0, 1});
    test.groups.insert(test.groups.end(), 3, granule);
    predicted.insert(predicted.end(), {0, 0, 0});
  }
  const Json report = score_groups(test, scores_of(predicted), 3, 7);
  EXPECT_DOUBLE_EQ(report["intervals"]["top1"][0], 2.0 / 3);
  EXPECT_DOUBLE_EQ(report["intervals"]["top1"][1], 2.0 / 3);
}

TEST(GroupedScores, RefusesWhatDoesNotFit) {
  TestGroups test = six_images();
  test.groups.pop_back();
  EXPECT_THROW(score_groups(test, scores_of({0, 0, 0, 1, 1, 1}), 3, 7), Error);
  EXPECT_THROW(score_groups(six_images(), scores_of({0, 0}), 3, 7), Error);
}

}  // namespace
}  // namespace swath::eval
