#include "eval/few_shot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/hash.h"
#include "core/tensor/torch.h"

namespace swath::eval {
namespace {

FeatureSet clusters(int64_t per_class, double separation, uint64_t seed) {
  torch::manual_seed(seed);
  FeatureSet set;
  set.labels_N = torch::arange(3).repeat({per_class});
  set.features_ND =
      torch::eye(3, 6).repeat({per_class, 1}) * separation + torch::randn({per_class * 3, 6});
  for (int64_t i = 0; i < per_class * 3; ++i) {
    set.names.push_back("class" + std::to_string(i % 3) + "/" + std::to_string(i) + ".png");
  }
  return set;
}

const std::vector<std::string> kClasses = {"class0", "class1", "class2"};

TEST(FewShot, RankingIsBySha256) {
  const std::vector<std::string> names = {"a/x.png", "a/y.png", "a/z.png"};
  const std::vector<int64_t> labels = {0, 0, 0};
  const auto ranked = rank_for_episode(names, labels, {"a"}, 3);
  std::vector<std::pair<std::string, int64_t>> expected;
  for (int64_t i = 0; i < 3; ++i) {
    expected.emplace_back(sha256_hex("e3:" + names[static_cast<size_t>(i)]), i);
  }
  std::sort(expected.begin(), expected.end());
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(ranked[0][i], expected[i].second);
  // The folder of the file does not enter twice, nor the order of the list.
  EXPECT_EQ(rank_for_episode({"deep/a/x.png", "a/y.png", "z.png"}, labels, {"a"}, 3)[0], ranked[0]);
  std::set<std::vector<int64_t>> orders;
  for (int64_t episode = 0; episode < 20; ++episode) {
    orders.insert(rank_for_episode(names, labels, {"a"}, episode)[0]);
  }
  EXPECT_GT(orders.size(), 2U);
}

TEST(FewShot, MoreShotsAreBetterAndChanceIsChance) {
  const FeatureSet train = clusters(25, 2.5, 1);
  const FeatureSet test = clusters(100, 2.5, 2);
  const Json report = run_few_shot(train, test, kClasses, {.shots = {1, 5, 20}, .episodes = 8});
  ASSERT_EQ(report["shots"].size(), 3U);
  for (const char* classifier : {"class_mean", "logistic", "nearest"}) {
    const double one = report["shots"][0][classifier]["mean"];
    const double twenty = report["shots"][2][classifier]["mean"];
    EXPECT_GT(twenty, one + 0.03) << classifier;
    EXPECT_GT(twenty, 0.75) << classifier;
    EXPECT_LE(report["shots"][0][classifier]["interval"][0], one);
    EXPECT_GE(report["shots"][0][classifier]["interval"][1], one);
  }
  EXPECT_EQ(report["shots"][1]["images"], 15);
  EXPECT_EQ(report["full"]["images"], 75);

  const FeatureSet noise_train = clusters(25, 0, 3);
  const FeatureSet noise_test = clusters(100, 0, 4);
  const Json noise = run_few_shot(noise_train, noise_test, kClasses, {.shots = {5}, .episodes = 8});
  EXPECT_NEAR(noise["shots"][0]["logistic"]["mean"].get<double>(), 1.0 / 3, 0.05);
}

TEST(FewShot, ImpossibleShotsAreLeftOut) {
  const FeatureSet train = clusters(4, 3, 1);
  const Json report = run_few_shot(train, train, kClasses, {.shots = {1, 5}, .episodes = 2});
  EXPECT_EQ(report["shots"].size(), 1U);
  EXPECT_EQ(report["left_out"].dump(), "[5]");
  // Every training image is its own nearest neighbour.
  EXPECT_EQ(report["full"]["nearest"].get<double>(), 1.0);
}

}  // namespace
}  // namespace swath::eval
