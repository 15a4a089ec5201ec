#include "models/simmim.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/random.h"
#include "core/tensor/convert.h"
#include "core/tensor/torch.h"
#include "models/drop_path.h"
#include "models/initialize.h"
#include "ops/linear.h"

namespace swath::models {
namespace {

// Added to the number of masked pixels, as the paper's code does.
constexpr double kLossEpsilon = 1e-5;
constexpr double kVarianceEpsilon = 1e-6;

// Squares of one value each: (..., g, g) -> (..., g side, g side).
at::Tensor enlarge(const at::Tensor& squares, int64_t side) {
  return squares.repeat_interleave(side, -2).repeat_interleave(side, -1);
}

// Sums over a w x w window around each pixel, none beyond the edge; float64.
at::Tensor window_sums(const at::Tensor& x_BKHW, int64_t window) {
  const int64_t reach = window / 2;
  const at::Tensor columns = at::avg_pool2d(x_BKHW, {window, 1}, {1, 1}, {reach, 0});
  const at::Tensor all = at::avg_pool2d(columns, {1, window}, {1, 1}, {0, reach});
  return all * static_cast<double>(window * window);
}

// (B, K, X, H, W) with X, the bins, last: the order in which predict() has them in memory, so that
// what runs over them makes no copy.
at::Tensor bins_last(const at::Tensor& x, const SwinDimensions& d) {
  if (!d.per_band) return x.permute({0, 3, 4, 1, 2});
  return x.unflatten(1, {d.tile_rows(), d.tile_columns()}).permute({0, 1, 4, 2, 5, 3});
}

// Back to (B, K, H, W), without the bins.
at::Tensor bands_first(const at::Tensor& x, const SwinDimensions& d) {
  if (!d.per_band) return x.permute({0, 3, 1, 2});
  return x.permute({0, 1, 3, 2, 4}).flatten(1, 2);
}

}  // namespace

at::Tensor unit_masks(uint64_t seed, uint64_t epoch, const std::vector<uint64_t>& sample_ids,
                      const SwinDimensions& d) {
  const auto batch = static_cast<int64_t>(sample_ids.size());
  const at::Tensor masks =
      at::zeros({batch, d.mask_maps(), d.num_units()}, at::TensorOptions(at::kBool));
  bool* map = masks.mutable_data_ptr<bool>();
  std::vector<double> noise(static_cast<size_t>(d.num_units()));
  std::vector<size_t> order(noise.size());
  for (const uint64_t id : sample_ids) {
    Random random(seed, RandomPurpose::kMask, epoch, id);
    for (int64_t m = 0; m < d.mask_maps(); ++m, map += d.num_units()) {
      for (double& value : noise) value = random.uniform();
      std::iota(order.begin(), order.end(), size_t{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](size_t a, size_t b) { return noise[a] < noise[b]; });
      for (int64_t i = 0; i < d.num_masked(); ++i) map[order[static_cast<size_t>(i)]] = true;
    }
  }
  return masks;
}

LocalStatistics local_statistics(const at::Tensor& images_BKHW, const at::Tensor& valid,
                                 int64_t window) {
  const at::NoGradGuard no_grad;
  at::Tensor x = images_BKHW.to(at::kDouble);
  at::Tensor counted = at::ones({1, 1, x.size(2), x.size(3)}, x.options());
  if (valid.defined()) {
    counted = valid.to(at::kDouble);
    x = at::where(valid, x, at::zeros({}, x.options()));
  }
  // Rounded: a number of pixels.
  const at::Tensor count = window_sums(counted, window).round().clamp_min(1);
  const at::Tensor mean = window_sums(x, window) / count;
  const at::Tensor mean_square = window_sums(x.square(), window) / count;
  const at::Tensor variance =
      ((mean_square - mean.square()) * (count / (count - 1).clamp_min(1))).clamp_min(0);
  return {mean, (variance + kVarianceEpsilon).sqrt()};
}

at::Tensor quantize(const at::Tensor& values) {
  constexpr double kBinsPerUnit = kBins / (2 * kBinLimit);
  return ((values + kBinLimit) * kBinsPerUnit).floor().clamp(0, kBins - 1).to(at::kLong);
}

at::Tensor bin_centers(const at::TensorOptions& options) {
  return (at::arange(kBins, options) + 0.5) * (2 * kBinLimit / kBins) - kBinLimit;
}

SimMim::Decoder::Decoder(int64_t out, int64_t in) {
  weight = register_parameter("weight", torch::empty({out, in, 1, 1}));
  bias = register_parameter("bias", torch::empty({out}));
}

SimMim::SimMim(SwinDimensions dimensions, uint64_t seed)
    : SwinTrunk(std::move(dimensions)), spec_(simmim_spec(SwinTrunk::dimensions())), seed_(seed) {
  const SwinDimensions& d = SwinTrunk::dimensions();
  mask_token_ = register_parameter("mask_token", torch::empty({1, 1, d.width}));
  const auto decoder = register_module("decoder", std::make_shared<torch::nn::Module>());
  decoder_ = decoder->register_module(
      "0", std::make_shared<Decoder>(d.decoder_channels(), d.last_width()));
  if (d.cross_entropy) {
    bins_ = register_module("bins",
                            std::make_shared<Linear>(kBins * d.input_channels(), kPixelFeatures));
  }
}

void SimMim::initialize(const std::string& name, const at::Tensor& values) const {
  initialize_parameter(name, values, dimensions(), seed_);
}

at::Tensor SimMim::token_mask(const at::Tensor& units) const {
  const SwinDimensions& d = dimensions();
  const at::Tensor maps = enlarge(
      units.view({-1, d.mask_maps(), d.units_a_side(), d.units_a_side()}), d.mask_unit / d.patch);
  if (!d.per_band) return maps.view({-1, d.grid() * d.grid(), 1});
  return to_mosaic(maps.expand({-1, d.channels, -1, -1}), d).view({units.size(0), -1, 1});
}

at::Tensor SimMim::pixel_mask(const at::Tensor& units) const {
  const SwinDimensions& d = dimensions();
  return enlarge(units.view({-1, d.mask_maps(), d.units_a_side(), d.units_a_side()}), d.mask_unit);
}

// The pixel shuffle: value (c, i, j) of a cell is channel c of its pixel (i, j).
at::Tensor SimMim::pixels_of(const at::Tensor& cells) const {
  const SwinDimensions& d = dimensions();
  const SwinStage& last = d.stages.back();
  return cells
      .view({-1, last.rows, last.columns, cells.size(-1) / (d.stride() * d.stride()), d.stride(),
             d.stride()})
      .permute({0, 3, 1, 4, 2, 5})
      .reshape({cells.size(0), -1, last.rows * d.stride(), last.columns * d.stride()});
}

std::vector<at::Tensor> SimMim::scales_of(const Batch& batch) const {
  if (!is_training()) return {};
  return drop_path_scales(batch, dimensions().drop_path, dimensions().depth(), seed_, dtype());
}

at::Tensor SimMim::predict(const Batch& batch, const at::Tensor& units, UnitRunner& runner) {
  const SwinDimensions& d = dimensions();
  const at::Tensor tokens_BLC = embed(batch.images_BCHW);
  const at::Tensor masked = at::where(token_mask(copy_to_device(units, tokens_BLC.device())),
                                      mask_token_.to(tokens_BLC.scalar_type()), tokens_BLC);
  // Masked tokens are told their band in there: those of one place would be the same in all bands.
  const at::Tensor latent_BLE = encode(masked, scales_of(batch), runner);
  const at::Tensor cells = runner.run(
      "decoder",
      [decoder = decoder_](const at::Tensor& x) {
        return ops::linear(x, decoder->weight.flatten(1), decoder->bias);
      },
      latent_BLE);
  const at::Tensor pixels = pixels_of(cells);
  if (!d.cross_entropy) return at_least_float(d.per_band ? from_mosaic(pixels, d) : pixels);

  // (B, X, rows H, columns W) features -> bins of every pixel, all bands of it or the tile's. They
  // stay where the product puts them, bins side by side: only views are turned.
  const at::Tensor logits = at_least_float(
      ops::linear(pixels.permute({0, 2, 3, 1}).contiguous(), bins_->weight, bins_->bias));
  if (!d.per_band) return logits.unflatten(-1, {d.channels, kBins}).permute({0, 3, 4, 1, 2});
  return logits.unflatten(2, {d.tile_columns(), -1})
      .unflatten(1, {d.tile_rows(), -1})
      .permute({0, 1, 3, 5, 2, 4})
      .flatten(1, 2);
}

LossResult SimMim::loss(const Batch& batch, UnitRunner& runner) {
  return loss(batch, unit_masks(seed_, batch.epoch, batch.sample_ids, dimensions()), runner);
}

LossResult SimMim::loss(const Batch& batch, const at::Tensor& units, UnitRunner& runner) {
  const SwinDimensions& d = dimensions();
  const at::Tensor& images = batch.images_BCHW;
  if (units.dim() != 3 || units.size(0) != images.size(0) || units.size(1) != d.mask_maps() ||
      units.size(2) != d.num_units()) {
    throw Error(fmt::format(
        "simmim: masks of {} samples with {} maps of {} squares, but {} images "
        "with {} of {}.",
        units.size(0), units.size(1), units.size(2), images.size(0), d.mask_maps(), d.num_units()));
  }
  const at::Tensor predicted = predict(batch, units, runner);
  const at::ScalarType type = predicted.scalar_type();

  // 1. The error of every pixel, (B, K, H, W).
  at::Tensor error;
  if (d.cross_entropy) {
    const at::Tensor target = bins_last(quantize(images.to(type)).unsqueeze(2), d);
    error = bands_first(
        -at::log_softmax(bins_last(predicted, d), -1).gather(-1, target).squeeze(-1), d);
  } else {
    at::Tensor target = images;
    if (d.target_window > 0) {
      const LocalStatistics local = local_statistics(images, batch.valid, d.target_window);
      target = (images.to(at::kDouble) - local.mean) / local.deviation;
    }
    error = (predicted - target.to(type)).abs();
  }

  // 2. Its mean over what is masked and was measured.
  at::Tensor counted = pixel_mask(copy_to_device(units, images.device()));
  const at::Tensor masked = counted;
  if (batch.valid.defined()) counted = counted.logical_and(batch.valid);
  const auto channels = static_cast<double>(d.channels);
  const at::Tensor band_sums =
      at::where(counted, error, at::zeros({}, error.options())).sum({0, 2, 3});
  const at::Tensor band_counts = counted.to(type).expand_as(error).sum({0, 2, 3});
  LossResult result{band_sums.sum() / (band_counts.sum() + kLossEpsilon * channels), {}};
  if (batch.valid.defined()) {
    const at::Tensor all = masked.to(type).expand_as(error).sum();
    result.weight = (band_counts.sum() / all).to(at::kFloat);
  }
  if (d.channels > 1) {
    const at::Tensor of_bands = (band_sums / (band_counts + kLossEpsilon)).detach();
    for (int64_t band = 0; band < d.channels; ++band) {
      result.metrics.emplace_back(fmt::format("loss_band_{}", band), of_bands[band]);
    }
  }
  return result;
}

Reconstruction SimMim::reconstruct(const Batch& batch, uint64_t seed, UnitRunner& runner) {
  const at::NoGradGuard no_grad;
  const SwinDimensions& d = dimensions();
  const at::Tensor& images = batch.images_BCHW;
  const at::Tensor units = unit_masks(seed, batch.epoch, batch.sample_ids, d);
  at::Tensor predicted = predict(batch, units, runner);
  if (d.cross_entropy) {
    const at::Tensor centers = bin_centers(predicted.options()).view({kBins, 1, 1});
    predicted = (at::softmax(predicted, 2) * centers).sum(2);
  } else if (d.target_window > 0) {
    // Back from the pixel's own window to the input's units.
    const LocalStatistics local = local_statistics(images, batch.valid, d.target_window);
    predicted = predicted * local.deviation + local.mean;
  }
  const at::Tensor removed = pixel_mask(copy_to_device(units, images.device()));
  const at::Tensor zero = at::zeros({}, images.options());
  return {images, at::where(removed, zero, images),
          at::where(removed, predicted.to(images.scalar_type()), images), removed};
}

}  // namespace swath::models
