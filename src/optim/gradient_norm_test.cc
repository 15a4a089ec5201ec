#include "optim/gradient_norm.h"

#include <gtest/gtest.h>

#include "core/tensor/torch.h"

namespace swath::optim {
namespace {

ParamView view_with_grad(const at::Tensor& grad) {
  ParamView view;
  view.local = at::zeros_like(grad);
  view.grad = grad;
  return view;
}

TEST(GradientNorm, IsTheNormOfAllViewsTogether) {
  const std::vector<ParamView> views = {view_with_grad(torch::tensor({3.0F})),
                                        view_with_grad(torch::tensor({0.0F, 4.0F}))};
  const GradientNorm result = measure_gradients(views, torch::tensor(1.0F), 0);
  EXPECT_FLOAT_EQ(result.norm.item<float>(), 5);
  EXPECT_EQ(result.found_inf.item<float>(), 0);
  EXPECT_FALSE(result.divisor.defined());
}

TEST(GradientNorm, ClipsOnlyWhatIsLonger) {
  const std::vector<ParamView> views = {view_with_grad(torch::tensor({3.0F, 4.0F}))};
  EXPECT_NEAR(measure_gradients(views, torch::tensor(1.0F), 2).divisor.item<float>(), 2.5, 1e-5);
  EXPECT_EQ(measure_gradients(views, torch::tensor(1.0F), 10).divisor.item<float>(), 1);
}

TEST(GradientNorm, FlagsNonFiniteGradientsAndLosses) {
  const std::vector<ParamView> good = {view_with_grad(torch::tensor({1.0F}))};
  const std::vector<ParamView> bad = {view_with_grad(torch::tensor({1.0F, std::nanf("")}))};
  EXPECT_EQ(measure_gradients(bad, torch::tensor(1.0F), 0).found_inf.item<float>(), 1);
  EXPECT_EQ(measure_gradients(good, torch::tensor(INFINITY), 0).found_inf.item<float>(), 1);
}

TEST(GradientNorm, SumsOverTheShardGroup) {
  std::vector<ParamView> views = {view_with_grad(torch::tensor({3.0F}))};
  views[0].sum_over_shards = [](at::Tensor& sum) { sum.add_(16); };
  EXPECT_FLOAT_EQ(measure_gradients(views, torch::tensor(0.0F), 0).norm.item<float>(), 5);
}

}  // namespace
}  // namespace swath::optim
