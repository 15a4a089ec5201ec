#include "models/swin.h"

#include <cmath>

#include "core/error.h"
#include "models/classifier.h"
#include "models/fixture.h"
#include "models/initialize.h"
#include "models/registry.h"
#include "ops/backend.h"

namespace swath::models {
namespace {

SwinStage window_of(int64_t side, int64_t pretrained) {
  SwinStage stage;
  stage.width = 8;
  stage.heads = 2;
  stage.rows = stage.columns = stage.window_rows = stage.window_columns = side;
  stage.pretrained_rows = stage.pretrained_columns = pretrained;
  return stage;
}

// log2(8 |t| / (W - 1) + 1) / 3, worked out for windows of 8 and 4.
TEST(Swin, RelativeCoordinatesAreLogSpaced) {
  const double of_eight[] = {0,        0.366512, 0.572069, 0.715614,
                             0.826016, 0.915745, 0.991335, 1.056642};
  const at::Tensor table = relative_coordinates(window_of(8, 8));
  ASSERT_EQ(table.sizes(), at::IntArrayRef({225, 2}));
  for (int64_t t = 0; t < 8; ++t) {
    EXPECT_NEAR(table[7 * 15 + 7 + t][1].item<double>(), of_eight[t], 1e-6);
    EXPECT_NEAR(table[7 * 15 + 7 - t][1].item<double>(), -of_eight[t], 1e-6);
    EXPECT_NEAR(table[(7 + t) * 15 + 7][0].item<double>(), of_eight[t], 1e-6);
  }
  const double of_four[] = {0, 0.624823, 0.887655, 1.056642};
  for (int64_t t = 0; t < 4; ++t) {
    EXPECT_NEAR(relative_coordinates(window_of(4, 4))[3 * 7 + 3 + t][1].item<double>(), of_four[t],
                1e-6);
  }
  // A larger window than in pretraining goes beyond: log2(8 7 / 3 + 1) / 3.
  EXPECT_NEAR(relative_coordinates(window_of(8, 4))[224][0].item<double>(),
              std::log2(56.0 / 3 + 1) / 3, 1e-12);
}

TEST(Swin, AWindowOfOneTokenHasNoOffset) {
  EXPECT_TRUE(at::equal(relative_coordinates(window_of(1, 1)), at::zeros({1, 2}, at::kDouble)));
}

TEST(Swin, PositionBiasIsEightWhereTheMlpGivesZero) {
  WindowAttention attention(window_of(4, 4), false);
  const at::NoGradGuard no_grad;
  for (const auto& parameter : attention.parameters()) at::Tensor(parameter).zero_();
  const at::Tensor bias = attention.position_bias();
  EXPECT_EQ(bias.sizes(), at::IntArrayRef({2, 49}));
  EXPECT_TRUE(at::equal(bias, at::full({2, 49}, 8.0)));
}

// exp(min(logit_scale, ln 100)): above, nothing changes and there is no gradient.
TEST(Swin, LogitScaleIsClamped) {
  WindowAttention attention(window_of(4, 4), false);
  torch::manual_seed(3);
  {
    const at::NoGradGuard no_grad;
    for (const auto& parameter : attention.parameters()) at::Tensor(parameter).normal_(0, 0.5);
  }
  const at::Tensor x = at::randn({2, 16, 8});
  at::Tensor scale = attention.named_parameters()["logit_scale"];
  const auto run = [&](double value) {
    {
      const at::NoGradGuard no_grad;
      scale.fill_(value);
    }
    scale.mutable_grad() = at::Tensor();
    const at::Tensor out = attention.forward(x);
    out.square().sum().backward();
    return std::pair{out.detach(), scale.grad().abs().max().item<double>()};
  };
  const auto [at_limit, ignored] = run(std::log(100.0));
  const auto [above, no_gradient] = run(6);
  const auto [below, gradient] = run(4.5);
  EXPECT_TRUE(at::allclose(above, at_limit, 1e-4, 1e-5));
  EXPECT_EQ(no_gradient, 0);
  EXPECT_FALSE(at::allclose(below, at_limit, 1e-4, 1e-5));
  EXPECT_GT(gradient, 0);
}

// Rows and columns of the neighbours that land in each quarter of a merged token.
TEST(Swin, MergingJoinsColumnsOfTwoRows) {
  SwinStage stage = window_of(4, 4);
  stage.width = 1;
  PatchMerging merging(stage);
  const at::NoGradGuard no_grad;
  auto parameters = merging.named_parameters();
  parameters["norm.weight"].fill_(1);
  parameters["norm.bias"].zero_();
  // Two outputs: the difference of one neighbour and the next shows in the norm's sign alone.
  const at::Tensor map = at::arange(16, at::kFloat).view({1, 16, 1});
  const int64_t expected[] = {0, 4, 1, 5};  // (even, even), (odd, even), (even, odd), (odd, odd)
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      parameters["reduction.weight"].zero_();
      parameters["reduction.weight"][0][i] = 1;
      parameters["reduction.weight"][1][j] = 1;
      const double first = merging.forward(map)[0][0][0].item<double>();
      const int64_t difference = expected[i] - expected[j];
      EXPECT_EQ(first > 0.5, difference > 0) << i << " " << j;
      EXPECT_EQ(first < -0.5, difference < 0) << i << " " << j;
    }
  }
}

