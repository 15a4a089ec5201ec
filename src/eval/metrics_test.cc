#include "eval/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace swath::eval {
namespace {

TEST(Metrics, TiesGoToTheLowerIndex) {
  const std::vector<float> scores = {1, 1, 1, 0, 2, 2};
  const std::vector<int64_t> labels = {1, 2};
  EXPECT_EQ(predict_classes(scores, 3), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(is_among_top_k(scores, labels, 3, 1), (std::vector<uint8_t>{0, 0}));
  EXPECT_EQ(is_among_top_k(scores, labels, 3, 2), (std::vector<uint8_t>{1, 1}));
  const std::vector<float> constant(6, 0.5F);
  EXPECT_EQ(is_among_top_k(constant, std::vector<int64_t>{4}, 6, 5), std::vector<uint8_t>{1});
  EXPECT_EQ(is_among_top_k(constant, std::vector<int64_t>{5}, 6, 5), std::vector<uint8_t>{0});
}

TEST(Metrics, AccuracyByHand) {
  const std::vector<float> scores = {0, 9, 1, 2, 3, 4,  //
                                     9, 0, 1, 2, 3, 4,  //
                                     9, 8, 7, 6, 5, 4};
  const Accuracy accuracy = measure_accuracy(scores, std::vector<int64_t>{1, 2, 5}, 6);
  EXPECT_DOUBLE_EQ(accuracy.top1, 1.0 / 3);
  EXPECT_DOUBLE_EQ(accuracy.top5, 2.0 / 3);
  EXPECT_EQ(accuracy.is_correct, (std::vector<uint8_t>{1, 0, 0}));
}

TEST(Metrics, RefusesWhatIsNoResult) {
  const std::vector<float> nan = {0, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THROW(predict_classes(nan, 2), Error);
  const std::vector<float> good = {0, 1};
  EXPECT_THROW(measure_accuracy(good, std::vector<int64_t>{2}, 2), Error);
  EXPECT_THROW(measure_accuracy(good, std::vector<int64_t>{-1}, 2), Error);
  EXPECT_THROW(measure_accuracy(good, std::vector<int64_t>{0, 1}, 2), Error);
  EXPECT_THROW(fraction_of({}), Error);
}

// Worked by hand; scikit-learn 1.7 gives the same for these lists:
// balanced_accuracy_score 0.583333, f1_score(average="macro") 0.555556, jaccard 0.416667.
TEST(Metrics, ConfusionByHand) {
  ConfusionMatrix matrix(3);
  matrix.add(std::vector<int64_t>{0, 0, 0, 0, 1, 1, 2}, std::vector<int64_t>{0, 0, 0, 1, 1, 0, 0});
  EXPECT_EQ(matrix.count(0, 0), 3);
  EXPECT_EQ(matrix.count(0, 1), 1);
  EXPECT_EQ(matrix.count(2, 0), 1);
  EXPECT_DOUBLE_EQ(matrix.accuracy(), 4.0 / 7);
  EXPECT_DOUBLE_EQ(matrix.balanced_accuracy(), (0.75 + 0.5 + 0) / 3);
  // F1 by class: 2*3/(4+5), 2*1/(2+2), 0/(1+0).
  EXPECT_DOUBLE_EQ(matrix.macro_f1(), (6.0 / 9 + 0.5 + 0) / 3);
  // Intersection over union: 3/(4+5-3), 1/(2+2-1), 0.
  EXPECT_DOUBLE_EQ(matrix.mean_iou(), (0.5 + 1.0 / 3 + 0) / 3);
  EXPECT_EQ(matrix.to_json().dump(), "[[3,1,0],[1,1,0],[1,0,0]]");
}

TEST(Metrics, ClassesThatAppearNowhereDoNotCount) {
  ConfusionMatrix matrix(5);
  matrix.add(1, 1, 10);
  EXPECT_DOUBLE_EQ(matrix.macro_f1(), 1);
  EXPECT_DOUBLE_EQ(matrix.balanced_accuracy(), 1);
  EXPECT_DOUBLE_EQ(matrix.mean_iou(), 1);
  EXPECT_DOUBLE_EQ(matrix.iou_per_class()[0], -1);
}

// The matrix of ConfusionByHand with a fourth class that nobody has but one prediction names.
TEST(Metrics, ClassesWithoutImagesAreListedNotAveraged) {
  ConfusionMatrix matrix(5);
  matrix.add(std::vector<int64_t>{0, 0, 0, 0, 1, 1, 2}, std::vector<int64_t>{0, 0, 0, 1, 1, 0, 3});
  EXPECT_EQ(matrix.absent_classes(), (std::vector<int64_t>{3, 4}));
  // F1 of 0, 1 and 2: 2*3/(4+4), 2*1/(2+2), 0. scikit-learn's average counts class 3 as well.
  EXPECT_DOUBLE_EQ(matrix.macro_f1_of_present(), (0.75 + 0.5 + 0) / 3);
  EXPECT_DOUBLE_EQ(matrix.macro_f1(), (0.75 + 0.5 + 0) / 4);
  EXPECT_EQ(matrix.recall_per_class(), (std::vector<double>{0.75, 0.5, 0, -1, -1}));
  EXPECT_EQ(matrix.prior(), (std::vector<double>{4.0 / 7, 2.0 / 7, 1.0 / 7, 0, 0}));
}

// Cohen (1960) with these marginals: p_o = 70/100, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
TEST(Metrics, KappaByHand) {
  ConfusionMatrix matrix(2);
  matrix.add(0, 0, 40);
  matrix.add(0, 1, 10);
  matrix.add(1, 0, 20);
  matrix.add(1, 1, 30);
  EXPECT_DOUBLE_EQ(matrix.kappa(), 0.4);
  ConfusionMatrix constant(2);
  constant.add(0, 0, 5);
  EXPECT_EQ(constant.kappa(), 0);
}

// Ten groups of a hundred images, each all right or all wrong: as if there were ten images.
TEST(Metrics, BootstrapOfGroupsIsAsWideAsTheGroupsAreFew) {
  std::vector<int64_t> truth;
  std::vector<int64_t> predicted;
  std::vector<int64_t> groups;
  for (int64_t i = 0; i < 1000; ++i) {
    truth.push_back(0);
    predicted.push_back(i / 100 < 7 ? 0 : 1);
    groups.push_back(i / 100);
  }
  const auto accuracy = [](const ConfusionMatrix& matrix) { return matrix.accuracy(); };
  const auto misses = [](const ConfusionMatrix& matrix) {
    return static_cast<double>(matrix.count(0, 1));
  };
  const auto intervals = group_bootstrap(truth, predicted, groups, 2, {accuracy, misses}, 3);
  ASSERT_EQ(intervals.size(), 2U);
  // Quantiles of Binomial(10, 0.7) / 10: 0.4 and 1 (cumulative 0.011 at 3, 0.047 at 4; 0.972 at 9).
  EXPECT_DOUBLE_EQ(intervals[0].low, 0.4);
  EXPECT_DOUBLE_EQ(intervals[0].high, 1);
  EXPECT_DOUBLE_EQ(intervals[1].low, 0);
  EXPECT_DOUBLE_EQ(intervals[1].high, 600);
  EXPECT_THROW(group_bootstrap(truth, predicted, std::span(groups).first(9), 2, {accuracy}, 3),
               Error);
}

TEST(Metrics, AgreementCountsImagesOnWhichAllAgree) {
  EXPECT_DOUBLE_EQ(share_in_agreement({{1, 2, 3, 4}, {1, 2, 0, 4}, {1, 0, 3, 4}}), 0.5);
  EXPECT_DOUBLE_EQ(share_in_agreement({{1, 2}}), 1);
  EXPECT_THROW(share_in_agreement({{1, 2}, {1}}), Error);
  EXPECT_THROW(share_in_agreement({}), Error);
}

TEST(Metrics, QuantileInterpolates) {
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3, 4, 5}, 0.025), 1.1);
  EXPECT_DOUBLE_EQ(quantile({7}, 0.975), 7);
}

