#include "ops/patch_loss.h"

#include "core/tensor/convert.h"
#include "core/tensor/torch.h"
#include "ops/patches.h"

namespace swath::ops {
namespace {

constexpr double kVarianceFloor = 1e-6;

// (..., E) -> (..., values that share a mean and variance, groups of a patch)
at::Tensor normalized_groups(const at::Tensor& patches, int64_t channels,
                             PatchNormalization normalization) {
  const int64_t groups = normalization == PatchNormalization::kPerBand ? channels : 1;
  return patches.unflatten(-1, {patches.size(-1) / groups, groups});
}

struct GroupStatistics {
  at::Tensor mean;
  at::Tensor variance;  // unbiased
};

GroupStatistics statistics_of(const at::Tensor& groups, int64_t channels,
                              PatchNormalization normalization, const at::Tensor& valid) {
  if (!valid.defined()) {
    const auto [variance, mean] = at::var_mean(groups, {-2}, /*unbiased=*/true, /*keepdim=*/true);
    return {mean, variance};
  }
  const at::Tensor counted =
      normalized_groups(valid, channels, normalization).to(groups.scalar_type());
  const at::Tensor count = counted.sum({-2}, /*keepdim=*/true);
  const at::Tensor mean = (groups * counted).sum({-2}, true) / count.clamp_min(1);
  const at::Tensor squares = ((groups - mean).square() * counted).sum({-2}, true);
  return {mean, squares / (count - 1).clamp_min(1)};
}

// The mean of squares (..., E) where `counted` is 1; it is 0 elsewhere. `total` is how many values
// there would be with all measured: a number or a tensor of one.
template <class Total>
PatchLoss mean_of_counted(const at::Tensor& squares, const at::Tensor& counted, const Total& total,
                          int64_t channels) {
  const at::Tensor count = counted.sum();
  const at::Tensor sums = (squares * counted).reshape({-1, channels}).sum(0);
  const at::Tensor counts = counted.reshape({-1, channels}).sum(0);
  return {sums.sum() / count.clamp_min(1), (sums.detach() / counts.clamp_min(1)),
          (count / total).to(at::kFloat)};
}

}  // namespace

at::Tensor normalize_patches(const at::Tensor& patches_BNE, int64_t channels,
                             PatchNormalization normalization, const at::Tensor& valid_BNE) {
  if (normalization == PatchNormalization::kNone) return patches_BNE;
  const at::Tensor groups = normalized_groups(patches_BNE, channels, normalization);
  const GroupStatistics statistics = statistics_of(groups, channels, normalization, valid_BNE);
  return ((groups - statistics.mean) * (statistics.variance + kVarianceFloor).rsqrt()).flatten(-2);
}

at::Tensor denormalize_patches(const at::Tensor& prediction_BNE, const at::Tensor& patches_BNE,
                               int64_t channels, PatchNormalization normalization,
                               const at::Tensor& valid_BNE) {
  if (normalization == PatchNormalization::kNone) return prediction_BNE;
  const GroupStatistics statistics = statistics_of(
      normalized_groups(patches_BNE, channels, normalization), channels, normalization, valid_BNE);
  return (normalized_groups(prediction_BNE, channels, normalization) *
              (statistics.variance + kVarianceFloor).sqrt() +
          statistics.mean)
      .flatten(-2);
}

PatchLoss removed_patch_loss(const at::Tensor& prediction_BRE, const at::Tensor& images_BCHW,
                             const at::Tensor& ids_removed_BR, int64_t patch,
                             PatchNormalization normalization, const at::Tensor& valid_BCHW) {
  const int64_t channels = images_BCHW.size(1);
  const at::Tensor prediction = at_least_float(prediction_BRE);
  const auto removed = [&](const at::Tensor& patches_BNE) {
    return patches_BNE.gather(1,
                              ids_removed_BR.unsqueeze(-1).expand({-1, -1, patches_BNE.size(2)}));
  };
  const at::Tensor target = removed(patchify(images_BCHW, patch).to(prediction.scalar_type()));
  if (!valid_BCHW.defined()) {
    const at::Tensor difference = prediction - normalize_patches(target, channels, normalization);
    return {difference.square().mean(),
            difference.detach().reshape({-1, channels}).square().mean(0)};
  }
  const at::Tensor valid = removed(patchify(valid_BCHW.expand_as(images_BCHW), patch));
  const at::Tensor difference =
      prediction - normalize_patches(target, channels, normalization, valid);
  return mean_of_counted(difference.square(), valid.to(prediction.scalar_type()),
                         static_cast<double>(valid.numel()), channels);
}

PatchLoss masked_patch_loss(const at::Tensor& prediction_BNE, const at::Tensor& images_BCHW,
                            const at::Tensor& mask_BN, int64_t patch,
                            PatchNormalization normalization, const at::Tensor& valid_BCHW) {
  const int64_t channels = images_BCHW.size(1);
  const at::Tensor prediction = at_least_float(prediction_BNE);
  at::Tensor valid;
  if (valid_BCHW.defined()) valid = patchify(valid_BCHW.expand_as(images_BCHW), patch);
  const at::Tensor target = normalize_patches(
      patchify(images_BCHW, patch).to(prediction.scalar_type()), channels, normalization, valid);
  const at::Tensor mask = mask_BN.to(prediction.scalar_type());
  const at::Tensor removed = mask.sum();
  const at::Tensor squares = (prediction - target).square();
  if (valid.defined()) {
    return mean_of_counted(squares, mask.unsqueeze(-1) * valid,
                           removed * static_cast<double>(valid.size(2)), channels);
  }
  const at::Tensor loss = (squares.mean(-1) * mask).sum() / removed;
  const at::Tensor band =
      (squares.detach().unflatten(-1, {squares.size(-1) / channels, channels}).mean(-2) *
       mask.unsqueeze(-1))
          .sum(at::IntArrayRef({0, 1})) /
      removed;
  return {loss, band};
}

}  // namespace swath::ops
