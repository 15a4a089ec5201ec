#include "eval/clustering.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace swath::eval {
namespace {

using Labels = std::vector<int64_t>;

// scikit-learn documents 0.57 for these: together in both 1, in one 2 and 1, of 6 pairs:
// (1 - 2/6) / (3/2 - 2/6) = 4/7.
TEST(Clustering, RandIndexByHand) {
  EXPECT_DOUBLE_EQ(adjusted_rand_index(Labels{0, 0, 1, 1}, Labels{0, 0, 1, 2}), 4.0 / 7);
  EXPECT_DOUBLE_EQ(adjusted_rand_index(Labels{0, 0, 1, 1}, Labels{0, 1, 0, 1}), -0.5);
  EXPECT_DOUBLE_EQ(adjusted_rand_index(Labels{0, 0, 0, 0}, Labels{0, 1, 2, 3}), 0);
}

// MI = ln 2, H = (ln 2 + 1.5 ln 2) / 2; the overlap of {0, 1} with a part of two is 0, 1 or 2 with
// probability 1/6, 4/6, 1/6, with a part of one it is 1 with 1/2: each term by the definition.
TEST(Clustering, MutualInformationByHand) {
  const double ln2 = std::log(2.0);
  const double with_two = 4.0 / 6 * (0.25 * std::log(1.0)) + 1.0 / 6 * (0.5 * ln2);
  const double with_one = 0.5 * (0.25 * ln2);
  const double expected = 2 * with_two + 4 * with_one;
  EXPECT_NEAR(adjusted_mutual_information(Labels{0, 0, 1, 1}, Labels{0, 0, 1, 2}),
              (ln2 - expected) / (1.25 * ln2 - expected), 1e-12);
  EXPECT_NEAR(adjusted_mutual_information(Labels{0, 0, 1, 1}, Labels{0, 1, 0, 1}), -0.5, 1e-12);
  EXPECT_DOUBLE_EQ(adjusted_mutual_information(Labels{0, 0, 0, 0}, Labels{0, 1, 2, 3}), 0);
}

TEST(Clustering, NamesOfPartsDoNotMatter) {
  const Labels classes = {0, 0, 1, 1, 1, 2, 2, 2, 2, 0};
  Labels renamed;
  for (const int64_t c : classes) renamed.push_back((c + 1) % 3 + 5);
  EXPECT_NEAR(adjusted_rand_index(classes, renamed), 1, 1e-12);
  EXPECT_NEAR(adjusted_mutual_information(classes, renamed), 1, 1e-12);
}

// The definition itself: over all ways to deal the clusters out, the mean of both is 0.
void expect_zero_on_the_average(const Labels& classes, Labels clusters, int64_t permutations) {
  double rand = 0;
  double information = 0;
  int64_t count = 0;
  do {
    rand += adjusted_rand_index(classes, clusters);
    information += adjusted_mutual_information(classes, clusters);
    ++count;
  } while (std::next_permutation(clusters.begin(), clusters.end()));
  EXPECT_EQ(count, permutations);
  EXPECT_NEAR(rand / static_cast<double>(count), 0, 1e-12);
  EXPECT_NEAR(information / static_cast<double>(count), 0, 1e-12);
}

TEST(Clustering, IsZeroOnTheAverageOverAllPermutations) {
  expect_zero_on_the_average({0, 0, 0, 1, 1, 2, 2}, {0, 0, 1, 1, 1, 1, 2}, 105);  // 7! / (2! 4! 1!)
  // Parts of five and of four of six: they overlap in three at least.
  expect_zero_on_the_average({0, 0, 0, 0, 0, 1}, {0, 0, 0, 0, 1, 2}, 30);  // 6! / 4!
}

// scikit-learn 1.9.1: adjusted_rand_score and adjusted_mutual_info_score of these lists.
TEST(Clustering, AgreesWithScikitLearn) {
  Labels classes;
  Labels clusters;
  for (int64_t i = 0; i < 200; ++i) {
    classes.push_back((i * i + 3 * i) % 7);
    clusters.push_back(i % 4 != 0 ? classes.back() % 5 : i / 4 % 5);
  }
  EXPECT_NEAR(adjusted_rand_index(classes, clusters), 0.4179024017369606, 1e-12);
  EXPECT_NEAR(adjusted_mutual_information(classes, clusters), 0.3930721271304415, 1e-12);
}

TEST(Clustering, RefusesWhatCannotBeCompared) {
  EXPECT_THROW(adjusted_rand_index(Labels{0, 1}, Labels{0}), Error);
  EXPECT_THROW(adjusted_rand_index({}, {}), Error);
  EXPECT_THROW(adjusted_mutual_information(Labels{0, -1}, Labels{0, 1}), Error);
}

}  // namespace
}  // namespace swath::eval