// The binomial approximation: p +- 1.96 sqrt(p (1 - p) / n).
TEST(Metrics, BootstrapMatchesTheBinomial) {
  std::vector<uint8_t> is_correct(1000);
  for (size_t i = 0; i < is_correct.size(); ++i) is_correct[i] = i % 10 < 7;
  const Interval interval = bootstrap_interval(is_correct, 3);
  const double half = 1.96 * std::sqrt(0.7 * 0.3 / 1000);
  EXPECT_NEAR(interval.low, 0.7 - half, 0.005);
  EXPECT_NEAR(interval.high, 0.7 + half, 0.005);
  const Interval again = bootstrap_interval(is_correct, 3);
  EXPECT_EQ(interval.low, again.low);
  EXPECT_NE(bootstrap_interval(is_correct, 4).low + bootstrap_interval(is_correct, 5).low,
            2 * interval.low);
}

// Two models that differ on few images: pairing removes what they share.
TEST(Metrics, PairedBootstrapIsNarrower) {
  std::vector<uint8_t> a(500);
  std::vector<uint8_t> b(500);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = i % 2;
    b[i] = i % 2 && i % 50 != 1;  // 10 of a's hits are missing
  }
  const PairedDifference paired = paired_bootstrap(a, b, 1);
  EXPECT_NEAR(paired.difference, 0.02, 1e-15);
  // Each image contributes 1 with probability 0.02: sd sqrt(0.02 * 0.98 / 500) = 0.00626.
  EXPECT_NEAR(paired.interval.low, 0.02 - 1.96 * 0.00626, 0.004);
  EXPECT_GT(paired.interval.low, 0);
  const Interval alone = bootstrap_interval(a, 1);
  EXPECT_LT(paired.interval.high - paired.interval.low, (alone.high - alone.low) / 2);
  EXPECT_THROW(paired_bootstrap(a, std::span(b).first(499), 1), Error);
}

