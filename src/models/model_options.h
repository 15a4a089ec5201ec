// Which model, in which size: the presets, what a user may change about them, and the checked
// result. Free of LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "models/swin_options.h"

namespace swath::models {

// What a user sets. 0 and "" take the preset's value.
struct ModelOptions {
  std::string name = "vit_base";
  int64_t width = 0;
  int64_t depth = 0;
  int64_t heads = 0;
  int64_t mlp = 0;
  std::string mlp_kind;  // "", "plain", "gated"
  int64_t patch = 0;
  int64_t image_size = 0;
  int64_t channels = 0;
  int64_t decoder_width = 0;
  int64_t decoder_depth = 0;
  int64_t decoder_heads = 0;
  double mask_ratio = 0.75;
  bool norm_pix_loss = true;
  bool norm_pix_per_band = false;
  std::string remainder = "top_left";
  SwinOptions swin;

  void describe(FieldTable& fields);
};

// A ViT with its MAE decoder, complete and consistent.
struct VitDimensions {
  std::string name;
  int64_t width = 0;
  int64_t depth = 0;
  int64_t heads = 0;
  int64_t mlp = 0;
  bool gated_mlp = false;
  int64_t patch = 0;
  int64_t image_size = 0;  // of the images handed in; the last remainder() pixels are not used
  int64_t channels = 0;
  int64_t decoder_width = 0;
  int64_t decoder_depth = 0;
  int64_t decoder_heads = 0;
  int64_t decoder_mlp = 0;
  double mask_ratio = 0.75;
  bool norm_pix_loss = true;
  bool norm_pix_per_band = false;
  // Which part of the image counts when its side is no multiple of the patch: false: the top left
  // (what a convolution does), true: the centre.
  bool crop_center = false;

  int64_t grid() const { return image_size / patch; }
  int64_t num_patches() const { return grid() * grid(); }
  int64_t used_size() const { return grid() * patch; }
  int64_t remainder() const { return image_size - used_size(); }
  // floor(N (1 - ratio)), computed as MAE's code computes it.
  int64_t num_kept() const {
    return static_cast<int64_t>(static_cast<double>(num_patches()) * (1 - mask_ratio));
  }
  int64_t patch_values() const { return channels * patch * patch; }
};

// Names of all presets, ViTs and then SwinV2s, each small to large.
std::vector<std::string> model_names();

// The same model for images of another size: what was learned about positions keeps its meaning.
ModelOptions resized(const ModelOptions& options, int64_t image_size);

// The ViT preset with the changes. Throws UsageError for an unknown name (with the nearest known
// one) or sizes that do not fit together; both sides of a mismatch are named.
VitDimensions resolve(const ModelOptions& options);

}  // namespace swath::models
