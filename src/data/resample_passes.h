// The two passes of a resampling, for bytes and for floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/resample_coefficients.h"

namespace swath::data {

// Vector instructions are chosen at run time; the results are the same. Tests try each.
enum class Instructions { kBest, kPlain };

// Rows of interleaved bands, `stride` values apart, of which the first is row `first_row` of the
// input grid and the first pixel is column `first_column`. The memory ends `values` after `pixels`.
template <class T>
struct PixelRows {
  const T* pixels = nullptr;
  int64_t values = 0;
  int64_t stride = 0;
  int64_t bands = 0;
  int64_t first_row = 0;
  int64_t first_column = 0;

  const T* row(int64_t grid_row) const { return pixels + (grid_row - first_row) * stride; }
};

// The result depends on the order a little, through rounding between the passes.
enum class PassOrder { kColumnsFirst, kRowsFirst };

// Output rows lie close together: horizontal.outputs() pixels each.
void resample_bytes(const PixelRows<uint8_t>& input, const AxisWeights& horizontal,
                    const AxisWeights& vertical, PassOrder order, Instructions instructions,
                    uint8_t* output);

// T: uint16_t, int16_t, float. Sums are of doubles, float32 between the passes.
template <class T>
void resample_floats(const PixelRows<T>& input, const AxisWeights& horizontal,
                     const AxisWeights& vertical, PassOrder order, Instructions instructions,
                     float* output);

}  // namespace swath::data
