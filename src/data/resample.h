// Resizing that equals Pillow's Image.resize.
//
// Source: the separable, antialiased convolution that Pillow documents ("for each output pixel the
// filter is stretched over the input pixels that fall under it"); cubic filter of Keys, IEEE Trans.
// ASSP 29 (1981), with a = -0.5. The pass that comes first is chosen as Pillow 13 does; Pillow 12
// and older always resample columns first, which differs by a gray level or two in some crops.
//   uint8             bit-equal to Pillow: weights of 22 fractional bits, uint8 between the passes.
//   uint16, int16     computed as float32 values: the result is float32, equal to Pillow's mode
//   "F". float32           the same.
// Results are the same on every processor.
#pragma once

#include <cstdint>

#include "data/image.h"

namespace swath::data {

enum class ResampleFilter { kBilinear, kBicubic };

// What is to be computed: the box of an input grid becomes an output grid, of which the window is
// wanted. Keeping the grid apart from the pixels at hand lets a caller decode only what is needed.
struct ResampleGeometry {
  int64_t input_width = 0;
  int64_t input_height = 0;
  // In input pixels, edges. May lie between pixels.
  double box_left = 0;
  double box_top = 0;
  double box_right = 0;
  double box_bottom = 0;
  int64_t output_width = 0;
  int64_t output_height = 0;
  Region window;

  // The whole input to the whole output.
  static ResampleGeometry whole(int64_t input_width, int64_t input_height, int64_t output_width,
                                int64_t output_height);
};

// The part of the input that the window depends on.
Region needed_input(const ResampleGeometry& geometry, ResampleFilter filter);

// `input` holds the input grid's pixels from (part_left, part_top) on, at least needed_input().
// `output` gets the window; its memory is reused. Throws Error when pixels are missing.
// Thread rule: may be called from many threads; scratch memory is kept per thread.
void resample(const Image& input, int64_t part_left, int64_t part_top,
              const ResampleGeometry& geometry, ResampleFilter filter, Image* output);

Image resize_image(const Image& input, int64_t width, int64_t height,
                   ResampleFilter filter = ResampleFilter::kBicubic);

}  // namespace swath::data
