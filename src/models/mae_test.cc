#include "models/mae.h"

#include <cmath>
#include <set>

#include "core/error.h"
#include "models/fixture.h"
#include "models/registry.h"
#include "ops/backend.h"
#include "ops/patches.h"

namespace swath::models {
namespace {

constexpr const char* kFixtures[] = {"mae_1_channel", "mae_3_channels", "mae_6_channels",
                                     "mae_gated"};

struct BackendScope {
  explicit BackendScope(const char* name) { ops::set_backend(name); }
  ~BackendScope() {
    ops::set_backend("fused");
    ops::set_product_library("auto");
  }
};

// Tolerances of the contract for float64 and float32. bfloat16 has 8 bits of mantissa; a gradient
// passes some forty roundings of 2^-9 on its way.
struct Precision {
  at::ScalarType type;
  double value_tolerance;
  double gradient_tolerance;
};
constexpr Precision kDouble = {at::kDouble, 1e-10, 1e-10};
constexpr Precision kFloat = {at::kFloat, 1e-5, 1e-5};
constexpr Precision kBFloat16 = {at::kBFloat16, 3e-2, 8e-2};

void check_fixture(const std::string& name, const Precision& precision, UnitRunner& runner) {
  const Fixture fixture(name);
  Mae mae(fixture.dimensions(), 0);
  fixture.fill(mae, precision.type);
  // The loader hands out float32 images in every precision but the double of tests.
  const at::Tensor images =
      fixture.tensor("images").to(precision.type == at::kDouble ? at::kDouble : at::kFloat);
  const LossResult result = mae.loss(images, fixture.tensor("noise"), runner);
  EXPECT_EQ(result.loss.scalar_type(), images.scalar_type());
  EXPECT_EQ(result.loss.dim(), 0);
  expect_near(result.loss.unsqueeze(0), fixture.tensor("loss"), precision.value_tolerance, "loss");
  result.loss.backward();
  expect_gradients_near(mae, fixture, precision.gradient_tolerance);
  const at::Tensor bands = fixture.tensor("bands");
  ASSERT_EQ(result.metrics.size(), bands.numel() > 1 ? static_cast<size_t>(bands.numel()) : 0);
  for (size_t band = 0; band < result.metrics.size(); ++band) {
    EXPECT_FALSE(result.metrics[band].second.requires_grad());
    EXPECT_NEAR(result.metrics[band].second.item<double>(),
                bands[static_cast<int64_t>(band)].item<double>(),
                precision.value_tolerance * bands.max().item<double>());
  }
}

void check_all(const char* backend, const Precision& precision) {
  const BackendScope scope(backend);
  for (const char* library : {"mkl", "onednn"}) {
    ops::set_product_library(library);
    for (const char* name : kFixtures) {
      SCOPED_TRACE(std::string(name) + " " + backend + " " + library);
      UnitRunner runner;
      check_fixture(name, precision, runner);
    }
  }
}

TEST(Mae, ReferenceMatchesPythonInDouble) { check_all("reference", kDouble); }
TEST(Mae, FusedMatchesPythonInDouble) { check_all("fused", kDouble); }
TEST(Mae, ReferenceMatchesPythonInFloat) { check_all("reference", kFloat); }
TEST(Mae, FusedMatchesPythonInFloat) { check_all("fused", kFloat); }
TEST(Mae, ReferenceMatchesPythonInBFloat16) { check_all("reference", kBFloat16); }
TEST(Mae, FusedMatchesPythonInBFloat16) { check_all("fused", kBFloat16); }

TEST(Mae, CheckpointingGivesTheSameGradients) {
  CheckpointingRunner runner;
  check_fixture("mae_3_channels", kDouble, runner);
}

TEST(Mae, PredictionAndMaskMatchPython) {
  for (const char* name : kFixtures) {
    SCOPED_TRACE(name);
    const Fixture fixture(name);
    for (const Precision& precision : {kDouble, kFloat}) {
      Mae mae(fixture.dimensions(), 0);
      fixture.fill(mae, precision.type);
      const ops::Masking masking =
          ops::masking_from_noise(fixture.tensor("noise"), mae.dimensions().num_kept());
      UnitRunner runner;
      const at::Tensor images =
          crop_to_grid(fixture.tensor("images").to(precision.type), mae.dimensions());
      expect_near(masking.mask_BN, fixture.tensor("mask"), 0, "mask");
      expect_near(mae.predict(images, masking, runner), fixture.tensor("pred"),
                  precision.value_tolerance, "prediction");
    }
  }
}

TEST(Mae, ReconstructionKeepsWhatWasKept) {
  for (const char* name : kFixtures) {
    const Fixture fixture(name);
    Mae mae(fixture.dimensions(), 0);
    fixture.fill(mae, at::kFloat);
    const VitDimensions& d = mae.dimensions();
    UnitRunner runner;
    const Reconstruction pictures =
        mae.reconstruct(fixture.tensor("images"), fixture.tensor("noise"), runner);
    EXPECT_TRUE(at::equal(
        pictures.original,
        fixture.tensor("images").narrow(2, 0, d.used_size()).narrow(3, 0, d.used_size())));
    const at::Tensor removed = fixture.tensor("mask").to(at::kFloat).unsqueeze(-1);
    const auto patches = [&](const at::Tensor& x) { return ops::patchify(x, d.patch); };
    EXPECT_TRUE(at::equal(patches(pictures.masked), patches(pictures.original) * (1 - removed)));
    EXPECT_TRUE(
        at::equal(patches(pictures.reconstruction) * (1 - removed), patches(pictures.masked)));
    EXPECT_GT((patches(pictures.reconstruction) * removed).abs().sum().item<double>(), 0);
  }
}

// The un-normalised prediction, normalised like its target again, is the prediction.
TEST(Mae, ReconstructionUndoesTheNormalisation) {
  const Fixture fixture("mae_1_channel");
  Mae mae(fixture.dimensions(), 0);
  fixture.fill(mae, at::kDouble);
  UnitRunner runner;
  const at::Tensor images = fixture.tensor("images").to(at::kDouble);
  const Reconstruction pictures = mae.reconstruct(images, fixture.tensor("noise"), runner);
  const at::Tensor truth = ops::patchify(images, 8);
  const at::Tensor mean = truth.mean(-1, true);
  const at::Tensor deviation = (truth.var(at::IntArrayRef{-1}, true, true) + 1e-6).sqrt();
  const at::Tensor removed = fixture.tensor("mask").unsqueeze(-1);
  expect_near((ops::patchify(pictures.reconstruction, 8) - mean) / deviation * removed,
              fixture.tensor("pred") * removed, 1e-9, "prediction");
}

ModelOptions small_model() {
  ModelOptions options;
  options.name = "vit_pico";
  options.depth = 1;
  options.width = 32;
  options.decoder_depth = 1;
  options.decoder_width = 32;
  return options;
}

Batch make_batch(const std::vector<uint64_t>& ids, uint64_t epoch) {
  Batch batch;
  batch.sample_ids = ids;
  batch.epoch = epoch;
  std::vector<at::Tensor> images;
  for (const uint64_t id : ids) {
    torch::manual_seed(id);
    images.push_back(at::randn({3, 32, 32}));
  }
  batch.images_BCHW = at::stack(images);
  return batch;
}

TEST(Mae, MaskIsAFunctionOfSeedEpochAndSample) {
  const at::Tensor noise = mask_noise(1, 2, {10, 11}, 16);
  EXPECT_TRUE(at::equal(noise[1], mask_noise(1, 2, {11, 99, 5}, 16)[0]));
  EXPECT_FALSE(at::equal(noise[0], noise[1]));
  EXPECT_FALSE(at::equal(noise, mask_noise(1, 3, {10, 11}, 16)));
  EXPECT_FALSE(at::equal(noise, mask_noise(2, 2, {10, 11}, 16)));
  EXPECT_GE(noise.min().item<float>(), 0);
  EXPECT_LE(noise.max().item<float>(), 1);
}

// The mean over a batch is the mean of its halves: what data-parallel training rests on.
TEST(Mae, BatchLossIsTheMeanOfItsParts) {
  const auto objective = make_objective(small_model(), 7);
  UnitRunner runner;
  const auto loss = [&](const std::vector<uint64_t>& ids) {
    return objective->loss(make_batch(ids, 3), runner).loss.item<double>();
  };
  EXPECT_NEAR(loss({1, 2, 3, 4}), (loss({1, 2}) + loss({3, 4})) / 2, 1e-6);
  EXPECT_NE(loss({1, 2}), loss({3, 4}));
}

TEST(Mae, RunnerSeesEveryUnitOfTheSpecInOrder) {
  struct Recorder : UnitRunner {
    std::vector<std::string> names = {"root"};
    at::Tensor run(const std::string& name, const UnitForward& forward,
                   const at::Tensor& x) override {
      names.push_back(name);
      return forward(x);
    }
  };
  for (const char* backend : {"reference", "fused"}) {
    const BackendScope scope(backend);
    const auto objective = make_objective(small_model(), 7);
    Recorder recorder;
    objective->loss(make_batch({1}, 0), recorder);
    std::vector<std::string> expected;
    for (const UnitSpec& unit : objective->spec().units) expected.push_back(unit.name);
    EXPECT_EQ(recorder.names, expected);
  }
}

TEST(Mae, SpecListsExactlyTheModulesParameters) {
  for (const bool gated : {false, true}) {
    ModelOptions options = small_model();
    options.mlp_kind = gated ? "gated" : "plain";
    const auto objective = make_objective(options, 7);
    expect_spec_lists_parameters(*objective);
  }
}

TEST(Mae, StateOrderIsThePublicOne) {
  const auto mae = make_mae(small_model(), 7);
  std::vector<std::string> tops;
  for (const auto& parameter : mae->named_parameters()) {
    const std::string top = parameter.key().substr(0, parameter.key().find('.'));
    if (tops.empty() || tops.back() != top) tops.push_back(top);
  }
  EXPECT_EQ(tops,
            (std::vector<std::string>{"cls_token", "pos_embed", "mask_token", "decoder_pos_embed",
                                      "patch_embed", "blocks", "norm", "decoder_embed",
                                      "decoder_blocks", "decoder_norm", "decoder_pred"}));
  EXPECT_EQ(mae->named_parameters()["blocks.0.attn.qkv.weight"].sizes(), at::IntArrayRef({96, 32}));
}

// Whatever stands in pixels that were not measured, in patches that the encoder does not see: both
// forms of the loss, and the weight by which micro-batches count.
TEST(Mae, InvalidPixelsDoNotEnterTheLoss) {
  const auto mae = make_mae(small_model(), 7);
  UnitRunner runner;
  Batch batch = make_batch({1, 2}, 0);
  const at::Tensor noise = mask_noise(7, 0, batch.sample_ids, mae->dimensions().num_patches());
  const at::Tensor removed =
      ops::masking_from_noise(noise, mae->dimensions().num_kept()).mask_BN.unsqueeze(-1);
  const int64_t patch = mae->dimensions().patch;
  const at::Tensor is_removed =
      ops::unpatchify(removed.expand({-1, -1, patch * patch * 3}).contiguous(), patch, 3,
                      mae->dimensions().grid()) > 0;
  torch::manual_seed(9);
  batch.valid = (at::rand(batch.images_BCHW.sizes()) > 0.3).logical_or(is_removed.logical_not());
  const double share =
      batch.valid.logical_and(is_removed).sum().item<double>() / is_removed.sum().item<double>();
  for (const char* backend : {"reference", "fused"}) {
    SCOPED_TRACE(backend);
    const BackendScope scope(backend);
    const LossResult before = mae->loss(batch, runner);
    Batch garbled = batch;
    garbled.images_BCHW = at::where(batch.valid, batch.images_BCHW, at::full({}, 1e4));
    const LossResult after = mae->loss(garbled, runner);
    EXPECT_NEAR(after.loss.item<double>(), before.loss.item<double>(), 1e-6);
    EXPECT_NEAR(after.weight.item<double>(), share, 1e-6);
    garbled.valid = at::Tensor();
    EXPECT_FALSE(mae->loss(garbled, runner).weight.defined());
    EXPECT_GT(std::abs(mae->loss(garbled, runner).loss.item<double>() - before.loss.item<double>()),
              1e-3);
  }
}

TEST(Mae, WrongImagesNameBothSides) {
  const auto mae = make_mae(small_model(), 7);
  UnitRunner runner;
  try {
    mae->loss(at::zeros({1, 6, 64, 64}), at::zeros({1, 64}), runner);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("3 channels of 32 x 32"), std::string::npos) << error.what();
    EXPECT_NE(error.message().find("6 of 64 x 64"), std::string::npos) << error.what();
  }
}

TEST(Mae, CropsTheCentreWhenAsked) {
  VitDimensions d;
  d.channels = 1;
  d.patch = 4;
  d.image_size = 11;
  const at::Tensor image = at::arange(121, at::TensorOptions(at::kFloat)).view({1, 1, 11, 11});
  EXPECT_EQ(crop_to_grid(image, d)[0][0][0][0].item<float>(), 0);
  d.crop_center = true;
  const at::Tensor cropped = crop_to_grid(image, d);
  EXPECT_EQ(cropped.sizes(), at::IntArrayRef({1, 1, 8, 8}));
  EXPECT_EQ(cropped[0][0][0][0].item<float>(), 12);
  // Images cropped already pass as they are.
  EXPECT_TRUE(at::equal(crop_to_grid(cropped, d), cropped));
}

}  // namespace
}  // namespace swath::models
