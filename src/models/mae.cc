#include "models/mae.h"

#include <utility>

#include "core/error.h"
#include "core/random.h"
#include "core/tensor/convert.h"
#include "core/tensor/torch.h"
#include "models/initialize.h"
#include "ops/backend.h"
#include "ops/patches.h"

namespace swath::models {
namespace {

// (B, N, D) -> (B, K, D)
at::Tensor gather_tokens(const at::Tensor& x_BND, const at::Tensor& ids_BK) {
  return x_BND.gather(1, ids_BK.unsqueeze(-1).expand({-1, -1, x_BND.size(2)}));
}

ops::Masking make_masking(const at::Tensor& noise_BN, int64_t num_kept, c10::Device device) {
  ops::Masking masking = ops::masking_from_noise(noise_BN, num_kept);
  masking.ids_shuffle_BN = copy_to_device(masking.ids_shuffle_BN, device);
  masking.ids_restore_BN = copy_to_device(masking.ids_restore_BN, device);
  masking.mask_BN = copy_to_device(masking.mask_BN, device);
  return masking;
}

// Undefined stays so: everything was measured.
at::Tensor crop_valid(const at::Tensor& valid, const at::Tensor& images_BCHW,
                      const VitDimensions& dimensions) {
  return valid.defined() ? crop_to_grid(valid.expand_as(images_BCHW), dimensions) : valid;
}

}  // namespace

at::Tensor mask_noise(uint64_t seed, uint64_t epoch, const std::vector<uint64_t>& sample_ids,
                      int64_t num_patches) {
  const auto batch = static_cast<int64_t>(sample_ids.size());
  const at::Tensor noise = at::empty({batch, num_patches}, at::TensorOptions(at::kFloat));
  float* out = noise.mutable_data_ptr<float>();
  for (const uint64_t id : sample_ids) {
    Random random(seed, RandomPurpose::kMask, epoch, id);
    for (int64_t n = 0; n < num_patches; ++n) *out++ = static_cast<float>(random.uniform());
  }
  return noise;
}

Mae::Mae(VitDimensions dimensions, uint64_t seed)
    : dimensions_(std::move(dimensions)), spec_(mae_spec(dimensions_)), seed_(seed) {
  const VitDimensions& d = dimensions_;
  const int64_t tokens = d.num_patches() + 1;
  cls_token_ = register_parameter("cls_token", torch::empty({1, 1, d.width}));
  pos_embed_ = register_parameter("pos_embed", torch::empty({1, tokens, d.width}), false);
  mask_token_ = register_parameter("mask_token", torch::empty({1, 1, d.decoder_width}));
  decoder_pos_embed_ =
      register_parameter("decoder_pos_embed", torch::empty({1, tokens, d.decoder_width}), false);
  patch_embed_ =
      register_module("patch_embed", std::make_shared<PatchEmbed>(d.width, d.channels, d.patch));
  blocks_ = register_module("blocks", std::make_shared<BlockList>("blocks", d.depth, d.width,
                                                                  d.heads, d.mlp, d.gated_mlp));
  norm_ = register_module("norm", std::make_shared<LayerNorm>(d.width));
  decoder_embed_ =
      register_module("decoder_embed", std::make_shared<Linear>(d.decoder_width, d.width));
  decoder_blocks_ = register_module(
      "decoder_blocks",
      std::make_shared<BlockList>("decoder_blocks", d.decoder_depth, d.decoder_width,
                                  d.decoder_heads, d.decoder_mlp, false));
  decoder_norm_ = register_module("decoder_norm", std::make_shared<LayerNorm>(d.decoder_width));
  decoder_pred_ =
      register_module("decoder_pred", std::make_shared<Linear>(d.patch_values(), d.decoder_width));
}

void Mae::initialize(const std::string& name, const at::Tensor& values) const {
  initialize_parameter(name, values, dimensions_, seed_);
}

ops::PatchNormalization Mae::normalization() const {
  if (!dimensions_.norm_pix_loss) return ops::PatchNormalization::kNone;
  return dimensions_.norm_pix_per_band ? ops::PatchNormalization::kPerBand
                                       : ops::PatchNormalization::kAllBands;
}

// Kept patches with their positions -> normalised tokens, CLS first: (B, K + 1, D).
at::Tensor Mae::encode(const at::Tensor& patches_BKD, UnitRunner& runner) const {
  const at::Tensor cls = cls_token_ + pos_embed_.slice(1, 0, 1).to(cls_token_.scalar_type());
  const at::Tensor x = at::cat({cls.expand({patches_BKD.size(0), -1, -1}), patches_BKD}, 1);
  return norm_->forward(blocks_->forward(x, runner));
}

at::Tensor Mae::predict(const at::Tensor& images_BCHW, const ops::Masking& masking,
                        UnitRunner& runner) {
  const at::Tensor patches_BND = patch_embed_->forward(images_BCHW);
  const at::ScalarType dtype = patches_BND.scalar_type();
  const at::Tensor positioned = patches_BND + pos_embed_.slice(1, 1).to(dtype);
  const at::Tensor latent = encode(gather_tokens(positioned, masking.ids_keep_BK()), runner);

  const at::Tensor visible = decoder_embed_->forward(latent);
  const int64_t removed = dimensions_.num_patches() - masking.num_kept;
  const at::Tensor shuffled =
      at::cat({visible.slice(1, 1), mask_token_.expand({visible.size(0), removed, -1})}, 1);
  const at::Tensor x =
      at::cat({visible.slice(1, 0, 1), gather_tokens(shuffled, masking.ids_restore_BN)}, 1) +
      decoder_pos_embed_.to(dtype);
  const at::Tensor decoded = decoder_norm_->forward(decoder_blocks_->forward(x, runner));
  return decoder_pred_->forward(decoded).slice(1, 1);
}

// The same for removed patches only, in the order of ids_removed: (B, N - K, E).
at::Tensor Mae::predict_removed(const at::Tensor& images_BCHW, const ops::Masking& masking,
                                UnitRunner& runner) const {
  const at::Tensor ids_keep = masking.ids_keep_BK();
  const at::Tensor patches_BKD = patch_embed_->forward(images_BCHW, ids_keep);
  const at::ScalarType dtype = patches_BKD.scalar_type();
  const at::Tensor position =
      pos_embed_[0].to(dtype).index_select(0, ids_keep.flatten() + 1).view(patches_BKD.sizes());
  const at::Tensor latent = encode(patches_BKD + position, runner);

  const at::Tensor x =
      ops::append_mask_tokens(decoder_embed_->forward(latent), mask_token_,
                              decoder_pos_embed_.to(dtype), masking.ids_shuffle_BN);
  const int64_t removed = dimensions_.num_patches() - masking.num_kept;
  const at::Tensor decoded = decoder_blocks_->forward_last(x, removed, runner);
  return decoder_pred_->forward(decoder_norm_->forward(decoded));
}

LossResult Mae::loss(const Batch& batch, UnitRunner& runner) {
  return loss(batch.images_BCHW,
              mask_noise(seed_, batch.epoch, batch.sample_ids, dimensions_.num_patches()), runner,
              batch.valid);
}

LossResult Mae::loss(const at::Tensor& images_BCHW, const at::Tensor& noise_BN, UnitRunner& runner,
                     const at::Tensor& valid) {
  const VitDimensions& d = dimensions_;
  if (noise_BN.size(0) != images_BCHW.size(0) || noise_BN.size(1) != d.num_patches()) {
    throw Error(fmt::format("mae: noise for {} samples of {} patches, but {} images of {}.",
                            noise_BN.size(0), noise_BN.size(1), images_BCHW.size(0),
                            d.num_patches()));
  }
  const at::Tensor images = crop_to_grid(images_BCHW, d);
  const at::Tensor measured = crop_valid(valid, images_BCHW, d);
  const ops::Masking masking = make_masking(noise_BN, d.num_kept(), images.device());
  const ops::PatchLoss result =
      ops::backend() == ops::Backend::kReference
          ? ops::masked_patch_loss(predict(images, masking, runner), images, masking.mask_BN,
                                   d.patch, normalization(), measured)
          : ops::removed_patch_loss(predict_removed(images, masking, runner), images,
                                    masking.ids_removed_BR(), d.patch, normalization(), measured);
  LossResult loss{result.loss, {}, result.weight};
  for (int64_t band = 0; d.channels > 1 && band < d.channels; ++band) {
    loss.metrics.emplace_back(fmt::format("loss_band_{}", band), result.band_C[band]);
  }
  return loss;
}

Reconstruction Mae::reconstruct(const Batch& batch, uint64_t seed, UnitRunner& runner) {
  return reconstruct(batch.images_BCHW,
                     mask_noise(seed, batch.epoch, batch.sample_ids, dimensions_.num_patches()),
                     runner, batch.valid);
}

Reconstruction Mae::reconstruct(const at::Tensor& images_BCHW, const at::Tensor& noise_BN,
                                UnitRunner& runner, const at::Tensor& valid) {
  const at::NoGradGuard no_grad;
  const VitDimensions& d = dimensions_;
  const at::Tensor images = crop_to_grid(images_BCHW, d);
  const ops::Masking masking = make_masking(noise_BN, d.num_kept(), images.device());
  const at::Tensor original = ops::patchify(images, d.patch);
  const at::Tensor measured = crop_valid(valid, images_BCHW, d);
  const at::Tensor predicted = ops::denormalize_patches(
      predict(images, masking, runner).to(original.scalar_type()), original, d.channels,
      normalization(), measured.defined() ? ops::patchify(measured, d.patch) : measured);
  const at::Tensor mask = masking.mask_BN.unsqueeze(-1).to(original.scalar_type());
  const auto picture = [&](const at::Tensor& patches) {
    return ops::unpatchify(patches, d.patch, d.channels, d.grid());
  };
  return {picture(original), picture(original * (1 - mask)),
          picture(original * (1 - mask) + predicted * mask),
          picture(mask.expand_as(original)).narrow(1, 0, 1) > 0};
}

}  // namespace swath::models
