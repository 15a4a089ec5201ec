#include "eval/reconstruct.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/random.h"
#include "core/tensor/torch.h"
#include "data/loader.h"
#include "data/subset_dataset.h"
#include "eval/features.h"
#include "eval/metrics.h"

namespace swath::eval {
namespace {

constexpr uint8_t kRemovedGray = 128;
constexpr int64_t kLeastPictureSide = 128;
constexpr double kLeastContrast = 0.2;
constexpr int64_t kSpareFactor = 4;

std::vector<int64_t> bands_shown(const ReconstructOptions& options, int64_t channels) {
  std::vector<int64_t> bands = options.rgb;
  if (bands.empty()) {
    bands = channels >= 3 ? std::vector<int64_t>{0, 1, 2} : std::vector<int64_t>{0};
  }
  if (bands.size() != 1 && bands.size() != 3) {
    throw UsageError(
        fmt::format("reconstruct: rgb names {} bands; it takes one or three.", bands.size()));
  }
  for (const int64_t band : bands) {
    if (band < 0 || band >= channels) {
      throw UsageError(fmt::format("reconstruct: rgb names band {}, the model reads bands 0..{}.",
                                   band, channels - 1));
    }
  }
  return bands;
}

struct Levels {
  double low = 0;  // shown black
  double high = 1;
  double range() const { return high > low ? high - low : 1; }
};

Levels levels_of(const at::Tensor& plane, const ReconstructOptions& options) {
  const at::Tensor flat = plane.to(at::kDouble).contiguous().view({-1});
  const double* values = flat.const_data_ptr<double>();
  const std::vector<double> pixels(values, values + flat.numel());
  return {quantile(pixels, options.low_percentile / 100),
          quantile(pixels, options.high_percentile / 100)};
}

// One picture's own levels, so that a dark forest is as visible as snow; but a picture without
// contrast keeps some of its flatness: its range is at least kLeastContrast of that of all
// pictures.
Levels levels_of_picture(const at::Tensor& plane, const Levels& of_all,
                         const ReconstructOptions& options) {
  Levels levels = levels_of(plane, options);
  const double missing = kLeastContrast * of_all.range() - (levels.high - levels.low);
  if (missing > 0) {
    levels.low -= missing / 2;
    levels.high += missing / 2;
  }
  return levels;
}

// (n, 3, H, W) uint8; black and white from the original of each picture.
at::Tensor stretch(const at::Tensor& pictures_NCHW, const at::Tensor& original_NCHW,
                   const std::vector<int64_t>& bands, const ReconstructOptions& options) {
  std::vector<at::Tensor> planes;
  for (const int64_t band : bands) {
    const Levels of_all = levels_of(original_NCHW.select(1, band), options);
    std::vector<at::Tensor> pictures;
    for (int64_t i = 0; i < pictures_NCHW.size(0); ++i) {
      const Levels levels = levels_of_picture(original_NCHW[i][band], of_all, options);
      pictures.push_back(
          ((pictures_NCHW[i][band].to(at::kDouble) - levels.low) / levels.range() * 255)
              .round()
              .clamp(0, 255)
              .to(at::kByte));
    }
    planes.push_back(at::stack(pictures));
  }
  while (planes.size() < 3) planes.push_back(planes.front());
  return at::stack(planes, 1);
}

}  // namespace

void ReconstructOptions::describe(FieldTable& fields) {
  fields.add("samples", &samples, "images shown, one row each").at_least(1).flag("samples");
  fields.add("rgb", &rgb, "bands shown as red, green, blue, or one for gray; empty: 0, 1, 2")
      .at_least(0)
      .flag("rgb");
  fields.add("low_percentile", &low_percentile, "of the originals' pixels, shown black")
      .at_least(0)
      .at_most(100);
  fields.add("high_percentile", &high_percentile, "shown white").at_least(0).at_most(100);
  fields.add("zoom", &zoom, "enlargement; 0: so that a picture has 128 pixels or more").at_least(0);
  fields.add("gap", &gap, "white pixels between pictures").at_least(0);
}

data::Image draw_grid(const at::Tensor& original_NCHW, const at::Tensor& reconstruction_NCHW,
                      const at::Tensor& removed_NHW, const ReconstructOptions& options) {
  const int64_t rows = original_NCHW.size(0);
  const int64_t side = original_NCHW.size(2);
  const std::vector<int64_t> bands = bands_shown(options, original_NCHW.size(1));
  const at::Tensor original = stretch(original_NCHW, original_NCHW, bands, options);
  const at::Tensor reconstruction = stretch(reconstruction_NCHW, original_NCHW, bands, options);
  const at::Tensor masked =
      at::where(removed_NHW.unsqueeze(1), at::full({}, kRemovedGray, at::kByte), original);
  const int64_t zoom =
      options.zoom > 0 ? options.zoom : std::max<int64_t>(1, (kLeastPictureSide + side - 1) / side);
  const int64_t cell = side * zoom + options.gap;

  const int64_t width = 3 * cell + options.gap;
  const int64_t height = rows * cell + options.gap;
  at::Tensor canvas = at::full({height, width, 3}, 255, at::kByte);
  const at::Tensor columns[] = {original, masked, reconstruction};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < 3; ++column) {
      const at::Tensor picture =
          columns[column][row].repeat_interleave(zoom, 1).repeat_interleave(zoom, 2).permute(
              {1, 2, 0});
      canvas.narrow(0, options.gap + row * cell, side * zoom)
          .narrow(1, options.gap + column * cell, side * zoom)
          .copy_(picture);
    }
  }
  data::Image image;
  image.width = width;
  image.height = height;
  image.bands = 3;
  image.type = data::PixelType::kUint8;
  const auto* bytes = reinterpret_cast<const std::byte*>(canvas.const_data_ptr<uint8_t>());
  image.pixels.assign(bytes, bytes + canvas.numel());
  return image;
}

