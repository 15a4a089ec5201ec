#include "sharding/local_parameters.h"

#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include "core/tensor/torch.h"

namespace swath::sharding {
namespace {

struct TwoLayersImpl : torch::nn::Module {
  TwoLayersImpl() {
    first = register_module("first", torch::nn::Linear(3, 4));
    second = register_module("second", torch::nn::Linear(4, 2));
    unused = register_parameter("unused", torch::ones({5}));
    table = register_parameter("table", torch::ones({3}), /*requires_grad=*/false);
  }
  at::Tensor loss(const at::Tensor& x) {
    return second(torch::tanh(first(x.to(second->weight.dtype())))).to(at::kFloat).square().mean();
  }
  torch::nn::Linear first{nullptr}, second{nullptr};
  at::Tensor unused, table;
};
TORCH_MODULE(TwoLayers);

ParameterRule rule(const std::string& name, at::IntArrayRef shape) {
  return {shape.size() > 1, name.starts_with("first") ? 0.5 : 1.0};
}

TEST(LocalParameters, ViewsFollowRulesAndSkipFrozenParameters) {
  TwoLayers module;
  LocalParameters parameters(*module, {}, rule);
  ASSERT_EQ(parameters.views().size(), 5u);
  for (const ParamView& view : parameters.views()) {
    const ParamSegment& segment = view.segments.at(0);
    EXPECT_NE(segment.name, "table");
    EXPECT_EQ(segment.decay, segment.shape.size() > 1) << segment.name;
    EXPECT_EQ(segment.lr_scale, segment.name.starts_with("first") ? 0.5 : 1.0);
  }
}

TEST(LocalParameters, AnUpdateOfAViewIsSeenByTheModule) {
  TwoLayers module;
  LocalParameters parameters(*module, {}, rule);
  parameters.views()[0].local.fill_(7);
  const auto by_name = module->named_parameters();
  EXPECT_EQ(by_name[parameters.views()[0].segments[0].name].min().item<float>(), 7.0F);
}

TEST(LocalParameters, MicroBatchesSumAndUnreachedParametersGetZero) {
  torch::manual_seed(1);
  TwoLayers module;
  const at::Tensor x = torch::randn({6, 3});
  const auto grads_of = [&](const std::vector<at::Tensor>& micro_batches) {
    LocalParameters parameters(
        *module, {at::kFloat, static_cast<int64_t>(micro_batches.size()), false}, rule);
    parameters.begin_step();
    for (const at::Tensor& micro_batch : micro_batches) {
      parameters.begin_forward();
      parameters.backward(module->loss(micro_batch));
    }
    std::vector<at::Tensor> grads;
    for (const ParamView& view : parameters.views()) grads.push_back(view.grad.clone());
    return grads;
  };
  std::vector<std::string> names;
  LocalParameters named(*module, {}, rule);
  for (const ParamView& view : named.views()) names.push_back(view.segments[0].name);
  const auto whole = grads_of({x});
  const auto halves = grads_of({x.slice(0, 0, 3), x.slice(0, 3, 6)});
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_TRUE(at::allclose(whole[i] * 2, halves[i], 1e-5, 1e-6)) << names[i];
    if (names[i] == "unused") {
      EXPECT_EQ(whole[i].abs().max().item<float>(), 0.0F);
    } else {
      EXPECT_GT(whole[i].abs().max().item<float>(), 0.0F);
    }
  }
}

TEST(LocalParameters, Bfloat16ComputesOnCopiesOfFloat32Masters) {
  torch::manual_seed(2);
  TwoLayers module;
  const at::Tensor exact = module->first->weight.detach().clone();
  LocalParameters parameters(*module, {at::kBFloat16, 1, false}, rule);
  EXPECT_EQ(module->first->weight.scalar_type(), at::kBFloat16);
  const auto masters = parameters.named_masters();
  for (const auto& [name, master] : masters) {
    if (name == "first.weight") {
      EXPECT_TRUE(at::equal(master, exact));
    }
  }
  parameters.begin_step();
  parameters.begin_forward();
  parameters.backward(module->loss(torch::randn({4, 3})));
  for (ParamView& view : parameters.views()) {
    EXPECT_EQ(view.grad.scalar_type(), at::kFloat);
    view.local.fill_(0.1);
  }
  parameters.publish();
  EXPECT_EQ(module->first->weight.detach().to(at::kFloat).max().item<float>(),
            static_cast<float>(c10::BFloat16(0.1F)));
}

}  // namespace
}  // namespace swath::sharding
