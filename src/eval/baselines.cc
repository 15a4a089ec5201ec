#include "eval/baselines.h"

#include <ATen/ATen.h>

#include "core/error.h"

namespace swath::eval {
namespace {

// An "encoder" whose tokens are statistics of the pixels, so that everything that works on an
// encoder's tokens works on them. Token 0 is of the whole image.
class StatisticsEncoder : public models::Encoder {
 public:
  explicit StatisticsEncoder(int64_t patch) : patch_(patch) {}

  at::Tensor forward_features(const at::Tensor& images_BCHW, UnitRunner&) override {
    const int64_t batch = images_BCHW.size(0);
    const int64_t channels = images_BCHW.size(1);
    const int64_t patch = patch_ > 0 ? patch_ : images_BCHW.size(2);
    const int64_t grid = images_BCHW.size(2) / patch;
    const at::Tensor images = images_BCHW.to(at::kDouble);
    const at::Tensor whole = summarize(images.reshape({batch, 1, channels, -1}));
    const at::Tensor patches = images.slice(2, 0, grid * patch)
                                   .slice(3, 0, grid * patch)
                                   .reshape({batch, channels, grid, patch, grid, patch})
                                   .permute({0, 2, 4, 1, 3, 5})
                                   .reshape({batch, grid * grid, channels, patch * patch});
    return at::cat({whole, summarize(patches)}, 1).to(at::kFloat);
  }

  torch::nn::Module& module() override { return module_; }
  const ModelSpec& spec() const override { return spec_; }

 private:
  // (B, N, C, P) -> (B, N, 2 C)
  static at::Tensor summarize(const at::Tensor& pixels) {
    return at::cat({pixels.mean(3), pixels.std(3, /*unbiased=*/false)}, 2);
  }

  int64_t patch_;
  torch::nn::Module module_;
  ModelSpec spec_;
};

ExtractOptions uncached(ExtractOptions options) {
  options.cache.clear();
  options.pooling = "cls";
  return options;
}

}  // namespace

FeatureSet band_statistics(const std::shared_ptr<const data::Dataset>& dataset,
                           const data::Transform& transform, const ExtractOptions& options) {
  StatisticsEncoder encoder(/*patch=*/0);
  return extract_features(encoder, dataset, transform, uncached(options), at::kCPU);
}

at::Tensor band_statistics_per_patch(const std::shared_ptr<const data::Dataset>& dataset,
                                     const data::Transform& transform, int64_t patch,
                                     const ExtractOptions& options) {
  StatisticsEncoder encoder(patch);
  return extract_tokens(encoder, dataset, transform, uncached(options), at::kCPU);
}

double majority_class_top1(const at::Tensor& train_labels_N, const at::Tensor& test_labels_N,
                           int64_t num_classes) {
  const at::Tensor counts = at::bincount(train_labels_N, {}, num_classes);
  return (test_labels_N == counts.argmax()).to(at::kDouble).mean().item<double>();
}

}  // namespace swath::eval
