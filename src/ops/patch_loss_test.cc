#include "ops/patch_loss.h"

#include <array>

#include "ops/gradient_check.h"
#include "ops/masking.h"
#include "ops/patches.h"

namespace swath::ops {
namespace {

using Inputs = std::vector<at::Tensor>;
constexpr PatchNormalization kAll[] = {PatchNormalization::kNone, PatchNormalization::kAllBands,
                                       PatchNormalization::kPerBand};

at::Tensor removed_only(const at::Tensor& x_BNE, const Masking& masking) {
  return x_BNE.gather(1, masking.ids_removed_BR().unsqueeze(-1).expand({-1, -1, x_BNE.size(2)}));
}

TEST(PatchLoss, AgreesInBothVersions) {
  const at::Tensor images = random_tensor({2, 3, 8, 8}, 1) * 3 + 2;
  const Masking masking = masking_from_noise(random_tensor({2, 4}, 2), 1);
  for (const PatchNormalization normalization : kAll) {
    SCOPED_TRACE(static_cast<int>(normalization));
    // The result is at least float32, so bfloat16 predictions are widened first here.
    const auto function = [&](const Inputs& in) {
      return removed_patch_loss(in[0], images.to(at::kFloat).to(at::kDouble),
                                masking.ids_removed_BR(), 4, normalization)
          .loss.to(in[0].scalar_type());
    };
    expect_versions_agree(function, {random_tensor({2, 3, 48}, 3)});
  }
}

TEST(PatchLoss, RemovedAndMaskedFormsAreTheSame) {
  const at::Tensor images = random_tensor({2, 3, 8, 8}, 1);
  const Masking masking = masking_from_noise(random_tensor({2, 4}, 2), 1);
  const at::Tensor prediction = random_tensor({2, 4, 48}, 3);
  for (const PatchNormalization normalization : kAll) {
    const PatchLoss masked =
        masked_patch_loss(prediction, images, masking.mask_BN, 4, normalization);
    const PatchLoss removed = removed_patch_loss(removed_only(prediction, masking), images,
                                                 masking.ids_removed_BR(), 4, normalization);
    expect_close(removed.loss, masked.loss, 1e-14, "loss");
    expect_close(removed.band_C, masked.band_C, 1e-14, "bands");
    expect_close(removed.band_C.mean(), removed.loss, 1e-14, "mean of bands");
  }
}

TEST(PatchLoss, KeptPatchesDoNotCount) {
  const at::Tensor images = random_tensor({2, 1, 8, 8}, 1);
  const Masking masking = masking_from_noise(random_tensor({2, 4}, 2), 2);
  const at::Tensor prediction = random_tensor({2, 4, 16}, 3);
  const at::Tensor kept = (1 - masking.mask_BN).unsqueeze(-1);
  const auto loss = [&](const at::Tensor& p) {
    return masked_patch_loss(p, images, masking.mask_BN, 4, PatchNormalization::kAllBands)
        .loss.item<double>();
  };
  EXPECT_EQ(loss(prediction), loss(prediction + 1000 * kept));
  EXPECT_NE(loss(prediction), loss(prediction + 1000 * (1 - kept)));
}

// A zero prediction of normalised patches errs by the biased variance over the unbiased.
TEST(PatchLoss, ZeroPredictionGivesNMinusOneOverN) {
  const at::Tensor images = random_tensor({8, 3, 16, 16}, 1) * 50 + 7;
  const Masking masking = masking_from_noise(random_tensor({8, 16}, 2), 4);
  const double loss = masked_patch_loss(at::zeros({8, 16, 48}, images.options()), images,
                                        masking.mask_BN, 4, PatchNormalization::kAllBands)
                          .loss.item<double>();
  EXPECT_NEAR(loss, 47.0 / 48.0, 1e-6);
}

TEST(PatchLoss, ConstantPatchHasTargetZero) {
  const at::Tensor patches = at::full({1, 1, 12}, 3.5, at::TensorOptions(at::kDouble));
  for (const PatchNormalization normalization :
       {PatchNormalization::kAllBands, PatchNormalization::kPerBand}) {
    EXPECT_EQ(normalize_patches(patches, 3, normalization).abs().max().item<double>(), 0);
  }
}

TEST(PatchLoss, PerBandNormalisesEachBandByItself) {
  at::Tensor patches = random_tensor({2, 3, 16, 2}, 1);
  patches.select(-1, 1).mul_(1e4).add_(300);  // another unit
  const at::Tensor flat = patches.flatten(-2);
  const at::Tensor normalized =
      normalize_patches(flat, 2, PatchNormalization::kPerBand).unflatten(-1, {16, 2});
  EXPECT_LT(normalized.mean(2).abs().max().item<double>(), 1e-9);
  expect_close(normalized.var({2}, true), at::ones({2, 3, 2}, patches.options()), 1e-5, "variance");
  for (const PatchNormalization normalization : kAll) {
    expect_close(
        denormalize_patches(normalize_patches(flat, 2, normalization), flat, 2, normalization),
        flat, 1e-12, "inverse");
  }
}

// By hand: what was not measured counts for nothing, whatever stands there.
TEST(PatchLoss, ValuesThatWereNotMeasuredDoNotCount) {
  const at::Tensor images = random_tensor({2, 3, 8, 8}, 1) * 3 + 2;
  const Masking masking = masking_from_noise(random_tensor({2, 4}, 2), 1);
  const at::Tensor prediction = random_tensor({2, 4, 48}, 3);
  const at::Tensor valid = random_tensor({2, 3, 8, 8}, 4) > -0.5;
  const at::Tensor garbled = at::where(valid, images, at::full({}, 1e4, images.options()));
  const at::Tensor patches = patchify(images, 4);
  const at::Tensor measured = patchify(valid, 4);
  for (const PatchNormalization normalization : kAll) {
    SCOPED_TRACE(static_cast<int>(normalization));
    const PatchLoss masked =
        masked_patch_loss(prediction, garbled, masking.mask_BN, 4, normalization, valid);
    const PatchLoss removed = removed_patch_loss(removed_only(prediction, masking), garbled,
                                                 masking.ids_removed_BR(), 4, normalization, valid);
    std::array<double, 3> sums{};
    std::array<double, 3> counts{};
    for (int64_t sample = 0; sample < 2; ++sample) {
      for (int64_t n = 0; n < 4; ++n) {
        if (masking.mask_BN[sample][n].item<double>() == 0) continue;
        const at::Tensor values = patches[sample][n].reshape({16, 3});
        const at::Tensor counted = measured[sample][n].reshape({16, 3});
        const at::Tensor predicted = prediction[sample][n].reshape({16, 3});
        for (int64_t band = 0; band < 3; ++band) {
          at::Tensor group = values.select(1, band).masked_select(counted.select(1, band));
          const at::Tensor own = group;
          if (normalization == PatchNormalization::kAllBands) group = values.masked_select(counted);
          const bool is_plain = normalization == PatchNormalization::kNone;
          const at::Tensor target =
              is_plain ? own : (own - group.mean()) / (group.var(true) + 1e-6).sqrt();
          const at::Tensor own_prediction =
              predicted.select(1, band).masked_select(counted.select(1, band));
          sums[static_cast<size_t>(band)] +=
              (own_prediction - target).square().sum().item<double>();
          counts[static_cast<size_t>(band)] += static_cast<double>(own.numel());
        }
      }
    }
    const double count = counts[0] + counts[1] + counts[2];
    for (const PatchLoss& loss : {masked, removed}) {
      EXPECT_NEAR(loss.loss.item<double>(), (sums[0] + sums[1] + sums[2]) / count, 1e-9);
      EXPECT_NEAR(loss.weight.item<double>(), count / (6 * 48), 1e-6);
      for (size_t band = 0; band < 3; ++band) {
        EXPECT_NEAR(loss.band_C[static_cast<int64_t>(band)].item<double>(),
                    sums[band] / counts[band], 1e-9);
      }
    }
  }
}

TEST(PatchLoss, NothingMeasuredGivesZeroWithFiniteGradients) {
  const at::Tensor images = random_tensor({1, 2, 4, 4}, 1);
  at::Tensor prediction = random_tensor({1, 4, 8}, 2).requires_grad_(true);
  const at::Tensor mask = at::ones({1, 4}, images.options());
  const at::Tensor none = at::zeros({1, 1, 4, 4}, at::TensorOptions(at::kBool));
  const PatchLoss loss =
      masked_patch_loss(prediction, images, mask, 2, PatchNormalization::kPerBand, none);
  loss.loss.backward();
  EXPECT_EQ(loss.loss.item<double>(), 0);
  EXPECT_EQ(loss.weight.item<double>(), 0);
  EXPECT_EQ(prediction.grad().abs().max().item<double>(), 0);
}

TEST(PatchLoss, IsAtLeastFloat32) {
  const at::Tensor images = random_tensor({1, 1, 4, 4}, 1).to(at::kFloat);
  const at::Tensor mask = torch::tensor({{1.0F, 0.0F, 1.0F, 1.0F}});
  const PatchLoss loss = masked_patch_loss(at::zeros({1, 4, 4}, at::TensorOptions(at::kBFloat16)),
                                           images, mask, 2, PatchNormalization::kNone);
  EXPECT_EQ(loss.loss.scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace swath::ops