// Class 0: 900 images, b misses 90 more than a; class 1: 100 images, b misses 50 more.
TEST(Metrics, PairedBootstrapOfBalancedAccuracyWeighsClassesAlike) {
  std::vector<uint8_t> a(1000, 1);
  std::vector<uint8_t> b(1000, 1);
  std::vector<int64_t> labels(1000, 0);
  std::fill(labels.begin() + 900, labels.end(), 1);
  std::fill(b.begin(), b.begin() + 90, 0);
  std::fill(b.begin() + 900, b.begin() + 950, 0);
  const PairedDifference paired = paired_bootstrap_balanced(a, b, labels, 3, 1);
  EXPECT_NEAR(paired.difference, (0.1 + 0.5) / 2, 1e-12);                  // top-1: 0.14
  const double half = 1.96 * std::sqrt(0.1 * 0.9 / 900 + 0.25 / 100) / 2;  // 0.05
  EXPECT_NEAR(paired.interval.low, paired.difference - half, 0.008);
  EXPECT_NEAR(paired.interval.high, paired.difference + half, 0.008);
  labels[0] = 3;
  EXPECT_THROW(paired_bootstrap_balanced(a, b, labels, 3, 1), Error);
}

TEST(Metrics, SampleStandardDeviation) {
  const MeanAndSd summary = mean_and_sd(std::vector<double>{2, 4, 4, 4, 5, 5, 7, 9});
  EXPECT_DOUBLE_EQ(summary.mean, 5);
  EXPECT_DOUBLE_EQ(summary.sd, std::sqrt(32.0 / 7));
  EXPECT_EQ(mean_and_sd(std::vector<double>{3}).sd, 0);
  EXPECT_EQ(mean_and_sd({}).count, 0);
}

}  // namespace
}  // namespace swath::eval