Json run_reconstruct(const ReconstructInputs& inputs, const ReconstructOptions& options,
                     const std::filesystem::path& png_path) {
  at::NoGradGuard no_grad;
  models::MaskedModel& model = *inputs.model;
  const EvaluationMode evaluation(model.module());
  const int64_t wanted = std::min(options.samples, inputs.dataset->size());
  if (wanted == 0) throw UsageError("reconstruct: there are no images.");
  bands_shown(options, model.spec().channels);

  // 1. A seeded choice of images, with some to spare where unusable ones are left out.
  std::vector<int64_t> indices;
  const Permutation order(static_cast<uint64_t>(inputs.dataset->size()), inputs.seed, /*epoch=*/0);
  const int64_t drawn =
      inputs.skip_bad ? std::min(kSpareFactor * wanted, inputs.dataset->size()) : wanted;
  for (int64_t i = 0; i < drawn; ++i) {
    indices.push_back(static_cast<int64_t>(order(static_cast<uint64_t>(i))));
  }
  const auto chosen = std::make_shared<data::SubsetDataset>(inputs.dataset, indices);
  data::LoaderOptions loader_options;
  loader_options.batch_size = drawn;
  loader_options.skip_bad = inputs.skip_bad;
  loader_options.skipped = inputs.skipped;
  loader_options.shuffle = false;
  loader_options.drop_last = false;
  data::TransformOptions transform = inputs.transform;
  transform.horizontal_flip = false;
  transform.dihedral = false;
  data::Loader loader(chosen, data::Transform(transform, inputs.normalization), loader_options,
                      inputs.seed, inputs.device);
  Batch batch = loader.next();

  // 2. Masks and predictions.
  const int64_t count = std::min(wanted, batch.size());
  if (count == 0) {
    throw Error(fmt::format("reconstruct: none of {} images is usable.", drawn),
                "list what is wrong with `swath data verify`.");
  }
  batch.images_BCHW = batch.images_BCHW.narrow(0, 0, count);
  batch.sample_ids.resize(static_cast<size_t>(count));
  if (batch.valid.defined()) batch.valid = batch.valid.narrow(0, 0, count);
  UnitRunner runner;
  const models::Reconstruction result = model.reconstruct(batch, inputs.seed, runner);
  const at::Tensor original = result.original.to(at::kCPU, at::kFloat);
  const at::Tensor reconstruction = result.reconstruction.to(at::kCPU, at::kFloat);
  at::Tensor removed_values = result.removed_BCHW.to(at::kCPU).expand_as(original);
  // Gray where any band was removed; the error is that of removed pixels which were measured.
  const at::Tensor removed = removed_values.any(1);
  if (batch.valid.defined()) {
    removed_values = removed_values.logical_and(batch.valid.to(at::kCPU));
  }
  const double squared_error =
      (reconstruction - original).square().masked_select(removed_values).mean().item<double>();

  // 3. Back to stored units, and drawn.
  const auto to_band = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kFloat).view({1, -1, 1, 1});
  };
  const at::Tensor mean = to_band(inputs.normalization.mean);
  const at::Tensor deviation = to_band(inputs.normalization.standard_deviation);
  const data::Image grid =
      draw_grid(original * deviation + mean, reconstruction * deviation + mean, removed, options);
  data::write_png(png_path, grid);

  std::vector<std::string> names;
  for (int64_t i = 0; i < chosen->size(); ++i) {
    const data::Sample sample = chosen->sample(i);
    const auto& shown = batch.sample_ids;
    if (std::find(shown.begin(), shown.end(), sample.id) != shown.end()) {
      names.push_back(sample.name);
    }
  }
  return Json{{"images", {png_path.string()}},
              {"samples", names},
              {"rgb", bands_shown(options, model.spec().channels)},
              {"mean_squared_error", squared_error}};
}

}  // namespace swath::eval
