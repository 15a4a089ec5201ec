// From an image source to the network's input: crop, resize, flip, normalise.
//
// Random choices come from a Random keyed by (seed, epoch, sample id), so a sample looks the same
// for any number of threads and ranks. The crop is drawn first, then the flip or turn.
// Crops and resizing are those of torchvision and Pillow (crop.h, resample.h). Only the pixels that
// the crop needs are decoded.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/random.h"
#include "data/image.h"

namespace swath::data {

// Per-band statistics of the training data in units of the stored pixels, or of the calibrated
// values where the data calibrate.
struct Normalization {
  std::vector<double> mean;
  std::vector<double> standard_deviation;
};

struct TransformOptions {
  // random_resized_crop: MAE's pretraining; probe_crop: the same with a single draw and no retry;
  // center_crop: evaluation; random_crop: a window of `size` without resizing; center_window: the
  // one in the middle; none: the image has the right size already.
  std::string kind = "random_resized_crop";
  int64_t size = 224;
  double scale_min = 0.2;
  double scale_max = 1.0;
  double ratio_min = 3.0 / 4.0;
  double ratio_max = 4.0 / 3.0;
  bool horizontal_flip = true;
  bool dihedral = false;         // one of the eight turns and mirrors of a square
  bool jpeg_fast_scale = false;  // decode JPEG at a fraction of its size where the crop allows
  double resize_ratio = 0.875;   // center_crop: short side to floor(size / resize_ratio)
  std::vector<int64_t> bands;    // 0-based; empty: all
  // Decoded pixels that one thread holds at a time; larger crops are decoded in strips.
  int64_t memory_limit_mb = 256;

  void describe(FieldTable& fields);
  // The same view of an image without a random choice: its centre instead of a crop, no flip.
  TransformOptions without_random_choices() const;
};

class Transform {
 public:
  // Throws UsageError for options or statistics that contradict each other, and for a band whose
  // standard deviation is zero.
  Transform(TransformOptions options, Normalization normalization);

  // Writes (C, size, size) float32 to `out_CHW`. Throws BadSample for unusable input: wrong band
  // count, NaN or infinite pixels in the crop, an image smaller than the transform allows.
  // With `valid_CHW` (same shape), values that a source declares missing (ImageInfo::has_missing)
  // are 0 in the result and false there; a resampled value is missing when a missing one would
  // have had a part in it. Without it they are an error.
  // Thread rule: may be called from many threads; scratch memory is kept per thread.
  void apply(const ImageSource& source, Random& random, float* out_CHW,
             bool* valid_CHW = nullptr) const;

  int64_t channels() const { return static_cast<int64_t>(normalization_.mean.size()); }
  const TransformOptions& options() const { return options_; }
  const Normalization& normalization() const { return normalization_; }

 private:
  TransformOptions options_;
  Normalization normalization_;
  std::vector<float> mean_;
  std::vector<float> inverse_deviation_;
};

}  // namespace swath::data
