#include "models/simmim.h"

#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>

#include "core/error.h"
#include "models/drop_path.h"
#include "models/fixture.h"
#include "models/registry.h"
#include "ops/backend.h"

namespace swath::models {
namespace {

constexpr const char* kFixtures[] = {"simmim_joint", "simmim_mosaic", "simmim_local_targets",
                                     "simmim_bins", "simmim_bins_mosaic"};

Batch batch_of(const Fixture& fixture, at::ScalarType type) {
  Batch batch;
  batch.images_BCHW = fixture.tensor("images").to(type);
  if (fixture.has("valid")) batch.valid = fixture.tensor("valid") > 0;
  batch.sample_ids = {0, 1};
  return batch;
}

void check_fixture(const std::string& name, at::ScalarType type, double tolerance,
                   UnitRunner& runner) {
  const Fixture fixture(name);
  SimMim simmim(fixture.swin_dimensions(), 0);
  fixture.fill(simmim, type);
  const Batch batch = batch_of(fixture, type);
  const at::Tensor units = fixture.tensor("units") > 0;
  EXPECT_EQ(units.sum().item<int64_t>(), 2 * units.size(1) * simmim.dimensions().num_masked());
  expect_near(simmim.predict(batch, units, runner), fixture.tensor("pred"), tolerance,
              "prediction");
  const LossResult result = simmim.loss(batch, units, runner);
  EXPECT_EQ(result.loss.dim(), 0);
  expect_near(result.loss.unsqueeze(0), fixture.tensor("loss"), tolerance, "loss");
  result.loss.backward();
  expect_gradients_near(simmim, fixture, tolerance);
  const at::Tensor bands = fixture.tensor("bands");
  ASSERT_EQ(result.metrics.size(), static_cast<size_t>(bands.numel()));
  for (size_t band = 0; band < result.metrics.size(); ++band) {
    EXPECT_NEAR(result.metrics[band].second.item<double>(),
                bands[static_cast<int64_t>(band)].item<double>(),
                tolerance * bands.max().item<double>());
  }
  ASSERT_EQ(result.weight.defined(), batch.valid.defined());
  if (result.weight.defined()) {
    EXPECT_EQ(result.weight.scalar_type(), at::kFloat);
    EXPECT_NEAR(result.weight.item<double>(), fixture.tensor("share").item<double>(), 1e-6);
  }
}

void check_all(const char* backend, at::ScalarType type, double tolerance) {
  ops::set_backend(backend);
  for (const char* name : kFixtures) {
    SCOPED_TRACE(std::string(name) + " " + backend);
    UnitRunner runner;
    check_fixture(name, type, tolerance, runner);
  }
  ops::set_backend("fused");
}

TEST(Simmim, ReferenceMatchesPythonInDouble) { check_all("reference", at::kDouble, 1e-10); }
TEST(Simmim, FusedMatchesPythonInDouble) { check_all("fused", at::kDouble, 1e-10); }
TEST(Simmim, ReferenceMatchesPythonInFloat) { check_all("reference", at::kFloat, 1e-5); }
TEST(Simmim, FusedMatchesPythonInFloat) { check_all("fused", at::kFloat, 1e-5); }

TEST(Simmim, CheckpointingGivesTheSameGradients) {
  for (const char* name : kFixtures) {
    SCOPED_TRACE(name);
    CheckpointingRunner runner;
    check_fixture(name, at::kDouble, 1e-10, runner);
  }
}

TEST(Simmim, FeaturesMatchPython) {
  for (const char* name : kFixtures) {
    SCOPED_TRACE(name);
    const Fixture fixture(name);
    SwinTransformer encoder(fixture.swin_dimensions());
    fixture.fill(encoder, at::kDouble);
    UnitRunner runner;
    const at::Tensor features =
        encoder.forward_features(fixture.tensor("images").to(at::kDouble), runner);
    at::Tensor expected = fixture.tensor("features");
    const SwinDimensions d = fixture.swin_dimensions();
    if (d.per_band) {  // Python gives the mosaic's cells, row by row
      const SwinStage& last = d.stages.back();
      const at::Tensor cells = expected.view({expected.size(0), last.rows, last.columns, -1});
      std::vector<at::Tensor> bands;
      for (const at::Tensor& row : cells.chunk(d.tile_rows(), 1)) {
        for (const at::Tensor& tile : row.chunk(d.tile_columns(), 2)) bands.push_back(tile);
      }
      expected = at::stack(bands).mean(0).flatten(1, 2);
    }
    expect_near(features.slice(1, 1), expected, 1e-10, "features");
  }
}

ModelOptions pico(const std::function<void(ModelOptions&)>& change = {}) {
  ModelOptions options;
  options.name = "swin_v2_pico";
  if (change) change(options);
  return options;
}

Batch make_batch(const std::vector<uint64_t>& ids, int64_t channels = 3) {
  Batch batch;
  batch.sample_ids = ids;
  batch.epoch = 3;
  std::vector<at::Tensor> images;
  for (const uint64_t id : ids) {
    torch::manual_seed(id);
    images.push_back(at::randn({channels, 32, 32}));
  }
  batch.images_BCHW = at::stack(images);
  return batch;
}

// bfloat16 has 8 bits of mantissa; a value passes some forty roundings of 2^-9 on its way.
TEST(Simmim, BFloat16IsNearFloat) {
  const Fixture fixture("simmim_joint");
  for (const char* backend : {"reference", "fused"}) {
    ops::set_backend(backend);
    SimMim simmim(fixture.swin_dimensions(), 0);
    fixture.fill(simmim, at::kBFloat16);
    UnitRunner runner;
    const LossResult result =
        simmim.loss(batch_of(fixture, at::kFloat), fixture.tensor("units") > 0, runner);
    expect_near(result.loss.unsqueeze(0), fixture.tensor("loss"), 3e-2, "loss");
    result.loss.backward();
    for (const auto& parameter : simmim.named_parameters()) {
      EXPECT_TRUE(parameter.value().grad().isfinite().all().item<bool>()) << parameter.key();
    }
  }
  ops::set_backend("fused");
}

TEST(Simmim, MaskIsAFunctionOfSeedEpochAndSample) {
  const SwinDimensions d = resolve_swin(pico());
  const at::Tensor masks = unit_masks(1, 2, {10, 11}, d);
  EXPECT_TRUE(at::equal(masks[1], unit_masks(1, 2, {11, 99}, d)[0]));
  EXPECT_FALSE(at::equal(masks[0], masks[1]));
  EXPECT_FALSE(at::equal(masks, unit_masks(1, 3, {10, 11}, d)));
  EXPECT_FALSE(at::equal(masks, unit_masks(2, 2, {10, 11}, d)));
  EXPECT_TRUE(at::equal(masks.sum(-1), at::full({2, 1}, 10, at::kLong)));
  const SwinDimensions own = resolve_swin(pico([](ModelOptions& o) {
    o.swin.tokens = "per_band";
    o.swin.masks = "per_band";
  }));
  const at::Tensor of_bands = unit_masks(1, 2, {10}, own);
  EXPECT_TRUE(at::equal(of_bands.sum(-1), at::full({1, 3}, 10, at::kLong)));
  EXPECT_FALSE(at::equal(of_bands[0][0], of_bands[0][1]));
}

// Every square is masked 62.5 % of the time; 4000 draws deviate by 0.8 %.
TEST(Simmim, EverySquareIsMaskedAlike) {
  std::vector<uint64_t> ids(4000);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = i;
  const at::Tensor share =
      unit_masks(5, 0, ids, resolve_swin(pico())).to(at::kFloat).mean(at::IntArrayRef{0, 1});
  EXPECT_LT((share - 0.625).abs().max().item<double>(), 0.04);
}

// The mean over a batch is the mean of its halves: what data-parallel training rests on. With
// invalid pixels, the mean weighted by what is valid.
TEST(Simmim, BatchLossIsTheMeanOfItsParts) {
  const auto simmim = make_simmim(pico(), 7);
  UnitRunner runner;
  const auto run = [&](Batch batch, bool masked) {
    if (masked) {
      std::vector<at::Tensor> valid;
      for (const uint64_t id : batch.sample_ids) {
        torch::manual_seed(id);
        valid.push_back(at::rand({1, 32, 32}) > 0.1 * static_cast<double>(id));
      }
      batch.valid = at::stack(valid);
    }
    const LossResult result = simmim->loss(batch, runner);
    return std::pair{result.loss.item<double>(),
                     result.weight.defined() ? result.weight.item<double>() : 1.0};
  };
  for (const bool masked : {false, true}) {
    const auto [all, weight] = run(make_batch({1, 2, 3, 4}), masked);
    const auto [first, first_weight] = run(make_batch({1, 2}), masked);
    const auto [second, second_weight] = run(make_batch({3, 4}), masked);
    EXPECT_NEAR(all,
                (first * first_weight + second * second_weight) / (first_weight + second_weight),
                1e-6);
    EXPECT_NEAR(weight, (first_weight + second_weight) / 2, 1e-6);
  }
}

constexpr uint64_t kSeed = 7;

// norm1 and norm2 begin at 0, where it makes no difference whether a branch is dropped.
std::shared_ptr<SimMim> make_with_branches(double drop_path) {
  auto simmim = make_simmim(pico([&](ModelOptions& o) { o.swin.drop_path = drop_path; }), kSeed);
  const at::NoGradGuard no_grad;
  for (const auto& parameter : simmim->named_parameters()) {
    if (parameter.key().ends_with("norm1.weight") || parameter.key().ends_with("norm2.weight")) {
      at::Tensor(parameter.value()).fill_(1);
    }
  }
  return simmim;
}

TEST(Simmim, DropPathIsReplayedAndOffInEvaluation) {
  const auto plain = make_with_branches(0);
  const auto dropped = make_with_branches(0.5);
  const Batch batch = make_batch({1, 2, 3, 4, 5, 6, 7, 8});
  const at::Tensor units = unit_masks(kSeed, 1, batch.sample_ids, plain->dimensions());
  const auto loss_of = [&](SimMim& simmim, const Batch& of) {
    UnitRunner runner;
    return simmim.loss(of, units, runner).loss.item<double>();
  };
  const double first = loss_of(*dropped, batch);
  EXPECT_EQ(first, loss_of(*dropped, batch));
  EXPECT_NE(first, loss_of(*plain, batch));
  Batch other = batch;
  other.epoch += 1;
  EXPECT_NE(first, loss_of(*dropped, other));
  EXPECT_EQ(loss_of(*plain, batch), loss_of(*plain, other)) << "the masks are given";
  dropped->eval();
  plain->eval();
  EXPECT_EQ(loss_of(*dropped, batch), loss_of(*plain, batch));
}

// Block i of all stages, in the order in which they run, takes factors 2 i and 2 i + 1.
TEST(Simmim, EveryBlockDropsByItsOwnFactors) {
  struct Recorder : UnitRunner {
    std::map<std::string, std::pair<at::Tensor, at::Tensor>> calls;  // input and output
    at::Tensor run(const std::string& name, const UnitForward& forward,
                   const at::Tensor& x) override {
      const at::Tensor y = forward(x);
      calls[name] = {x, y};
      return y;
    }
  };
  constexpr double kRate = 0.6;
  const auto simmim = make_with_branches(kRate);
  std::vector<uint64_t> ids(64);
  std::iota(ids.begin(), ids.end(), uint64_t{0});
  const Batch batch = make_batch(ids);
  const at::NoGradGuard no_grad;
  Recorder recorder;
  simmim->loss(batch, recorder);
  const std::vector<at::Tensor> scales =
      drop_path_scales(batch, kRate, simmim->dimensions().depth(), kSeed, at::kFloat);
  const auto modules = simmim->named_modules();
  const char* blocks[] = {"layers.0.blocks.0", "layers.0.blocks.1", "layers.1.blocks.0",
                          "layers.1.blocks.1"};
  ASSERT_EQ(scales.size(), 2 * std::size(blocks));
  for (size_t i = 0; i < std::size(blocks); ++i) {
    SCOPED_TRACE(blocks[i]);
    const auto block = std::dynamic_pointer_cast<SwinBlock>(modules[blocks[i]]);
    ASSERT_TRUE(block);
    const auto& [x, y] = recorder.calls.at(blocks[i]);
    EXPECT_TRUE(at::equal(y, block->forward(x, scales[2 * i], scales[2 * i + 1])));
    if (i == 0) continue;
    EXPECT_FALSE(at::equal(scales[2 * i], scales[2 * i + 1]));
    EXPECT_FALSE(at::equal(scales[2 * i], scales[2 * i - 2]));
  }
}

// The chance rises linearly from 0; 4000 draws deviate by 0.8 %. What stays is scaled up.
TEST(Simmim, DropPathLeavesTheFirstBlockAlone) {
  Batch batch;
  batch.images_BCHW = at::empty({0});
  batch.sample_ids.resize(4000);
  std::iota(batch.sample_ids.begin(), batch.sample_ids.end(), uint64_t{0});
  const std::vector<at::Tensor> scales = drop_path_scales(batch, 0.6, 4, kSeed, at::kFloat);
  ASSERT_EQ(scales.size(), 8U);
  EXPECT_TRUE(at::equal(scales[0], at::ones({4000, 1, 1})));
  EXPECT_TRUE(at::equal(scales[1], at::ones({4000, 1, 1})));
  for (size_t i = 2; i < scales.size(); ++i) {
    const double rate = 0.2 * std::floor(static_cast<double>(i) / 2);
    const at::Tensor stays = scales[i] > 0;
    EXPECT_NEAR(stays.to(at::kFloat).mean().item<double>(), 1 - rate, 0.04) << i;
    EXPECT_TRUE(at::allclose(scales[i], stays.to(at::kFloat) / (1 - rate))) << i;
  }
  EXPECT_TRUE(drop_path_scales(batch, 0, 4, kSeed, at::kFloat).empty());
}

// Whatever stands in an invalid pixel of the target: loss and gradients do not see it.
TEST(Simmim, InvalidPixelsDoNotEnterTheLoss) {
  for (const auto& [loss, window] :
       {std::pair{"l1", 0}, std::pair{"l1", 7}, std::pair{"cross_entropy", 0}}) {
    SCOPED_TRACE(std::string(loss) + " " + std::to_string(window));
    const auto simmim = make_simmim(pico([&](ModelOptions& o) {
                                      o.swin.loss = loss;
                                      o.swin.target_window = window;
                                    }),
                                    7);
    const SwinDimensions& d = simmim->dimensions();
    Batch batch = make_batch({1, 2});
    const at::Tensor units = unit_masks(1, 1, batch.sample_ids, d);
    // Only pixels of masked squares, so that the encoder sees the same.
    const at::Tensor masked =
        units.view({2, 1, 4, 4}).repeat_interleave(8, 2).repeat_interleave(8, 3);
    torch::manual_seed(9);
    batch.valid = (at::rand({2, 3, 32, 32}) > 0.3).logical_or(masked.logical_not());
    UnitRunner runner;
    const double before = simmim->loss(batch, units, runner).loss.item<double>();
    batch.images_BCHW = at::where(batch.valid, batch.images_BCHW, at::full({}, 1e4));
    EXPECT_EQ(simmim->loss(batch, units, runner).loss.item<double>(), before);
    batch.valid = at::Tensor();
    EXPECT_NE(simmim->loss(batch, units, runner).loss.item<double>(), before);
  }
}

TEST(Simmim, NothingValidIsFinite) {
  const auto simmim = make_simmim(pico(), 7);
  Batch batch = make_batch({1, 2});
  batch.valid = at::zeros({2, 1, 32, 32}, at::kBool);
  UnitRunner runner;
  const LossResult result = simmim->loss(batch, runner);
  EXPECT_EQ(result.loss.item<double>(), 0);
  EXPECT_EQ(result.weight.item<double>(), 0);
  result.loss.backward();
  for (const auto& parameter : simmim->named_parameters()) {
    EXPECT_EQ(parameter.value().grad().abs().sum().item<double>(), 0) << parameter.key();
  }
}

// Kept pixels have no target: the loss looks at masked ones alone.
TEST(Simmim, KeptPixelsHaveNoTarget) {
  const auto simmim = make_simmim(pico(), 7);
  const Batch batch = make_batch({1, 2});
  UnitRunner runner;
  const at::Tensor units = unit_masks(1, 1, batch.sample_ids, simmim->dimensions());
  const at::Tensor error =
      (simmim->predict(batch, units, runner) - batch.images_BCHW).abs().mean(1);
  const at::Tensor masked = units.view({2, 4, 4}).repeat_interleave(8, 1).repeat_interleave(8, 2);
  EXPECT_NEAR(simmim->loss(batch, units, runner).loss.item<double>(),
              error.masked_select(masked).mean().item<double>(), 1e-6);
}

TEST(Simmim, BinsAreOpenAtTheEnds) {
  const at::Tensor bins = quantize(at::tensor({-100.0, -3.0, -2.82, -2.8, 0.0, 2.99, 3.0, 50.0}));
  EXPECT_TRUE(at::equal(bins, at::tensor({0, 0, 0, 1, 16, 31, 31, 31}, at::kLong)));
  const at::Tensor centers = bin_centers(at::TensorOptions(at::kDouble));
  EXPECT_NEAR(centers[0].item<double>(), -2.90625, 1e-12);
  EXPECT_TRUE(at::equal(quantize(centers), at::arange(32, at::kLong)));
}

// Constant images have no deviation; a lone pixel is its own mean.
TEST(Simmim, LocalStatisticsByHand) {
  const at::Tensor row = at::tensor({1.0, 2.0, 6.0}, at::kDouble).view({1, 1, 1, 3});
  const LocalStatistics local = local_statistics(row, at::Tensor(), 3);
  const double means[] = {1.5, 3, 4};
  const double variances[] = {0.5, 7, 8};
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(local.mean.flatten()[i].item<double>(), means[i], 1e-12);
    EXPECT_NEAR(local.deviation.flatten()[i].item<double>(), std::sqrt(variances[i] + 1e-6), 1e-12);
  }
  const at::Tensor valid = at::tensor({1, 0, 1}).view({1, 1, 1, 3}) > 0;
  EXPECT_NEAR(local_statistics(row, valid, 3).mean.flatten()[1].item<double>(), 3.5, 1e-12);
  EXPECT_NEAR(local_statistics(row, valid, 3).deviation.flatten()[0].item<double>(), 1e-3, 1e-12);
}

TEST(Simmim, RunnerSeesEveryUnitOfTheSpecInOrder) {
  struct Recorder : UnitRunner {
    std::vector<std::string> names = {"root"};
    at::Tensor run(const std::string& name, const UnitForward& forward,
                   const at::Tensor& x) override {
      names.push_back(name);
      return forward(x);
    }
  };
  const auto objective = make_objective(pico(), 7);
  Recorder recorder;
  objective->loss(make_batch({1}), recorder);
  std::vector<std::string> expected;
  for (const UnitSpec& unit : objective->spec().units) expected.push_back(unit.name);
  EXPECT_EQ(recorder.names, expected);
}

TEST(Simmim, SpecListsExactlyTheModulesParameters) {
  for (const auto& [tokens, loss] : {std::pair{"joint", "l1"}, std::pair{"per_band", "l1"},
                                     std::pair{"per_band", "cross_entropy"}}) {
    const auto objective = make_objective(pico([&](ModelOptions& o) {
                                            o.swin.tokens = tokens;
                                            o.swin.loss = loss;
                                          }),
                                          7);
    expect_spec_lists_parameters(*objective);
  }
}

TEST(Simmim, ReconstructionKeepsWhatWasKept) {
  for (const auto& [loss, window] :
       {std::pair{"l1", 0}, std::pair{"l1", 7}, std::pair{"cross_entropy", 0}}) {
    const auto simmim = make_simmim(pico([&](ModelOptions& o) {
                                      o.swin.loss = loss;
                                      o.swin.target_window = window;
                                    }),
                                    7);
    const Batch batch = make_batch({1, 2});
    UnitRunner runner;
    const Reconstruction pictures = simmim->reconstruct(batch, 4, runner);
    EXPECT_TRUE(at::equal(pictures.original, batch.images_BCHW));
    const at::Tensor kept = pictures.removed_BCHW.logical_not().to(at::kFloat);
    EXPECT_NEAR(kept.mean().item<double>(), 0.375, 1e-6);
    EXPECT_TRUE(at::equal(pictures.masked, batch.images_BCHW * kept));
    EXPECT_TRUE(at::equal(pictures.reconstruction * kept, pictures.masked));
    EXPECT_TRUE(pictures.reconstruction.isfinite().all().item<bool>());
  }
}

// A prediction in the target's units, taken back, is what was predicted.
TEST(Simmim, ReconstructionUndoesTheLocalNormalisation) {
  const auto simmim = make_simmim(pico([](ModelOptions& o) { o.swin.target_window = 7; }), 7);
  const Batch batch = make_batch({1});
  UnitRunner runner;
  const at::NoGradGuard no_grad;
  const Reconstruction pictures = simmim->reconstruct(batch, 4, runner);
  const at::Tensor units = unit_masks(4, batch.epoch, batch.sample_ids, simmim->dimensions());
  const LocalStatistics local = local_statistics(batch.images_BCHW, at::Tensor(), 7);
  const at::Tensor again = (pictures.reconstruction - local.mean) / local.deviation;
  const at::Tensor predicted = simmim->predict(batch, units, runner);
  EXPECT_LT(
      ((again - predicted) * pictures.removed_BCHW.to(at::kDouble)).abs().max().item<double>(),
      1e-4);
}

}  // namespace
}  // namespace swath::models
