#include "eval/kmeans.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "core/random.h"
#include "eval/clustering.h"

namespace swath::eval {
namespace {

// `per_blob` points of deviation 0.1 around each of `blobs` corners that lie 10 apart.
at::Tensor blobs(int64_t count, int64_t per_blob, std::vector<int64_t>* classes) {
  Random random(5, RandomPurpose::kTest);
  at::Tensor points = at::zeros({count * per_blob, 3}, at::kFloat);
  for (int64_t i = 0; i < count * per_blob; ++i) {
    const int64_t blob = i % count;
    classes->push_back(blob);
    for (int64_t d = 0; d < 3; ++d) {
      points[i][d] = 10.0 * static_cast<double>((blob >> d) & 1) + 0.1 * random.normal();
    }
  }
  return points;
}

TEST(Kmeans, FindsWhatIsApart) {
  std::vector<int64_t> classes;
  const at::Tensor points = blobs(8, 20, &classes);
  KMeansOptions options;
  options.clusters = 8;
  bool is_found = false;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const KMeansResult result = kmeans(points, options, seed);
    EXPECT_TRUE(result.converged);
    EXPECT_GT(adjusted_rand_index(classes, result.clusters), 0.7) << seed;
    if (adjusted_rand_index(classes, result.clusters) < 1) continue;
    is_found = true;
    // 160 points of variance 3 * 0.01, less a degree of freedom per blob and dimension.
    EXPECT_NEAR(result.inertia, 0.01 * 3 * (160 - 8), 1);
  }
  EXPECT_TRUE(is_found);
}

TEST(Kmeans, InertiaByHand) {
  KMeansOptions options;
  options.clusters = 2;
  const at::Tensor points = at::tensor({0.0, 2.0, 10.0, 12.0, 14.0}).reshape({5, 1});
  const KMeansResult result = kmeans(points, options, 1);
  EXPECT_NEAR(result.inertia, 1 + 1 + 4 + 0 + 4, 1e-12);
  EXPECT_EQ(result.clusters[0], result.clusters[1]);
  EXPECT_NE(result.clusters[0], result.clusters[2]);
}

TEST(Kmeans, IsAFunctionOfItsSeed) {
  at::Tensor points = at::zeros({200, 4}, at::kFloat);
  Random random(6, RandomPurpose::kTest);
  for (int64_t i = 0; i < points.numel(); ++i) points.view(-1)[i] = random.normal();
  KMeansOptions options;
  options.clusters = 10;
  const KMeansResult first = kmeans(points, options, 3);
  EXPECT_EQ(first.clusters, kmeans(points, options, 3).clusters);
  EXPECT_NE(first.clusters, kmeans(points, options, 4).clusters);
  EXPECT_EQ(std::set<int64_t>(first.clusters.begin(), first.clusters.end()).size(), 10U);
}

TEST(Kmeans, TakesEqualItemsAndRefusesTooFew) {
  KMeansOptions options;
  options.clusters = 3;
  const KMeansResult equal = kmeans(at::ones({5, 2}), options, 0);
  EXPECT_EQ(equal.inertia, 0);
  EXPECT_THROW(kmeans(at::ones({2, 2}), options, 0), UsageError);
  EXPECT_THROW(kmeans(at::full({5, 2}, INFINITY), options, 0), Error);
}

TEST(Kmeans, NumbersGoBySizeThenByTheFirstItem) {
  KMeansResult result;
  result.clusters = {3, 1, 2, 0, 2, 1, 2, 0};
  result.inertia = 5;
  result.iterations = 7;
  const KMeansResult renumbered = numbered_by_size(result);
  EXPECT_EQ(renumbered.clusters, (std::vector<int64_t>{3, 1, 0, 2, 0, 1, 0, 2}));
  EXPECT_EQ(renumbered.inertia, 5);
  EXPECT_EQ(renumbered.iterations, 7);
}

}  // namespace
}  // namespace swath::eval
