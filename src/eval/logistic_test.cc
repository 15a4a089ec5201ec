#include "eval/logistic.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/tensor/tensor_io.h"
#include "core/tensor/torch.h"
#include "eval/metrics.h"

namespace swath::eval {
namespace {

// testdata/eval/make_logistic.py: scikit-learn 1.7's newton-cholesky, tolerance 1e-12.
TEST(Logistic, AgreesWithScikitLearn) {
  const SafetensorsFile fixture(SWATH_TESTDATA "/eval/logistic.safetensors");
  const at::Tensor train = read_tensor(fixture, "train");
  const LogisticProblem problem(train, read_tensor(fixture, "train_labels"), 4);
  for (const auto& [c, name] : {std::pair{1e-3, "c_0.001"}, {1.0, "c_1"}, {100.0, "c_100"}}) {
    const std::string prefix = std::string(name) + "/";
    const LogisticModel model = problem.solve(c, 4000, 1e-9);
    EXPECT_TRUE(model.converged) << name;
    EXPECT_NEAR(model.loss, read_tensor(fixture, prefix + "loss").item<double>(), 1e-9) << name;
    const at::Tensor expected = read_tensor(fixture, prefix + "weight");
    const double error = (model.weight_KD - expected).abs().max().item<double>();
    EXPECT_LT(error, 2e-4 * expected.abs().max().item<double>()) << name;
    const at::Tensor probabilities =
        torch::softmax(model.logits(read_tensor(fixture, "test")).to(torch::kDouble), 1);
    EXPECT_LT(
        (probabilities - read_tensor(fixture, prefix + "probabilities")).abs().max().item<double>(),
        2e-5)
        << name;
  }
}

struct Toy {
  at::Tensor features, labels;
};

Toy make_toy(int64_t count, int64_t width, uint64_t seed) {
  torch::manual_seed(seed);
  Toy toy;
  toy.labels = torch::arange(count).remainder(3);
  toy.features = torch::randn({count, width}) * torch::logspace(-2, 1, width) + 5;
  toy.features.select(1, width - 1).add_(toy.labels * 40);
  return toy;
}

TEST(Logistic, TwoStartsAgree) {
  const Toy toy = make_toy(90, 20, 3);
  const LogisticProblem problem(toy.features, toy.labels, 3);
  for (const double c : {1e-7, 1e-2, 1e2}) {
    const LogisticModel from_zero = problem.solve(c);
    LogisticModel start;
    start.weight_KD = torch::randn({3, 20}, torch::kDouble);
    start.bias_K = torch::randn({3}, torch::kDouble) * 10;
    const LogisticModel from_noise = problem.solve(c, 2000, 1e-6, &start);
    EXPECT_TRUE(from_zero.converged && from_noise.converged) << c;
    EXPECT_NEAR(from_zero.loss, from_noise.loss, 1e-6) << c;
    EXPECT_LT(from_zero.iterations, 400) << c;
  }
}

// The value is the documented objective, recomputed plainly, and the gradient there vanishes.
TEST(Logistic, SolvesTheDocumentedObjective) {
  const Toy toy = make_toy(60, 5, 4);
  const double c = 0.5;
  const LogisticModel model = LogisticProblem(toy.features, toy.labels, 3).solve(c, 2000, 1e-9);
  const at::Tensor weight = model.weight_KD.clone().requires_grad_();
  const at::Tensor bias = model.bias_K.clone().requires_grad_();
  const at::Tensor logits = torch::addmm(bias, toy.features.to(torch::kDouble), weight.t());
  const at::Tensor value =
      torch::cross_entropy_loss(logits, toy.labels) + weight.square().sum() / (2 * c * 60);
  EXPECT_NEAR(value.item<double>(), model.loss, 1e-10);
  value.backward();
  EXPECT_LT(weight.grad().abs().max().item<double>(), 1e-7);
  EXPECT_LT(bias.grad().abs().max().item<double>(), 1e-7);
}

TEST(Logistic, MoreFeaturesThanSamples) {
  const Toy toy = make_toy(12, 40, 5);
  const LogisticModel model = LogisticProblem(toy.features, toy.labels, 3).solve(1.0, 2000, 1e-9);
  const at::Tensor weight = model.weight_KD.clone().requires_grad_();
  const at::Tensor logits = torch::addmm(model.bias_K, toy.features.to(torch::kDouble), weight.t());
  (torch::cross_entropy_loss(logits, toy.labels) + weight.square().sum() / (2 * 12)).backward();
  EXPECT_LT(weight.grad().abs().max().item<double>(), 1e-7);
}

// A sample of weight two is the same as two samples; targets of two classes as one of each.
TEST(Logistic, TargetsAreWeights) {
  const Toy toy = make_toy(30, 4, 6);
  const at::Tensor twice = torch::cat({toy.features, toy.features.slice(0, 0, 10)});
  const at::Tensor labels = torch::cat({toy.labels, (toy.labels.slice(0, 0, 10) + 1).remainder(3)});
  const LogisticModel expected = LogisticProblem(twice, labels, 3).solve(1, 2000, 1e-9);
  at::Tensor targets = torch::one_hot(toy.labels, 3).to(torch::kDouble);
  targets.slice(0, 0, 10) +=
      torch::one_hot((toy.labels.slice(0, 0, 10) + 1).remainder(3), 3).to(torch::kDouble);
  const LogisticModel found =
      LogisticProblem::with_targets(toy.features, targets).solve(1, 2000, 1e-9);
  EXPECT_NEAR(found.loss, expected.loss, 1e-9);
  EXPECT_LT((found.weight_KD - expected.weight_KD).abs().max().item<double>(), 1e-5);
}

TEST(Logistic, FoldsAreStratified) {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < 103; ++i) labels.push_back(i % 10 == 0 ? 1 : 0);
  const std::vector<int64_t> folds = stratified_folds(labels, 2, 5, 7);
  std::vector<std::vector<int64_t>> counts(2, std::vector<int64_t>(5));
  for (size_t i = 0; i < labels.size(); ++i) {
    ++counts[static_cast<size_t>(labels[i])][static_cast<size_t>(folds[i])];
  }
  for (const auto& of_class : counts) {
    const auto [low, high] = std::minmax_element(of_class.begin(), of_class.end());
    EXPECT_LE(*high - *low, 1);
  }
  EXPECT_EQ(folds, stratified_folds(labels, 2, 5, 7));
  EXPECT_NE(folds, stratified_folds(labels, 2, 5, 8));
}

// Features that are mostly noise: the sweep must prefer strong regularisation to none.
TEST(Logistic, SweepPrefersWhatGeneralises) {
  torch::manual_seed(8);
  const at::Tensor labels = torch::arange(80).remainder(2);
  at::Tensor features = torch::randn({80, 60});
  features.select(1, 0).add_(labels * 2.0);
  const LogisticSelection selection =
      select_logistic(features, labels, 2, false, {.num_c = 7, .c_min = 1e-4, .c_max = 100}, 1);
  ASSERT_EQ(selection.candidates.size(), 7U);
  EXPECT_NEAR(selection.candidates[0], 1e-4, 1e-12);
  EXPECT_NEAR(selection.candidates[6], 100, 1e-9);
  EXPECT_LT(selection.c, 1.0);
}

// What the test set says must not reach the choice of C.
TEST(Logistic, TheTestSetChoosesNothing) {
  const Toy toy = make_toy(90, 12, 10);
  const FeatureSet train{
      toy.features.slice(0, 0, 60).contiguous(), toy.labels.slice(0, 0, 60).contiguous(), {}, {}};
  FeatureSet test{
      toy.features.slice(0, 60).contiguous(), toy.labels.slice(0, 60).contiguous(), {}, {}};
  const LogisticOptions options{.num_c = 4, .c_min = 1e-3};
  const Json honest = run_logistic(train, test, 3, options, 2);
  test.labels_N = (test.labels_N + 1).remainder(3);
  test.features_ND = test.features_ND * 100;
  const Json wrong = run_logistic(train, test, 3, options, 2);
  EXPECT_NE(honest["raw"]["top1"], wrong["raw"]["top1"]);
  for (const char* variant : {"raw", "standardized"}) {
    for (const char* key : {"c", "sweep", "loss"}) {
      EXPECT_EQ(honest[variant][key], wrong[variant][key]) << variant << " " << key;
    }
  }
}

TEST(Logistic, StandardizedModelAppliesToRawFeatures) {
  const Toy toy = make_toy(60, 6, 9);
  FeatureSet set{toy.features, toy.labels, {}, {}};
  std::vector<uint8_t> is_correct;
  const Json report = run_logistic(set, set, 3, {.num_c = 3, .c_min = 1e-2}, 0, &is_correct);
  EXPECT_GT(report["raw"]["top1"].get<double>(), 0.8);
  EXPECT_GT(report["standardized"]["top1"].get<double>(), 0.8);
  EXPECT_EQ(is_correct.size(), 60U);
  EXPECT_NEAR(fraction_of(is_correct), report["raw"]["top1"].get<double>(), 1e-12);
  // Scaling one raw feature changes nothing for the standardised variant.
  at::Tensor scaled = toy.features.clone();
  scaled.select(1, 2).mul_(1000);
  FeatureSet other{scaled, toy.labels, {}, {}};
  const Json again = run_logistic(other, other, 3, {.num_c = 3, .c_min = 1e-2}, 0);
  EXPECT_EQ(again["standardized"]["top1"], report["standardized"]["top1"]);
}

TEST(Logistic, RefusesWhatCannotBeFitted) {
  EXPECT_THROW(LogisticProblem(torch::zeros({2, 2}), torch::tensor({0, 5}), 3), Error);
  EXPECT_THROW(LogisticProblem(torch::full({2, 2}, NAN), torch::tensor({0, 1}), 3), Error);
  EXPECT_THROW(LogisticProblem(torch::zeros({0, 2}), torch::zeros({0}, torch::kLong), 3), Error);
}

}  // namespace
}  // namespace swath::eval
