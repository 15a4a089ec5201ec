// `swath reconstruct`: what a masked model sees, what it gets, what it makes of it.
//
// n samples, C bands, H = W image side.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/skipped_list.h"
#include "data/transform.h"
#include "models/objective.h"

namespace swath::eval {

struct ReconstructOptions {
  int64_t samples = 8;
  // Bands shown as red, green and blue, counted in the model's input; one band is shown gray.
  // Empty: 0, 1, 2, or gray for fewer than three bands.
  std::vector<int64_t> rgb;
  // Per band, these percentiles of each original picture become black and white; a picture with
  // little contrast is stretched less.
  double low_percentile = 1;
  double high_percentile = 99;
  int64_t zoom = 0;  // pixels of the picture per pixel of the image; 0: so that it is 128 or more
  int64_t gap = 4;   // white pixels between pictures

  void describe(FieldTable& fields);
};

// Pictures (n, C, H, W) in stored units to a grid: one row per sample, columns original, masked,
// reconstruction. `masked` shows removed patches in gray: those where `removed_NHW` is true.
data::Image draw_grid(const at::Tensor& original_NCHW, const at::Tensor& reconstruction_NCHW,
                      const at::Tensor& removed_NHW, const ReconstructOptions& options);

struct ReconstructInputs {
  models::MaskedModel* model = nullptr;
  std::shared_ptr<const data::Dataset> dataset;
  data::Normalization normalization;
  // Of evaluation: center_crop or none, with the model's size. Flips and turns are switched off.
  data::TransformOptions transform;
  c10::Device device = c10::Device(c10::kCPU);
  uint64_t seed = 0;                           // of the choice of samples and of the masks
  bool skip_bad = false;                       // take another sample for an unusable one
  std::shared_ptr<data::SkippedList> skipped;  // where those are listed; none: only in the log
};

// Writes the grid as PNG. {"images": [path], "samples": [names], "rgb": [bands],
//  "mean_squared_error": of removed pixels in normalised units}.
Json run_reconstruct(const ReconstructInputs& inputs, const ReconstructOptions& options,
                     const std::filesystem::path& png_path);

}  // namespace swath::eval
