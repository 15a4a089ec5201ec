// Masked autoencoder (He et al., CVPR 2022) around a ViT.
//
// B samples, N patches, K = floor(N (1 - mask_ratio)) kept, E = p*p*C values of a patch, D width.
//
// Under ops::Backend::kReference the forward pass is the paper's, step by step. Otherwise it skips
// what cannot reach the loss: removed patches are not embedded, and the last decoder block and the
// prediction run for removed patches only. The loss is the same function; tests hold both to it.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "models/model_options.h"
#include "models/objective.h"
#include "models/vit.h"
#include "ops/masking.h"
#include "ops/patch_loss.h"

namespace swath::models {

// The noise (B, N), float32 on the CPU, whose order decides which patches a sample loses: a
// function of (seed, epoch, sample id) alone.
at::Tensor mask_noise(uint64_t seed, uint64_t epoch, const std::vector<uint64_t>& sample_ids,
                      int64_t num_patches);

class Mae : public torch::nn::Module, public MaskedModel {
 public:
  Mae(VitDimensions dimensions, uint64_t seed);

  // Metrics: "loss_band_C" for each band when there are several.
  LossResult loss(const Batch& batch, UnitRunner& runner) override;
  // With the noise (B, N) given, on any device. Values that `valid` (as in Batch) says were not
  // measured enter no loss.
  LossResult loss(const at::Tensor& images_BCHW, const at::Tensor& noise_BN, UnitRunner& runner,
                  const at::Tensor& valid = {});

  // The prediction of every patch (B, N, E), in patchify's order and in the units of the loss's
  // target; the paper's forward pass.
  at::Tensor predict(const at::Tensor& images_BCHW, const ops::Masking& masking,
                     UnitRunner& runner);
  Reconstruction reconstruct(const Batch& batch, uint64_t seed, UnitRunner& runner) override;
  Reconstruction reconstruct(const at::Tensor& images_BCHW, const at::Tensor& noise_BN,
                             UnitRunner& runner, const at::Tensor& valid = {});

  torch::nn::Module& module() override { return *this; }
  const ModelSpec& spec() const override { return spec_; }
  void initialize(const std::string& name, const at::Tensor& values) const override;
  const VitDimensions& dimensions() const { return dimensions_; }

 private:
  at::Tensor encode(const at::Tensor& patches_BKD, UnitRunner& runner) const;
  at::Tensor predict_removed(const at::Tensor& images_BCHW, const ops::Masking& masking,
                             UnitRunner& runner) const;
  ops::PatchNormalization normalization() const;

  VitDimensions dimensions_;
  ModelSpec spec_;
  uint64_t seed_;
  at::Tensor cls_token_;
  at::Tensor pos_embed_;
  at::Tensor mask_token_;
  at::Tensor decoder_pos_embed_;
  std::shared_ptr<PatchEmbed> patch_embed_;
  std::shared_ptr<BlockList> blocks_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> decoder_embed_;
  std::shared_ptr<BlockList> decoder_blocks_;
  std::shared_ptr<LayerNorm> decoder_norm_;
  std::shared_ptr<Linear> decoder_pred_;
};

}  // namespace swath::models
