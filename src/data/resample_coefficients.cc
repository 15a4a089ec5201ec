#include "data/resample_coefficients.h"

#include <algorithm>
#include <cmath>

namespace swath::data {
namespace {

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double bicubic(double x) {
  constexpr double kSharpness = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kSharpness + 2.0) * x - (kSharpness + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kSharpness;
  return 0.0;
}

template <class Filter>
void fill(int64_t input_size, double box_begin, double scale, double support, double stretch,
          int64_t window_begin, Filter filter, AxisWeights* axis) {
  const double shrink = 1.0 / stretch;
  for (int64_t i = 0; i < axis->outputs(); ++i) {
    const double center = box_begin + (static_cast<double>(window_begin + i) + 0.5) * scale;
    // Truncation after adding a half, as Pillow rounds; a negative value becomes 0 below anyway.
    const int64_t begin = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t end = std::min(input_size, static_cast<int64_t>(center + support + 0.5));
    double* weights = axis->weights.data() + i * axis->taps;
    double sum = 0;
    for (int64_t tap = 0; tap < end - begin; ++tap) {
      weights[tap] = filter((static_cast<double>(tap + begin) - center + 0.5) * shrink);
      sum += weights[tap];
    }
    for (int64_t tap = 0; tap < end - begin; ++tap) {
      if (sum != 0) weights[tap] /= sum;
    }
    for (int64_t tap = end - begin; tap < axis->taps; ++tap) weights[tap] = 0;
    axis->first[static_cast<size_t>(i)] = static_cast<int32_t>(begin);
    axis->count[static_cast<size_t>(i)] = static_cast<int32_t>(end - begin);
  }
}

int32_t packed_pair(int32_t first, int32_t second) {
  return static_cast<int32_t>((static_cast<uint32_t>(first) & 0xFFFF) |
                              static_cast<uint32_t>(second) << 16);
}

}  // namespace

int64_t AxisWeights::begin() const { return *std::min_element(first.begin(), first.end()); }

int64_t AxisWeights::end() const {
  int64_t end = 0;
  for (size_t i = 0; i < first.size(); ++i) end = std::max<int64_t>(end, first[i] + count[i]);
  return end;
}

void compute_weights(int64_t input_size, double box_begin, double box_end, int64_t output_size,
                     int64_t window_begin, int64_t window_size, ResampleFilter filter,
                     AxisWeights* axis) {
  const double scale = (box_end - box_begin) / static_cast<double>(output_size);
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == ResampleFilter::kBicubic ? 2.0 : 1.0) * stretch;
  const auto most_taps = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  // Enlarging almost never needs the odd fifth tap; found out below, it keeps the loops short.
  axis->taps = (most_taps + 3) / 4 * 4;
  axis->first.resize(static_cast<size_t>(window_size));
  axis->count.resize(static_cast<size_t>(window_size));
  axis->weights.resize(static_cast<size_t>(window_size * axis->taps));
  if (filter == ResampleFilter::kBicubic) {
    fill(input_size, box_begin, scale, support, stretch, window_begin, bicubic, axis);
  } else {
    fill(input_size, box_begin, scale, support, stretch, window_begin, bilinear, axis);
  }
  const int64_t needed = *std::max_element(axis->count.begin(), axis->count.end());
  const int64_t taps = std::max<int64_t>(4, (needed + 3) / 4 * 4);
  if (taps < axis->taps) {
    for (int64_t i = 1; i < window_size; ++i) {
      std::copy_n(axis->weights.begin() + i * axis->taps, taps, axis->weights.begin() + i * taps);
    }
    axis->taps = taps;
  }
}

void compute_fixed_point(const AxisWeights& axis, FixedPointWeights* fixed) {
  const auto size = static_cast<size_t>(axis.outputs() * axis.taps);
  fixed->whole.resize(size);
  fixed->low_pairs.resize(size / 2);
  fixed->high_pairs.resize(size / 2);
  constexpr double kOne = 1 << kWeightBits;
  for (size_t i = 0; i < size; ++i) {
    const double weight = axis.weights[i];
    fixed->whole[i] = static_cast<int32_t>(weight < 0 ? weight * kOne - 0.5 : weight * kOne + 0.5);
  }
  constexpr int32_t kLowMask = (1 << kLowBits) - 1;
  for (size_t i = 0; i < size; i += 2) {
    const int32_t first = fixed->whole[i];
    const int32_t second = fixed->whole[i + 1];
    fixed->low_pairs[i / 2] = packed_pair(first & kLowMask, second & kLowMask);
    fixed->high_pairs[i / 2] = packed_pair(first >> kLowBits, second >> kLowBits);
  }
}

}  // namespace swath::data
