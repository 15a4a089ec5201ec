#include "eval/reconstruct.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/random.h"
#include "data/loader.h"
#include "data/subset_dataset.h"
#include "eval/features.h"
#include "eval/metrics.h"
#include "ops/masking.h"

namespace swath::eval {
namespace {

constexpr uint8_t kRemovedGray = 128;
constexpr int64_t kLeastPictureSide = 128;

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

// (n, 3, H, W) uint8; black and white from the originals, for all pictures alike.
at::Tensor stretch(const at::Tensor& pictures_NCHW, const at::Tensor& original_NCHW,
                   const std::vector<int64_t>& bands, const ReconstructOptions& options) {
  std::vector<at::Tensor> planes;
  for (const int64_t band : bands) {
    const at::Tensor reference =
        original_NCHW.select(1, band).to(at::kDouble).contiguous().view({-1});
    const double* values = reference.const_data_ptr<double>();
    const std::vector<double> pixels(values, values + reference.numel());
    const double low = quantile(pixels, options.low_percentile / 100);
    const double high = quantile(pixels, options.high_percentile / 100);
    const double range = high > low ? high - low : 1;
    planes.push_back(((pictures_NCHW.select(1, band).to(at::kDouble) - low) / range * 255)
                         .round()
                         .clamp(0, 255)
                         .to(at::kByte));
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
  models::Mae& mae = *inputs.mae;
  const EvaluationMode evaluation(mae);
  const int64_t count = std::min(options.samples, inputs.dataset->size());
  if (count == 0) throw UsageError("reconstruct: there are no images.");
  bands_shown(options, mae.spec().channels);

  // 1. A seeded choice of images.
  std::vector<int64_t> indices;
  const Permutation order(static_cast<uint64_t>(inputs.dataset->size()), inputs.seed, /*epoch=*/0);
  for (int64_t i = 0; i < count; ++i) {
    indices.push_back(static_cast<int64_t>(order(static_cast<uint64_t>(i))));
  }
  const auto chosen = std::make_shared<data::SubsetDataset>(inputs.dataset, indices);
  data::LoaderOptions loader_options;
  loader_options.batch_size = count;
  loader_options.shuffle = false;
  loader_options.drop_last = false;
  data::TransformOptions transform = inputs.transform;
  transform.horizontal_flip = false;
  transform.dihedral = false;
  data::Loader loader(chosen, data::Transform(transform, inputs.normalization), loader_options,
                      inputs.seed, inputs.device);
  const Batch batch = loader.next();

  // 2. Masks and predictions.
  if (batch.size() != count) {
    throw Error(fmt::format("reconstruct: {} of {} images are usable.", batch.size(), count));
  }
  const at::Tensor noise_BN = models::mask_noise(inputs.seed, batch.epoch, batch.sample_ids,
                                                 mae.dimensions().num_patches());
  UnitRunner runner;
  const models::Reconstruction result = mae.reconstruct(batch.images_BCHW, noise_BN, runner);
  const at::Tensor original = result.original.to(at::kCPU, at::kFloat);
  const at::Tensor reconstruction = result.reconstruction.to(at::kCPU, at::kFloat);
  const models::VitDimensions& dimensions = mae.dimensions();
  const at::Tensor removed = (ops::masking_from_noise(noise_BN, dimensions.num_kept()).mask_BN > 0)
                                 .view({count, dimensions.grid(), dimensions.grid()})
                                 .repeat_interleave(dimensions.patch, 1)
                                 .repeat_interleave(dimensions.patch, 2);
  const at::Tensor removed_values = removed.unsqueeze(1).expand_as(original);
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
  for (int64_t i = 0; i < chosen->size(); ++i) names.push_back(chosen->sample(i).name);
  return Json{{"images", {png_path.string()}},
              {"samples", names},
              {"rgb", bands_shown(options, mae.spec().channels)},
              {"mean_squared_error", squared_error}};
}

}  // namespace swath::eval
