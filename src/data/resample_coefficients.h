// The weights of a resampling along one axis.
#pragma once

#include <cstdint>
#include <vector>

#include "data/resample.h"

namespace swath::data {

// Output i of the window is the sum over t < taps of weights[i * taps + t] * input[first[i] + t].
// Weights beyond count[i] are zero; `taps` is a multiple of four, for the vector loops.
struct AxisWeights {
  int64_t taps = 0;
  std::vector<int32_t> first;
  std::vector<int32_t> count;
  std::vector<double> weights;

  int64_t outputs() const { return static_cast<int64_t>(first.size()); }
  // The first input and the one after the last that any output needs.
  int64_t begin() const;
  int64_t end() const;
};

// One axis of a ResampleGeometry; `axis` is overwritten and its memory reused.
void compute_weights(int64_t input_size, double box_begin, double box_end, int64_t output_size,
                     int64_t window_begin, int64_t window_size, ResampleFilter filter,
                     AxisWeights* axis);

// Weights with 22 fractional bits, as Pillow rounds them, split for 16-bit multiplication:
// weight = high * 2^12 + low with 0 <= low < 2^12. Pairs of taps lie in one word (first tap in the
// lower half), as pmaddwd wants them: pairs[i * taps / 2 + p].
struct FixedPointWeights {
  std::vector<int32_t> whole;
  std::vector<int32_t> low_pairs;
  std::vector<int32_t> high_pairs;
};
constexpr int kWeightBits = 22;
constexpr int kLowBits = 12;

void compute_fixed_point(const AxisWeights& axis, FixedPointWeights* fixed);

}  // namespace swath::data
