// SimMIM (Xie et al., CVPR 2022) around a SwinV2: squares of the image are masked, every token runs
// through the encoder, one linear layer gives pixels back.
//
// B samples, K bands, H = W image side, L tokens, C width of the first stage, E of the last, U
// units: the squares that are masked, S = stride() pixels a side of what a token of the last stage
// covers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/objective.h"
#include "models/swin.h"

namespace swath::models {

// Which squares each sample loses, (B, maps, U) bool on the CPU, U in row-major order, with
// mask_maps() maps: a function of (seed, epoch, sample id) alone. num_masked() of each map are
// true, every choice as likely as any other.
at::Tensor unit_masks(uint64_t seed, uint64_t epoch, const std::vector<uint64_t>& sample_ids,
                      const SwinDimensions& dimensions);

// What the L1 loss's targets are normalised by with target_window = w: mean and deviation in a w x
// w window around each pixel, of what lies in the image and is valid (unbiased variance, at least
// 0, plus 1e-6). float64, (B, K, H, W).
struct LocalStatistics {
  at::Tensor mean;
  at::Tensor deviation;
};
// `valid` as in Batch, or undefined.
LocalStatistics local_statistics(const at::Tensor& images_BKHW, const at::Tensor& valid,
                                 int64_t window);

// The bin of each value, int64: kBins of equal width within +-kBinLimit, the outer ones open.
at::Tensor quantize(const at::Tensor& values);
// The middle of each bin, (kBins).
at::Tensor bin_centers(const at::TensorOptions& options);

class SimMim : public SwinTrunk, public MaskedModel {
 public:
  SimMim(SwinDimensions dimensions, uint64_t seed);

  // Mean over masked valid pixels and bands (L1: divided by their number + 1e-5 K, as the paper's
  // code does for K bands). Metrics: "loss_band_k" for each band when there are several. In
  // training drop path is a function of (seed, epoch, sample id).
  LossResult loss(const Batch& batch, UnitRunner& runner) override;
  // With the masked squares (B, maps, U) given.
  LossResult loss(const Batch& batch, const at::Tensor& units, UnitRunner& runner);

  // What the decoder says of every pixel, (B, K, H, W), or with cross-entropy the logits of its
  // bins, (B, K, kBins, H, W); float32 or better.
  at::Tensor predict(const Batch& batch, const at::Tensor& units, UnitRunner& runner);
  Reconstruction reconstruct(const Batch& batch, uint64_t seed, UnitRunner& runner) override;

  torch::nn::Module& module() override { return *this; }
  const ModelSpec& spec() const override { return spec_; }
  void initialize(const std::string& name, const at::Tensor& values) const override;
  bool never_decays(const std::string& name) const override { return is_spared(name); }

 private:
  // A 1 x 1 convolution, as a product with tokens.
  struct Decoder : torch::nn::Module {
    Decoder(int64_t out, int64_t in);
    at::Tensor weight;  // (out, in, 1, 1)
    at::Tensor bias;
  };
  at::Tensor token_mask(const at::Tensor& units) const;  // (B, L, 1) bool, 1 masked
  at::Tensor pixel_mask(const at::Tensor& units) const;  // (B, maps, H, W) bool
  at::Tensor pixels_of(
      const at::Tensor& cells) const;  // decoder's rows -> (B, X, rows H, columns W)
  std::vector<at::Tensor> scales_of(const Batch& batch) const;

  ModelSpec spec_;
  uint64_t seed_;
  at::Tensor mask_token_;
  std::shared_ptr<Decoder> decoder_;
  std::shared_ptr<Linear> bins_;
};

}  // namespace swath::models
