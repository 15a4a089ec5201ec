#include "optim/lars.h"

#include <gtest/gtest.h>

#include "core/tensor/torch.h"

namespace swath::optim {
namespace {

ParamView view_of(const at::Tensor& weight, const std::vector<int64_t>& shape,
                  const at::Tensor& gradient) {
  ParamView view;
  view.local = weight;
  view.grad = gradient;
  view.segments.push_back({"w", shape, 0, weight.numel()});
  return view;
}

// The golden values of reference/linear_probe.md section 1.
TEST(Lars, GoldenValues) {
  std::vector<ParamView> views = {
      view_of(torch::tensor({3.0F, 4.0F}), {1, 2}, torch::tensor({0.0F, 2.0F})),
      view_of(torch::tensor({0.0F}), {1}, torch::tensor({1.0F}))};
  Lars lars(&views, {});
  lars.step(0.1);
  EXPECT_FLOAT_EQ(views[0].local[0].item<float>(), 3.0F);
  EXPECT_FLOAT_EQ(views[0].local[1].item<float>(), 3.9995F);
  EXPECT_FLOAT_EQ(lars.named_state()[0].second[0][1].item<float>(), 0.005F);
  EXPECT_FLOAT_EQ(views[1].local[0].item<float>(), -0.1F);
}

// util/lars.py of MAE, restated in double with plain numbers.
struct Reference {
  std::vector<double> w, m;
  void step(const std::vector<double>& gradient, double lr, double decay) {
    m.resize(w.size());
    std::vector<double> g = gradient;
    double weight_square = 0;
    double gradient_square = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      g[i] += decay * w[i];
      weight_square += w[i] * w[i];
      gradient_square += g[i] * g[i];
    }
    double ratio = 1;
    if (weight_square > 0 && gradient_square > 0) {
      ratio = 0.001 * std::sqrt(weight_square) / std::sqrt(gradient_square);
    }
    for (size_t i = 0; i < w.size(); ++i) {
      m[i] = 0.9 * m[i] + ratio * g[i];
      w[i] -= lr * m[i];
    }
  }
};

std::vector<double> to_doubles(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kDouble).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

TEST(Lars, TrajectoryWithDecayAndMomentum) {
  torch::manual_seed(1);
  const at::Tensor weight = torch::randn({12});
  Reference reference{to_doubles(weight), {}};
  std::vector<ParamView> views = {view_of(weight.clone(), {3, 4}, at::Tensor())};
  Lars lars(&views, {.momentum = 0.9, .trust_coefficient = 0.001, .weight_decay = 0.05});
  for (int step = 0; step < 30; ++step) {
    const at::Tensor gradient = torch::randn({12});
    views[0].grad = gradient;
    lars.step(1.5, {});
    reference.step(to_doubles(gradient), 1.5, 0.05);
  }
  const std::vector<double> found = to_doubles(views[0].local);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], reference.w[i], 2e-6) << i;
}

// The golden bias starts at 0, where the ratio would be 1 anyway; one that does not start there
// tells a vector from a matrix.
TEST(Lars, VectorsHaveNeitherTrustRatioNorDecay) {
  std::vector<ParamView> views = {
      view_of(torch::tensor({3.0F, 4.0F}), {2}, torch::tensor({0.0F, 2.0F}))};
  Lars lars(&views, {.momentum = 0.9, .trust_coefficient = 0.001, .weight_decay = 0.5});
  lars.step(0.1);
  EXPECT_TRUE(torch::allclose(views[0].local, torch::tensor({3.0F, 3.8F})));
  lars.step(0.1);  // momentum 0.9 * 2 + 2
  EXPECT_TRUE(torch::allclose(views[0].local, torch::tensor({3.0F, 3.42F})));
}

TEST(Lars, ZeroNormsGiveRatioOne) {
  std::vector<ParamView> views = {view_of(torch::zeros({2}), {1, 2}, torch::tensor({1.0F, -2.0F})),
                                  view_of(torch::ones({2}), {1, 2}, torch::zeros({2}))};
  Lars lars(&views, {});
  lars.step(0.5);
  EXPECT_TRUE(torch::equal(views[0].local, torch::tensor({-0.5F, 1.0F})));
  EXPECT_TRUE(torch::equal(views[1].local, torch::ones({2})));
}

TEST(Lars, NonFiniteStepChangesNothing) {
  std::vector<ParamView> views = {
      view_of(torch::tensor({3.0F, 4.0F}), {1, 2}, torch::tensor({0.0F, NAN}))};
  Lars lars(&views, {});
  lars.step(0.1, torch::ones({}));
  EXPECT_TRUE(torch::equal(views[0].local, torch::tensor({3.0F, 4.0F})));
  EXPECT_TRUE(torch::equal(lars.named_state()[0].second, torch::zeros({1, 2})));
}

// A parameter split over two holders, the second of which also holds a whole one: the trust ratio
// is that of the whole parameter.
TEST(Lars, ShardedNormsAreOfWholeParameters) {
  torch::manual_seed(2);
  const at::Tensor weight = torch::randn({6});
  const at::Tensor other = torch::randn({4});
  const at::Tensor gradient = torch::randn({6});
  const at::Tensor other_gradient = torch::randn({4});
  std::vector<ParamView> whole = {view_of(weight.clone(), {2, 3}, gradient),
                                  view_of(other.clone(), {2, 2}, other_gradient)};
  Lars unsharded(&whole, {});
  unsharded.step(0.7);

  const at::Tensor total = torch::stack({weight.square().sum(), gradient.square().sum(),
                                         other.square().sum(), other_gradient.square().sum()})
                               .view({2, 2});
  const auto sharded = [&](const at::Tensor& local, const at::Tensor& grad, int64_t first,
                           int64_t second) {
    ParamView view;
    view.local = local;
    view.grad = grad;
    view.segments = {{"w", {2, 3}, 0, first}, {"v", {2, 2}, first, second}};
    // What a collective would bring: the sums over both holders.
    view.sum_over_shards = [&total](at::Tensor& sums) { sums.copy_(total); };
    return view;
  };
  std::vector<ParamView> rank0 = {
      sharded(weight.slice(0, 0, 4).clone(), gradient.slice(0, 0, 4), 4, 0)};
  std::vector<ParamView> rank1 = {sharded(torch::cat({weight.slice(0, 4), other}),
                                          torch::cat({gradient.slice(0, 4), other_gradient}), 2,
                                          4)};
  Lars(&rank0, {}).step(0.7);
  Lars(&rank1, {}).step(0.7);
  const at::Tensor joined = torch::cat({rank0[0].local, rank1[0].local});
  EXPECT_TRUE(torch::allclose(joined, torch::cat({whole[0].local, whole[1].local}), 1e-6, 1e-7));
}

TEST(Lars, WritesTheComputeCopy) {
  std::vector<ParamView> views = {
      view_of(torch::tensor({3.0F, 4.0F}), {1, 2}, torch::tensor({1.0F, 2.0F}))};
  views[0].compute_copy = torch::zeros({2}, torch::kBFloat16);
  Lars(&views, {}).step(1);
  EXPECT_TRUE(torch::equal(views[0].compute_copy, views[0].local.to(torch::kBFloat16)));
}

}  // namespace
}  // namespace swath::optim
