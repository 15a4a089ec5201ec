// From stored integers to physical values, for records whose scales are their own.
//
// A satellite's product stores 16-bit counts with a scale and an offset per band and file; counts
// above a limit are codes that say why there is no value. Calibrating while records are read keeps
// them at two bytes a value, and leaves the choice of the unit to the run.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/normalize.h"

namespace swath::data {

// Inverse of Planck's law for a band of finite width: T = (T* - intercept) / slope with
// T* = argument / ln(numerator / L + 1).
struct PlanckInverse {
  double numerator = 0;  // c1 / lambda^5, in units of L
  double argument = 0;   // c2 / lambda, in K
  double slope = 1;
  double intercept = 0;

  // K; NaN where the radiance is not positive.
  double temperature(double radiance) const;
};

struct BandCalibration {
  double scale = 1;  // linear value = scale * (count - offset)
  double offset = 0;
  std::optional<PlanckInverse> to_temperature;  // of the linear value, where that is a radiance
};

struct Calibration {
  std::vector<BandCalibration> bands;
  uint16_t largest_valid = 32767;  // counts above it have no value

  // NaN where there is none.
  double value(size_t band, uint16_t count) const;
};

// `count` pixels of interleaved bands; `bands` selects from the record's `stored_bands` (empty:
// all). Writes the selected bands interleaved; NaN marks values that are missing.
void calibrate_pixels(const uint16_t* counts, int64_t pixels, int64_t stored_bands,
                      std::span<const int64_t> bands, const Calibration& calibration, float* out);

// The whole way to the network's input in one pass: out[band][row][column] = (value - mean) *
// inverse_deviation of a window of `height` x `width` pixels whose first count is at `counts` and
// whose rows are `row_counts` apart. Missing values become 0, and false in `valid` (same shape).
// Any orientation of square windows; others cannot be transposed.
void calibrate_to_planes(const uint16_t* counts, int64_t row_counts, int64_t stored_bands,
                         std::span<const int64_t> bands, int64_t height, int64_t width,
                         const Calibration& calibration, const Orientation& orientation,
                         std::span<const float> mean, std::span<const float> inverse_deviation,
                         float* out, bool* valid);

}  // namespace swath::data
