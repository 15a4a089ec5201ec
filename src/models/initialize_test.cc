#include "models/initialize.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/tensor/memory.h"
#include "core/tensor/torch.h"
#include "models/registry.h"

namespace swath::models {
namespace {

VitDimensions base() {
  ModelOptions options;
  return resolve(options);
}

at::Tensor initialized(const std::string& name, at::IntArrayRef shape, uint64_t seed = 1) {
  at::Tensor parameter = at::empty(shape);
  initialize_parameter(name, parameter, base(), seed);
  return parameter;
}

void expect_uniform(const at::Tensor& values, double bound) {
  EXPECT_LE(values.abs().max().item<double>(), bound);
  EXPECT_GT(values.abs().max().item<double>(), 0.999 * bound);
  EXPECT_NEAR(values.std().item<double>(), bound / std::sqrt(3.0), 0.01 * bound);
  EXPECT_NEAR(values.mean().item<double>(), 0, 0.01 * bound);
}

// The bounds that the reference derives for width 768, patch 16, 3 channels.
TEST(Initialize, LinearWeightsAreXavierUniform) {
  expect_uniform(initialized("blocks.0.attn.qkv.weight", {2304, 768}), 0.0441942);
  expect_uniform(initialized("patch_embed.proj.weight", {768, 3, 16, 16}), 0.0625);
  expect_uniform(initialized("decoder_pred.weight", {768, 512}), std::sqrt(6.0 / 1280));
}

TEST(Initialize, PatchEmbedBiasKeepsTheConvolutionsDefault) {
  const at::Tensor bias = initialized("patch_embed.proj.bias", {768});
  EXPECT_LE(bias.abs().max().item<double>(), 1 / std::sqrt(768.0));
  EXPECT_GT(bias.abs().max().item<double>(), 0.9 / std::sqrt(768.0));
}

TEST(Initialize, NormsBiasesAndTokens) {
  EXPECT_TRUE(at::equal(initialized("decoder_blocks.3.norm2.weight", {9}), at::ones({9})));
  EXPECT_TRUE(at::equal(initialized("fc_norm.bias", {9}), at::zeros({9})));
  EXPECT_TRUE(at::equal(initialized("blocks.1.mlp.fc1.bias", {9}), at::zeros({9})));
  EXPECT_NEAR(initialized("cls_token", {1, 1, 7680}).std().item<double>(), 0.02, 0.001);
  EXPECT_NEAR(initialized("mask_token", {1, 1, 5120}).std().item<double>(), 0.02, 0.001);
  EXPECT_THROW(initialized("unheard_of", {3}), Error);
}

TEST(Initialize, WeightsMayComeLater) {
  ModelOptions options;
  options.name = "vit_pico";
  const std::shared_ptr<Objective> now = make_objective(options, 3);
  const std::shared_ptr<Objective> later = make_objective(options, 3, Weights::kLater);
  for (const auto& item : later->module().named_parameters()) {
    const at::Tensor& expected = now->module().named_parameters()[item.key()];
    EXPECT_EQ(has_memory(item.value()), !item.value().requires_grad()) << item.key();
    ASSERT_EQ(item.value().sizes(), expected.sizes()) << item.key();
    const at::Tensor values = at::empty_like(expected);
    later->initialize(item.key(), values);
    EXPECT_TRUE(values.equal(expected)) << item.key();
  }
}

TEST(Initialize, IsAFunctionOfSeedAndName) {
  const at::Tensor one = initialized("blocks.0.mlp.fc1.weight", {700, 768});
  EXPECT_TRUE(at::equal(one, initialized("blocks.0.mlp.fc1.weight", {700, 768})));
  EXPECT_FALSE(at::equal(one, initialized("blocks.1.mlp.fc1.weight", {700, 768})));
  EXPECT_FALSE(at::equal(one, initialized("blocks.0.mlp.fc1.weight", {700, 768}, 2)));
  // Pieces are different streams.
  const at::Tensor flat = one.flatten();
  EXPECT_FALSE(at::equal(flat.slice(0, 0, 1000), flat.slice(0, 1 << 18, (1 << 18) + 1000)));
}

TEST(Initialize, PrecisionDoesNotChangeTheStart) {
  at::Tensor wide = at::empty({64, 64}, at::TensorOptions(at::kDouble));
  initialize_parameter("decoder_embed.weight", wide, base(), 1);
  EXPECT_TRUE(at::equal(wide.to(at::kFloat), initialized("decoder_embed.weight", {64, 64})));
}

TEST(Initialize, TablesAreFixed) {
  ModelOptions options;
  options.name = "vit_pico";
  options.depth = 1;
  const auto mae = make_mae(options, 3);
  const auto parameters = mae->named_parameters();
  EXPECT_FALSE(parameters["pos_embed"].requires_grad());
  EXPECT_FALSE(parameters["decoder_pos_embed"].requires_grad());
  EXPECT_EQ(parameters["pos_embed"].sizes(), at::IntArrayRef({1, 65, 128}));
  EXPECT_EQ(parameters["pos_embed"][0][0].abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace swath::models
