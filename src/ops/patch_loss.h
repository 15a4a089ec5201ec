// MAE's loss: the mean squared error of the removed patches.
//
// B samples, N patches, R removed patches, E = p*p*C values of a patch in patchify's order.
// `valid`, where it is given, says which values were measured: bool, of the images (B, C or 1, H,
// W) or of the patches. The others enter neither the loss nor the normalisation; undefined: all
// were.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace swath::ops {

// How a patch of the target is normalised.
enum class PatchNormalization {
  kNone,
  // Mean and unbiased variance over all E values, as the paper's norm_pix_loss.
  kAllBands,
  // The same within each band: bands of different units do not mix.
  kPerBand,
};

struct PatchLoss {
  at::Tensor loss;    // one element, at least float32, differentiable in the prediction
  at::Tensor band_C;  // the same mean for each band alone, detached
  // Share of the removed values that were measured, one element; undefined without `valid`. Where
  // it is 0 the loss is 0.
  at::Tensor weight = {};
};

// (target - mean) / sqrt(variance + 1e-6) per patch; patches (..., E). Constant patches give 0.
at::Tensor normalize_patches(const at::Tensor& patches_BNE, int64_t channels,
                             PatchNormalization normalization, const at::Tensor& valid_BNE = {});

// Undoes normalize_patches for a prediction, with the mean and variance of the true patches.
at::Tensor denormalize_patches(const at::Tensor& prediction_BNE, const at::Tensor& patches_BNE,
                               int64_t channels, PatchNormalization normalization,
                               const at::Tensor& valid_BNE = {});

// prediction (B, R, E) of the patches ids_removed (B, R), against the images. Arithmetic is float32
// (float64 for a float64 prediction).
PatchLoss removed_patch_loss(const at::Tensor& prediction_BRE, const at::Tensor& images_BCHW,
                             const at::Tensor& ids_removed_BR, int64_t patch,
                             PatchNormalization normalization, const at::Tensor& valid_BCHW = {});

// The same from the prediction of every patch (B, N, E) and the mask (B, N), 1 where removed.
PatchLoss masked_patch_loss(const at::Tensor& prediction_BNE, const at::Tensor& images_BCHW,
                            const at::Tensor& mask_BN, int64_t patch,
                            PatchNormalization normalization, const at::Tensor& valid_BCHW = {});

}  // namespace swath::ops
