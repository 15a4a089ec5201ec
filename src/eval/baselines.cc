#include "eval/baselines.h"

#include <ATen/ATen.h>

namespace swath::eval {
namespace {

// Means and deviations over the last dimension: (B, N, C, P) -> (B, N, 2 C). `counted` is 1 where a
// value was measured, 0 elsewhere; undefined: all were. Both are 0 where nothing was.
at::Tensor summarize(const at::Tensor& pixels, const at::Tensor& counted) {
  if (!counted.defined()) {
    return at::cat({pixels.mean(3), pixels.std(3, /*unbiased=*/false)}, 2);
  }
  const at::Tensor count = counted.sum(3, /*keepdim=*/true).clamp_min(1);
  const at::Tensor mean = (pixels * counted).sum(3, true) / count;
  const at::Tensor variance = ((pixels - mean).square() * counted).sum(3, true) / count;
  return at::cat({mean, variance.sqrt()}, 2).squeeze(3);
}

// (B, C, H, W) -> (B, N, C, P): the patches, or with patch 0 the whole image as one.
at::Tensor cut(const at::Tensor& images_BCHW, int64_t patch) {
  const int64_t batch = images_BCHW.size(0);
  const int64_t channels = images_BCHW.size(1);
  if (patch == 0) return images_BCHW.reshape({batch, 1, channels, -1});
  const int64_t grid = images_BCHW.size(2) / patch;
  return images_BCHW.slice(2, 0, grid * patch)
      .slice(3, 0, grid * patch)
      .reshape({batch, channels, grid, patch, grid, patch})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({batch, grid * grid, channels, patch * patch});
}

// Tokens that are statistics of the pixels: the whole image's, then with a patch those of patches.
TokenFunction statistics_tokens(int64_t patch) {
  return [patch](const Batch& batch) {
    const at::Tensor images = batch.images_BCHW.to(at::kDouble);
    at::Tensor counted;
    if (batch.valid.defined()) counted = batch.valid.expand_as(images).to(at::kDouble);
    const auto tokens_at = [&](int64_t side) {
      return summarize(cut(images, side), counted.defined() ? cut(counted, side) : counted);
    };
    at::Tensor tokens = tokens_at(0);
    if (patch > 0) tokens = at::cat({tokens, tokens_at(patch)}, 1);
    return tokens.to(at::kFloat);
  };
}

ExtractOptions uncached(ExtractOptions options) {
  options.cache.clear();
  options.pooling = "cls";
  return options;
}

}  // namespace

FeatureSet band_statistics(const std::shared_ptr<const data::Dataset>& dataset,
                           const data::Transform& transform, const ExtractOptions& options) {
  return extract_features_with(statistics_tokens(/*patch=*/0), dataset, transform,
                               uncached(options), at::kCPU);
}

at::Tensor band_statistics_per_patch(const std::shared_ptr<const data::Dataset>& dataset,
                                     const data::Transform& transform, int64_t patch,
                                     const ExtractOptions& options) {
  return extract_tokens_with(statistics_tokens(patch), dataset, transform, uncached(options),
                             at::kCPU);
}

double majority_class_top1(const at::Tensor& train_labels_N, const at::Tensor& test_labels_N,
                           int64_t num_classes) {
  const at::Tensor counts = at::bincount(train_labels_N, {}, num_classes);
  return (test_labels_N == counts.argmax()).to(at::kDouble).mean().item<double>();
}

}  // namespace swath::eval
