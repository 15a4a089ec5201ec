#include "models/initialize.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/tensor/memory.h"
#include "core/tensor/torch.h"
#include "models/registry.h"
#include "models/swin_spec.h"

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
    const at::Tensor expected = now->module().named_parameters()[item.key()];
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

SwinDimensions micro(const std::string& tokens) {
  ModelOptions options;
  options.name = "swin_v2_micro";
  options.channels = 6;
  options.swin.tokens = tokens;
  options.swin.loss = "cross_entropy";
  return resolve_swin(options);
}

// The initial values of a parameter that a SimMIM of these dimensions has, in its shape.
at::Tensor of_swin(const std::string& name, const SwinDimensions& d) {
  for (const UnitSpec& unit : simmim_spec(d).units) {
    for (const ParameterSpec& parameter : unit.parameters) {
      if (parameter.name != name) continue;
      const at::Tensor values = at::full(parameter.shape, 9.0F);
      initialize_parameter(name, values, d, 1);
      return values;
    }
  }
  throw Error("no parameter " + name);
}

// Mean 0 and this deviation, to five standard errors.
void expect_moments(const at::Tensor& values, double deviation, const std::string& name) {
  const double error = deviation / std::sqrt(static_cast<double>(values.numel()));
  EXPECT_NEAR(values.mean().item<double>(), 0, 5 * error) << name;
  EXPECT_NEAR(values.std().item<double>(), deviation, 5 * error / std::sqrt(2.0)) << name;
}

// Truncated at +-2, a hundred deviations: not at all.
TEST(Initialize, SwinsLinearWeightsAndTokensAreNormal) {
  const SwinDimensions d = micro("per_band");
  for (const char* name :
       {"layers.1.blocks.0.attn.qkv.weight", "layers.1.blocks.0.attn.proj.weight",
        "layers.0.blocks.1.attn.cpb_mlp.0.weight", "layers.0.blocks.1.attn.cpb_mlp.2.weight",
        "layers.2.blocks.0.mlp.fc1.weight", "layers.2.blocks.0.mlp.fc2.weight",
        "layers.0.downsample.reduction.weight", "bins.weight", "mask_token", "band_embed"}) {
    expect_moments(of_swin(name, d), 0.02, name);
  }
  const at::Tensor weight = of_swin("layers.1.blocks.0.attn.qkv.weight", d);
  EXPECT_GT(weight.abs().max().item<double>(), 0.06);
}

// A convolution's default: +-1 / sqrt(inputs), weight and bias.
TEST(Initialize, SwinsConvolutionsKeepTheirDefault) {
  for (const auto& [tokens, inputs] : {std::pair{"joint", 6 * 16.0}, std::pair{"per_band", 16.0}}) {
    for (const auto& [name, bound] : {std::pair{"patch_embed.proj.weight", 1 / std::sqrt(inputs)},
                                      std::pair{"patch_embed.proj.bias", 1 / std::sqrt(inputs)},
                                      std::pair{"decoder.0.weight", 1 / std::sqrt(256.0)},
                                      std::pair{"decoder.0.bias", 1 / std::sqrt(256.0)}}) {
      const at::Tensor values = of_swin(name, micro(tokens));
      expect_moments(values, bound / std::sqrt(3.0), name);
      const double largest = values.abs().max().item<double>();
      EXPECT_LE(largest, (1 + 1e-6) * bound) << name;  // rounded to float32
      // The largest of n is as small once in e^20 times.
      EXPECT_GT(largest, (1 - 20 / static_cast<double>(values.numel())) * bound) << name;
    }
  }
}

TEST(Initialize, SwinsBlocksBeginWithNormsOfZero) {
  const SwinDimensions d = micro("per_band");
  const auto expect_all = [&](const std::string& name, double value) {
    const at::Tensor values = of_swin(name, d);
    EXPECT_TRUE(at::equal(values, at::full_like(values, value))) << name;
  };
  for (const char* norm : {"patch_embed.norm", "layers.1.downsample.norm", "norm"}) {
    expect_all(std::string(norm) + ".weight", 1);
    expect_all(std::string(norm) + ".bias", 0);
  }
  for (const char* name :
       {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.q_bias", "attn.v_bias",
        "attn.cpb_mlp.0.bias", "attn.proj.bias", "mlp.fc1.bias", "mlp.fc2.bias"}) {
    expect_all(std::string("layers.1.blocks.1.") + name, 0);
  }
  expect_all("bins.bias", 0);
  expect_all("layers.2.blocks.1.attn.logit_scale", std::log(10.0));
  const at::Tensor unknown = at::empty({3});
  EXPECT_THROW(initialize_parameter("unheard_of", unknown, d, 1), Error);
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
