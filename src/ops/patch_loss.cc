#include "ops/patch_loss.h"

#include <torch/torch.h>

#include "core/tensor/convert.h"
#include "ops/patches.h"

namespace swath::ops {
namespace {

constexpr double kVarianceFloor = 1e-6;

struct MeanSquare {
  at::Tensor loss;
  at::Tensor band_C;
};

MeanSquare mean_square(const at::Tensor& difference_RE, int64_t channels) {
  const at::Tensor detached = difference_RE.detach();
  return {difference_RE.square().mean(), detached.reshape({-1, channels}).square().mean(0)};
}

// (..., E) -> (..., values that share a mean and variance, groups of a patch)
at::Tensor normalized_groups(const at::Tensor& patches, int64_t channels,
                             PatchNormalization normalization) {
  const int64_t groups = normalization == PatchNormalization::kPerBand ? channels : 1;
  return patches.unflatten(-1, {patches.size(-1) / groups, groups});
}

}  // namespace

at::Tensor normalize_patches(const at::Tensor& patches_BNE, int64_t channels,
                             PatchNormalization normalization) {
  if (normalization == PatchNormalization::kNone) return patches_BNE;
  const at::Tensor groups = normalized_groups(patches_BNE, channels, normalization);
  const auto [variance, mean] = at::var_mean(groups, {-2}, /*unbiased=*/true, /*keepdim=*/true);
  return ((groups - mean) * (variance + kVarianceFloor).rsqrt()).flatten(-2);
}

at::Tensor denormalize_patches(const at::Tensor& prediction_BNE, const at::Tensor& patches_BNE,
                               int64_t channels, PatchNormalization normalization) {
  if (normalization == PatchNormalization::kNone) return prediction_BNE;
  const at::Tensor groups = normalized_groups(patches_BNE, channels, normalization);
  const auto [variance, mean] = at::var_mean(groups, {-2}, /*unbiased=*/true, /*keepdim=*/true);
  return (normalized_groups(prediction_BNE, channels, normalization) *
              (variance + kVarianceFloor).sqrt() +
          mean)
      .flatten(-2);
}

PatchLoss removed_patch_loss(const at::Tensor& prediction_BRE, const at::Tensor& images_BCHW,
                             const at::Tensor& ids_removed_BR, int64_t patch,
                             PatchNormalization normalization) {
  const int64_t channels = images_BCHW.size(1);
  const at::Tensor prediction = at_least_float(prediction_BRE);
  const at::Tensor all = patchify(images_BCHW, patch).to(prediction.scalar_type());
  const at::Tensor target =
      all.gather(1, ids_removed_BR.unsqueeze(-1).expand({-1, -1, all.size(2)}));
  const MeanSquare result =
      mean_square(prediction - normalize_patches(target, channels, normalization), channels);
  return {result.loss, result.band_C};
}

PatchLoss masked_patch_loss(const at::Tensor& prediction_BNE, const at::Tensor& images_BCHW,
                            const at::Tensor& mask_BN, int64_t patch,
                            PatchNormalization normalization) {
  const int64_t channels = images_BCHW.size(1);
  const at::Tensor prediction = at_least_float(prediction_BNE);
  const at::Tensor target = normalize_patches(
      patchify(images_BCHW, patch).to(prediction.scalar_type()), channels, normalization);
  const at::Tensor mask = mask_BN.to(prediction.scalar_type());
  const at::Tensor removed = mask.sum();
  const at::Tensor squares = (prediction - target).square();
  const at::Tensor loss = (squares.mean(-1) * mask).sum() / removed;
  const at::Tensor band =
      (squares.detach().unflatten(-1, {squares.size(-1) / channels, channels}).mean(-2) *
       mask.unsqueeze(-1))
          .sum(at::IntArrayRef({0, 1})) /
      removed;
  return {loss, band};
}

}  // namespace swath::ops
