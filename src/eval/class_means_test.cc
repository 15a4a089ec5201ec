#include "eval/class_means.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"

namespace swath::eval {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Labels = std::vector<int64_t>;

TEST(ClassMeans, LeaveOutWhatWasNotMeasured) {
  const std::vector<double> means =
      class_means(Labels{0, 0, 0, 1, 1}, std::vector<double>{2, 4, kNan, kNan, kNan}, 3);
  EXPECT_EQ(means[0], 3);
  EXPECT_TRUE(std::isnan(means[1]));
  EXPECT_TRUE(std::isnan(means[2]));
}

TEST(ClassMeans, ComparedByHand) {
  // By label 1, 3, 5; by prediction (1 + 3) / 2 = 2, 3, 4: on a line, differences 1, 0, 1.
  const std::vector<double> values = {1, 1, 3, 3, 5, 3};
  const Labels truth = {0, 0, 1, 1, 2, 1};
  const Labels predicted = {0, 0, 0, 1, 2, 2};
  const MeansCompared means = compare_class_means(truth, predicted, values, 4);
  EXPECT_EQ(means.classes, 3);
  EXPECT_DOUBLE_EQ(means.by_prediction[0], 5.0 / 3);
  EXPECT_DOUBLE_EQ(means.by_prediction[2], 4);
  // Labels 1, 3, 5; predictions 5/3, 3, 4: deviations (-2, 0, 2) and (-11/9, 1/9, 10/9).
  EXPECT_NEAR(means.pearson_r, (42.0 / 9) / std::sqrt(8 * 222.0 / 81), 1e-12);
  EXPECT_NEAR(means.rms, std::sqrt((4.0 / 9 + 0 + 1) / 3), 1e-12);
}

TEST(ClassMeans, SayWhenThereIsNothingToCompare) {
  const MeansCompared one =
      compare_class_means(Labels{0, 0}, Labels{0, 1}, std::vector<double>{1, 2}, 2);
  EXPECT_EQ(one.classes, 1);
  EXPECT_TRUE(std::isnan(one.pearson_r));
  EXPECT_DOUBLE_EQ(one.rms, 0.5);
  EXPECT_TRUE(to_json(one)["pearson_r"].is_null());
  EXPECT_TRUE(to_json(one)["by_label"][1].is_null());
  EXPECT_THROW(class_means(Labels{2}, std::vector<double>{1}, 2), Error);
  EXPECT_THROW(class_means(Labels{0, 1}, std::vector<double>{1}, 2), Error);
}

}  // namespace
}  // namespace swath::eval
