// The last step of a transform: interleaved pixels to normalised float planes.
#pragma once

#include <span>

namespace swath::data {

struct Image;

// One of the eight turns and mirrors of a square: first transposed, then mirrored.
struct Orientation {
  bool transpose = false;
  bool mirror_rows = false;     // upside down
  bool mirror_columns = false;  // left to right
};

// out[band][row][column] = (pixel - mean[band]) * inverse_deviation[band], where (row, column) of
// the output is `orientation` applied to the image. `out` holds bands x height x width floats (of
// the oriented image). The same result on every processor.
void normalize_to_planes(const Image& image, const Orientation& orientation,
                         std::span<const float> mean, std::span<const float> inverse_deviation,
                         float* out);

}  // namespace swath::data
