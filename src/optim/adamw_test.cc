#include "optim/adamw.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/tensor/torch.h"

namespace swath::optim {
namespace {

// The update in plain double arithmetic (Loshchilov and Hutter, algorithm 2, as PyTorch orders it).
struct Reference {
  double value, average = 0, square = 0;
  int64_t count = 0;
  void step(double grad, double lr, const AdamWOptions& options, double weight_decay) {
    ++count;
    value -= lr * weight_decay * value;
    average = options.beta1 * average + (1 - options.beta1) * grad;
    square = options.beta2 * square + (1 - options.beta2) * grad * grad;
    const double corrected = average / (1 - std::pow(options.beta1, double(count)));
    const double scale = std::sqrt(square / (1 - std::pow(options.beta2, double(count))));
    value -= lr * corrected / (scale + options.epsilon);
  }
};

ParamView make_view(const std::string& name, const std::vector<float>& values, bool decay,
                    double lr_scale = 1) {
  ParamView view;
  view.local = torch::tensor(values);
  view.grad = torch::zeros_like(view.local);
  const auto count = static_cast<int64_t>(values.size());
  view.segments = {{name, {count}, 0, count, decay, lr_scale}};
  return view;
}

at::Tensor flag(float value) { return torch::tensor(value); }

TEST(Adamw, FollowsTheReferenceForManySteps) {
  std::vector<ParamView> views = {make_view("weight", {1.0F, -2.0F}, true),
                                  make_view("bias", {0.5F}, false, 0.25)};
  AdamWOptions options;
  AdamW adamw(&views, options);
  Reference references[3] = {{1.0}, {-2.0}, {0.5}};
  for (int step = 0; step < 50; ++step) {
    const double lr = 1e-2 * (step + 1) / 50;
    const double grads[3] = {std::sin(step), 0.1 * step - 2, std::cos(3 * step)};
    views[0].grad = torch::tensor({float(grads[0]), float(grads[1])});
    views[1].grad = torch::tensor({float(grads[2])});
    adamw.step(lr, flag(0), {});
    references[0].step(grads[0], lr, options, options.weight_decay);
    references[1].step(grads[1], lr, options, options.weight_decay);
    references[2].step(grads[2], 0.25 * lr, options, 0);
  }
  // fp32 rounding of 50 updates of size 1e-2: 50 * 1e-2 * 6e-8 * a few operations.
  EXPECT_NEAR(views[0].local[0].item<double>(), references[0].value, 1e-6);
  EXPECT_NEAR(views[0].local[1].item<double>(), references[1].value, 1e-6);
  EXPECT_NEAR(views[1].local[0].item<double>(), references[2].value, 1e-6);
}

// As after loading a checkpoint: moments and count are not those of a fresh start.
TEST(Adamw, GoesOnFromLoadedMoments) {
  std::vector<ParamView> views = {make_view("weight", {1.5F}, true)};
  AdamWOptions options;
  AdamW adamw(&views, options);
  const auto state = adamw.named_state();
  ASSERT_EQ(state[0].first, "exp_avg/weight");
  ASSERT_EQ(state[1].first, "exp_avg_sq/weight");
  ASSERT_EQ(state[2].first, "step");
  state[0].second.fill_(0.25);
  state[1].second.fill_(0.5);
  state[2].second.fill_(10);
  Reference reference{1.5, 0.25, 0.5, 10};
  for (int step = 0; step < 20; ++step) {
    const double grad = std::cos(step);
    views[0].grad = torch::tensor({float(grad)});
    adamw.step(1e-2, flag(0), {});
    reference.step(grad, 1e-2, options, options.weight_decay);
  }
  EXPECT_NEAR(views[0].local.item<double>(), reference.value, 1e-6);
}

TEST(Adamw, SegmentsOfOneFlatViewKeepTheirOwnRules) {
  std::vector<ParamView> flat = {make_view("both", {1.0F, -2.0F, 0.5F}, true)};
  flat[0].segments = {{"weight", {2}, 0, 2, true, 1}, {"bias", {1}, 2, 1, false, 0.25}};
  std::vector<ParamView> apart = {make_view("weight", {1.0F, -2.0F}, true),
                                  make_view("bias", {0.5F}, false, 0.25)};
  AdamW one(&flat, {});
  AdamW two(&apart, {});
  for (int step = 0; step < 5; ++step) {
    flat[0].grad = torch::tensor({0.3F, -0.2F, 0.7F * float(step)});
    apart[0].grad = flat[0].grad.narrow(0, 0, 2).clone();
    apart[1].grad = flat[0].grad.narrow(0, 2, 1).clone();
    one.step(1e-2, flag(0), {});
    two.step(1e-2, flag(0), {});
  }
  EXPECT_TRUE(at::equal(flat[0].local, at::cat({apart[0].local, apart[1].local})));
}

TEST(Adamw, NonFiniteStepChangesNothing) {
  std::vector<ParamView> views = {make_view("weight", {1.0F}, true)};
  AdamW adamw(&views, {});
  views[0].grad = torch::tensor({std::nanf("")});
  adamw.step(1e-2, flag(1), {});
  EXPECT_EQ(views[0].local.item<float>(), 1.0F);
  for (const auto& [name, tensor] : adamw.named_state()) {
    EXPECT_EQ(tensor.abs().sum().item<float>(), 0.0F) << name;
  }
  // The skipped step does not count: the next one is step 1.
  std::vector<ParamView> fresh = {make_view("weight", {1.0F}, true)};
  AdamW other(&fresh, {});
  views[0].grad = fresh[0].grad = torch::tensor({0.5F});
  adamw.step(1e-2, flag(0), {});
  other.step(1e-2, flag(0), {});
  EXPECT_EQ(views[0].local.item<float>(), fresh[0].local.item<float>());
}

TEST(Adamw, DivisorScalesTheGradient) {
  std::vector<ParamView> clipped = {make_view("weight", {1.0F}, true)};
  std::vector<ParamView> scaled = {make_view("weight", {1.0F}, true)};
  AdamW one(&clipped, {});
  AdamW two(&scaled, {});
  for (int step = 1; step < 4; ++step) {
    clipped[0].grad = torch::tensor({4.0F * float(step)});
    scaled[0].grad = torch::tensor({1.0F * float(step)});
    one.step(1e-2, flag(0), torch::tensor(4.0F));
    two.step(1e-2, flag(0), {});
  }
  EXPECT_FLOAT_EQ(clipped[0].local.item<float>(), scaled[0].local.item<float>());
  EXPECT_FLOAT_EQ(one.named_state()[1].second.item<float>(),
                  two.named_state()[1].second.item<float>());
}

TEST(Adamw, DecayGoesByNameAndShape) {
  EXPECT_TRUE(is_decayed("blocks.0.attn.qkv.weight", {96, 32}));
  EXPECT_TRUE(is_decayed("cls_token", {1, 1, 32}));
  EXPECT_TRUE(is_decayed("mask_token", {1, 1, 32}));
  EXPECT_FALSE(is_decayed("norm.weight", {32}));
  EXPECT_FALSE(is_decayed("head.bias", {10}));
  EXPECT_FALSE(is_decayed("odd.bias", {1, 10}));
}

}  // namespace
}  // namespace swath::optim
