#include "eval/knn.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/tensor/torch.h"
#include "eval/metrics.h"

namespace swath::eval {
namespace {

TEST(Knn, NeighboursByHand) {
  const at::Tensor train = torch::tensor({{0.0F, 0.0F}, {1.0F, 0.0F}, {0.0F, 3.0F}, {1.0F, 0.0F}});
  const at::Tensor test = torch::tensor({{0.9F, 0.1F}, {0.0F, 2.0F}});
  const Neighbours near = find_neighbours(train, test, 3, Metric::kEuclidean);
  // Rows 1 and 3 are equal: the lower index comes first.
  EXPECT_TRUE(torch::equal(near.indices_MK, torch::tensor({{1, 3, 0}, {2, 0, 1}}, torch::kLong)));
  EXPECT_NEAR(near.measures_MK[0][0].item<double>(), 0.02, 1e-7);
  EXPECT_NEAR(near.measures_MK[1][0].item<double>(), 1, 1e-12);
}

TEST(Knn, CosineIgnoresLength) {
  const at::Tensor train = torch::tensor({{100.0F, 0.0F}, {0.1F, 0.1F}});
  const at::Tensor test = torch::tensor({{1.0F, 1.0F}});
  const Neighbours near = find_neighbours(train, test, 10, Metric::kCosine);
  EXPECT_TRUE(torch::equal(near.indices_MK, torch::tensor({{1, 0}}, torch::kLong)));
  EXPECT_NEAR(near.measures_MK[0][0].item<double>(), 1, 1e-7);
  EXPECT_NEAR(near.measures_MK[0][1].item<double>(), std::sqrt(0.5), 1e-7);
}

TEST(Knn, VotesByHand) {
  Neighbours near;
  near.indices_MK = torch::tensor({{0, 1, 2}}, torch::kLong);
  near.measures_MK = torch::tensor({{1.0, 0.93, 0.93}}, torch::kDouble);
  const at::Tensor labels = torch::tensor({2, 1, 1}, torch::kLong);
  EXPECT_TRUE(torch::equal(count_votes(near, labels, 3, 3), torch::tensor({{0.0F, 2.0F, 1.0F}})));
  EXPECT_TRUE(torch::equal(count_votes(near, labels, 3, 1), torch::tensor({{0.0F, 0.0F, 1.0F}})));
  // exp(1 / 0.07) against 2 exp(0.93 / 0.07): their ratio is e / 2, so one close neighbour wins.
  const at::Tensor votes = weigh_votes(near, labels, 3, 3, 0.07);
  EXPECT_NEAR(votes[0][2].item<double>() / votes[0][1].item<double>(), std::exp(1.0) / 2, 1e-5);
  // A temperature so low that float would overflow.
  EXPECT_TRUE(torch::isfinite(weigh_votes(near, labels, 3, 3, 0.001)).all().item<bool>());
}

TEST(Knn, ResultsDoNotDependOnTheBlockOfRows) {
  torch::manual_seed(0);
  const at::Tensor train = torch::randn({50, 7});
  const at::Tensor test = torch::randn({600, 7});
  const Neighbours all = find_neighbours(train, test, 5, Metric::kEuclidean);
  const Neighbours part = find_neighbours(train, test.slice(0, 300, 310), 5, Metric::kEuclidean);
  EXPECT_TRUE(torch::equal(all.indices_MK.slice(0, 300, 310), part.indices_MK));
  // Against plain distances.
  const at::Tensor distances = torch::cdist(test.to(torch::kDouble), train.to(torch::kDouble));
  const at::Tensor best = std::get<1>(distances.topk(5, 1, /*largest=*/false, /*sorted=*/true));
  EXPECT_TRUE(torch::equal(all.indices_MK, best));
}

FeatureSet clusters(int64_t per_class, int64_t num_classes, uint64_t seed) {
  torch::manual_seed(seed);
  FeatureSet set;
  set.labels_N = torch::arange(num_classes).repeat({per_class});
  set.features_ND = torch::eye(num_classes, 8).repeat({per_class, 1}) * 4 +
                    torch::randn({per_class * num_classes, 8});
  return set;
}

TEST(Knn, ReportOnClustersAndOnShuffledLabels) {
  const FeatureSet train = clusters(30, 4, 1);
  const FeatureSet test = clusters(50, 4, 2);
  const Json report = run_knn(train, test, 4, {}, 0);
  EXPECT_GT(report["majority"]["top1"].get<double>(), 0.9);
  ASSERT_EQ(report["weighted"].size(), 4U);  // 10, 20, 100 and 200 capped to 120
  EXPECT_EQ(report["weighted"][3]["k"], 120);
  EXPECT_GT(report["weighted"][1]["top1"].get<double>(), 0.9);
  EXPECT_EQ(report["weighted"][1]["top5"].get<double>(), 1.0);

  FeatureSet shuffled = train;
  shuffled.labels_N = train.labels_N.index_select(0, torch::randperm(120));
  const double chance = run_knn(shuffled, test, 4, {}, 0)["majority"]["top1"].get<double>();
  EXPECT_NEAR(chance, 0.25, 3 * std::sqrt(0.25 * 0.75 / 50));
}

TEST(Knn, WidthsMustAgree) {
  EXPECT_THROW(find_neighbours(torch::zeros({3, 4}), torch::zeros({2, 5}), 1, Metric::kCosine),
               Error);
}

}  // namespace
}  // namespace swath::eval