// timm's whole model: mean pooling, merging, windows other than pretraining's.
TEST(Swin, ClassifierMatchesPython) {
  const Fixture fixture("classifier_swin");
  for (const char* backend : {"reference", "fused"}) {
    ops::set_backend(backend);
    for (const auto& [type, tolerance] :
         {std::pair{at::kDouble, 1e-10}, std::pair{at::kFloat, 1e-5}}) {
      SCOPED_TRACE(std::string(backend) + " " + c10::toString(type));
      ClassifierOptions options;
      options.num_classes = 5;
      options.label_smoothing = 0.1;
      Classifier classifier(fixture.swin_dimensions(), options, 0);
      fixture.fill(classifier.module(), type);
      expect_classifier_near(classifier, fixture, type, tolerance);
    }
  }
  ops::set_backend("fused");
}

ModelOptions pico() {
  ModelOptions options;
  options.name = "swin_v2_pico";
  return options;
}

TEST(Swin, FeaturesHaveTheMeanInFront) {
  const auto encoder = make_encoder(pico(), 1);
  UnitRunner runner;
  const at::NoGradGuard no_grad;
  torch::manual_seed(1);
  const at::Tensor features = encoder->forward_features(at::randn({2, 3, 32, 32}), runner);
  ASSERT_EQ(features.sizes(), at::IntArrayRef({2, 17, 64}));
  EXPECT_TRUE(at::allclose(features.select(1, 0), features.slice(1, 1).mean(1)));
}

// With norm1 and norm2 at 0 every block passes its input on.
TEST(Swin, BlocksBeginAsTheIdentity) {
  const auto encoder = make_swin(pico(), 1);
  SwinStage stage = encoder->dimensions().stages[0];
  SwinBlock block(stage, true);
  for (const auto& parameter : block.named_parameters()) {
    initialize_parameter("layers.0.blocks.1." + parameter.key(), parameter.value(),
                         encoder->dimensions(), 1);
  }
  const at::Tensor x = at::randn({1, 64, 32});
  EXPECT_TRUE(at::equal(block.forward(x, at::Tensor(), at::Tensor()), x));
  EXPECT_NEAR(block.named_parameters()["attn.logit_scale"].max().item<double>(), std::log(10.0),
              1e-6);
}

TEST(Swin, DropPathDropsBranches) {
  const auto encoder = make_swin(pico(), 1);
  SwinBlock block(encoder->dimensions().stages[0], true);
  const at::NoGradGuard no_grad;
  torch::manual_seed(2);
  for (const auto& parameter : block.parameters()) at::Tensor(parameter).normal_();
  const at::Tensor x = at::randn({2, 64, 32});
  const at::Tensor only_second = at::tensor({0.0F, 1.0F}).view({2, 1, 1});
  const at::Tensor dropped = block.forward(x, only_second, only_second);
  EXPECT_TRUE(at::equal(dropped[0], x[0]));
  EXPECT_TRUE(
      at::allclose(dropped[1], block.forward(x, at::Tensor(), at::Tensor())[1], 1e-4, 1e-5));
}

TEST(Swin, WeightDecaySparesWhatThePaperSpares) {
  const auto encoder = make_swin(pico(), 1);
  EXPECT_TRUE(encoder->never_decays("layers.0.blocks.0.attn.logit_scale"));
  EXPECT_TRUE(encoder->never_decays("layers.0.blocks.0.attn.cpb_mlp.2.weight"));
  EXPECT_TRUE(encoder->never_decays("mask_token"));
  EXPECT_FALSE(encoder->never_decays("layers.0.blocks.0.attn.qkv.weight"));
}

TEST(Swin, MosaicLaysBandsRowByRow) {
  ModelOptions options = pico();
  options.channels = 6;
  options.swin.tokens = "per_band";
  const SwinDimensions d = resolve_swin(options);
  const at::Tensor images = at::arange(2 * 6 * 4 * 4, at::kFloat).view({2, 6, 4, 4});
  const at::Tensor mosaic = to_mosaic(images, d);
  ASSERT_EQ(mosaic.sizes(), at::IntArrayRef({2, 1, 8, 12}));
  EXPECT_TRUE(at::equal(mosaic[1][0].slice(0, 4, 8).slice(1, 8, 12), images[1][5]));
  EXPECT_TRUE(at::equal(mosaic[1][0].slice(0, 0, 4).slice(1, 4, 8), images[1][1]));
  EXPECT_TRUE(at::equal(from_mosaic(mosaic, d), images));
}

TEST(Swin, WrongImagesNameBothSides) {
  const auto encoder = make_encoder(pico(), 1);
  UnitRunner runner;
  try {
    encoder->forward_features(at::zeros({1, 6, 64, 64}), runner);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("3 channels of 32 x 32"), std::string::npos) << error.what();
    EXPECT_NE(error.message().find("6 of 64 x 64"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace swath::models
