// Where to cut an image.
#pragma once

#include <cstdint>

#include "core/random.h"
#include "data/image.h"
#include "data/resample.h"

namespace swath::data {

struct CropRange {
  double scale_min = 0.2;  // share of the image's area
  double scale_max = 1.0;
  double ratio_min = 3.0 / 4.0;  // width / height
  double ratio_max = 4.0 / 3.0;
};

// torchvision's RandomResizedCrop: up to ten draws of area (uniform) and aspect ratio (log-uniform)
// until the window fits, else the largest central window within the ratios.
Region random_resized_crop(int64_t width, int64_t height, const CropRange& range, Random& random);

// MAE's probe: a single draw, each side clamped to the image.
Region single_draw_crop(int64_t width, int64_t height, const CropRange& range, Random& random);

// A window of size x size at a uniform place; the image is at least that large.
Region random_window(int64_t width, int64_t height, int64_t size, Random& random);

// torchvision's Resize(short_side) followed by CenterCrop(size), as one resampling.
ResampleGeometry resize_and_center_crop(int64_t width, int64_t height, int64_t short_side,
                                        int64_t size);

}  // namespace swath::data
