// SwinV2 in its sizes, and how SimMIM trains it: what a user sets, and the checked result. Free of
// LibTorch.
//
// Sources: Liu et al., CVPR 2022 (Swin Transformer V2), Xie et al., CVPR 2022 (SimMIM), and the
// code that Microsoft published with both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"

namespace swath::models {

struct ModelOptions;

// What a user sets beside ModelOptions. 0 and empty lists take the preset's value.
struct SwinOptions {
  std::vector<int64_t> depths;
  int64_t window = 0;
  // The windows that the position bias was trained with, one per stage, or two (rows, columns) per
  // stage; empty: the windows used here.
  std::vector<int64_t> pretrained_windows;
  std::string tokens = "joint";
  int64_t mask_unit = 0;
  double mask_ratio = 0.6;
  std::string masks = "tube";
  std::string loss = "l1";
  int64_t target_window = 0;
  double drop_path = 0;

  void describe(FieldTable& fields);
  bool operator==(const SwinOptions&) const = default;
};

// One stage: blocks over a map of rows x columns tokens, cut into windows that tile it.
struct SwinStage {
  int64_t depth = 0;
  int64_t width = 0;
  int64_t heads = 0;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t window_rows = 0;
  int64_t window_columns = 0;
  // Of odd blocks; 0 on an axis that one window spans.
  int64_t shift_rows = 0;
  int64_t shift_columns = 0;
  int64_t pretrained_rows = 0;
  int64_t pretrained_columns = 0;

  int64_t tokens() const { return rows * columns; }
  int64_t window_tokens() const { return window_rows * window_columns; }
  int64_t mlp() const { return 4 * width; }
};

// SwinV2 with SimMIM's decoder, complete and consistent.
struct SwinDimensions {
  std::string name;
  int64_t width = 0;  // of the first stage; each stage doubles it
  int64_t heads = 0;  // of the first stage, likewise
  std::vector<SwinStage> stages;
  int64_t patch = 0;
  int64_t image_size = 0;
  int64_t channels = 0;
  int64_t window = 0;
  // false: a token holds one patch of all bands. true: each band has tokens of its own; its images
  // stand side by side in a mosaic, bands row by row.
  bool per_band = false;
  int64_t mask_unit = 0;  // side in pixels of the squares that SimMIM masks
  double mask_ratio = 0.6;
  bool masks_per_band = false;  // false: the same squares in every band
  bool cross_entropy = false;   // false: L1
  int64_t target_window = 0;    // 0: targets as they are; else normalised in a window of that side
  double drop_path = 0;         // in pretraining

  // Of the mosaic; 1 x 1 where bands share tokens. As square as the bands' number allows.
  int64_t tile_rows() const;
  int64_t tile_columns() const;
  int64_t depth() const;  // of all stages
  int64_t grid() const { return image_size / patch; }
  int64_t input_channels() const { return per_band ? 1 : channels; }
  // Side in pixels of what one token of the last stage covers: the decoder's stride.
  int64_t stride() const { return patch << (stages.size() - 1); }
  int64_t last_width() const { return stages.back().width; }
  // Masked squares are drawn on this many maps of units_a_side() squared units.
  int64_t mask_maps() const { return masks_per_band ? channels : 1; }
  int64_t units_a_side() const { return image_size / mask_unit; }
  int64_t num_units() const { return units_a_side() * units_a_side(); }
  // ceil(ratio x units), computed as SimMIM's code computes it.
  int64_t num_masked() const;
  // Values the decoder gives for each pixel of its map.
  int64_t decoder_channels() const;
};

// Cross-entropy: pixel features, and bins of equal width per band between these limits of the
// normalised value; the outer bins are open.
inline constexpr int64_t kPixelFeatures = 16;
inline constexpr int64_t kBins = 32;
inline constexpr double kBinLimit = 3.0;
// Hidden width of the MLP behind the position bias.
inline constexpr int64_t kPositionHidden = 512;

std::vector<std::string> swin_names();
bool is_swin(const std::string& name);

// The preset with the changes; throws UsageError as resolve() of a ViT does.
SwinDimensions resolve_swin(const ModelOptions& options);

}  // namespace swath::models
