#include "data/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>

#include "data/transpose_counts.h"
#endif

namespace swath::data {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

// out = count * factor + shift for a band without temperatures.
struct Line {
  float factor = 0;
  float shift = 0;
};

// (scale * (count - offset) - mean) * inverse_deviation, its constants folded in double precision.
Line line_of(const BandCalibration& band, float mean, float inverse_deviation) {
  return {static_cast<float>(band.scale * inverse_deviation),
          static_cast<float>((-band.scale * band.offset - mean) * inverse_deviation)};
}

// One row of one band, from `stored_bands` interleaved ones.
void convert_row(const uint16_t* counts, int64_t stored_bands, int64_t first, int64_t width,
                 uint16_t largest_valid, Line line, float* out, bool* valid) {
  for (int64_t column = first; column < width; ++column) {
    const uint16_t count = counts[column * stored_bands];
    valid[column] = count <= largest_valid;
    out[column] = valid[column] ? static_cast<float>(count) * line.factor + line.shift : 0.0F;
  }
}

// One row of a band whose values are temperatures.
void convert_row_of_temperatures(const uint16_t* counts, int64_t stored_bands, int64_t width,
                                 const Calibration& calibration, size_t band, float mean,
                                 float inverse_deviation, float* out, bool* valid) {
  for (int64_t column = 0; column < width; ++column) {
    const double value = calibration.value(band, counts[column * stored_bands]);
    valid[column] = !std::isnan(value);
    out[column] = valid[column]
                      ? static_cast<float>((value - static_cast<double>(mean)) * inverse_deviation)
                      : 0.0F;
  }
}

#if defined(__x86_64__)

bool has_vector_instructions() {
  static const bool has = __builtin_cpu_supports("avx2") != 0;
  return has;
}

// Of one row, all columns in blocks of eight whose loads stay inside of the row; returns how many.
// Bands [first_band, first_band + count) of the record go to planes[0 .. count).
__attribute__((target("avx2"))) int64_t convert_row_avx2(const uint16_t* counts,
                                                         int64_t stored_bands, int64_t first_band,
                                                         int64_t count, int64_t width,
                                                         uint16_t largest_valid, const Line* lines,
                                                         float* const* out, bool* const* valid) {
  const __m128i limit = _mm_set1_epi16(static_cast<int16_t>(largest_valid));
  const __m128i one = _mm_set1_epi8(1);
  // The last load of a block takes eight counts from the band `first_band` of its last pixel on.
  const int64_t readable = width * stored_bands;
  int64_t column = 0;
  for (; column + 8 <= width && (column + 7) * stored_bands + first_band + 8 <= readable;
       column += 8) {
    __m128i rows[8];
    for (int64_t i = 0; i < 8; ++i) {
      rows[i] = _mm_loadu_si128(
          reinterpret_cast<const __m128i*>(counts + (column + i) * stored_bands + first_band));
    }
    transpose_8x8(rows);
    for (int64_t band = 0; band < count; ++band) {
      // Unsigned comparison: a count is valid when the smaller of it and the limit is itself.
      const __m128i is_valid = _mm_cmpeq_epi16(_mm_min_epu16(rows[band], limit), rows[band]);
      const __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(rows[band]));
      const __m256 mask = _mm256_castsi256_ps(_mm256_cvtepi16_epi32(is_valid));
      const __m256 line = _mm256_add_ps(_mm256_mul_ps(values, _mm256_set1_ps(lines[band].factor)),
                                        _mm256_set1_ps(lines[band].shift));
      _mm256_storeu_ps(out[band] + column, _mm256_and_ps(line, mask));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(valid[band] + column),
                       _mm_and_si128(_mm_packs_epi16(is_valid, is_valid), one));
    }
  }
  return column;
}

#endif

template <class Value>
void orient(const Orientation& orientation, int64_t height, int64_t width, Value* plane) {
  if (orientation.transpose) {
    for (int64_t row = 0; row < height; ++row) {
      for (int64_t column = row + 1; column < width; ++column) {
        std::swap(plane[row * width + column], plane[column * width + row]);
      }
    }
  }
  if (orientation.mirror_rows) {
    for (int64_t row = 0; row < height / 2; ++row) {
      std::swap_ranges(plane + row * width, plane + (row + 1) * width,
                       plane + (height - 1 - row) * width);
    }
  }
  if (orientation.mirror_columns) {
    for (int64_t row = 0; row < height; ++row) {
      std::reverse(plane + row * width, plane + (row + 1) * width);
    }
  }
}

}  // namespace

double PlanckInverse::temperature(double radiance) const {
  if (!(radiance > 0)) return std::numeric_limits<double>::quiet_NaN();
  return (argument / std::log(numerator / radiance + 1) - intercept) / slope;
}

double Calibration::value(size_t band, uint16_t count) const {
  if (count > largest_valid) return std::numeric_limits<double>::quiet_NaN();
  const BandCalibration& own = bands[band];
  const double linear = own.scale * (static_cast<double>(count) - own.offset);
  return own.to_temperature ? own.to_temperature->temperature(linear) : linear;
}

void calibrate_pixels(const uint16_t* counts, int64_t pixels, int64_t stored_bands,
                      std::span<const int64_t> bands, const Calibration& calibration, float* out) {
  const int64_t selected = bands.empty() ? stored_bands : static_cast<int64_t>(bands.size());
  for (int64_t i = 0; i < selected; ++i) {
    const int64_t band = bands.empty() ? i : bands[static_cast<size_t>(i)];
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      const double value =
          calibration.value(static_cast<size_t>(band), counts[pixel * stored_bands + band]);
      out[pixel * selected + i] = std::isnan(value) ? kMissing : static_cast<float>(value);
    }
  }
}

void calibrate_to_planes(const uint16_t* counts, int64_t row_counts, int64_t stored_bands,
                         std::span<const int64_t> bands, int64_t height, int64_t width,
                         const Calibration& calibration, const Orientation& orientation,
                         std::span<const float> mean, std::span<const float> inverse_deviation,
                         float* out, bool* valid) {
  const size_t selected = bands.empty() ? static_cast<size_t>(stored_bands) : bands.size();
  const auto band_of = [&](size_t i) { return bands.empty() ? i : static_cast<size_t>(bands[i]); };
  const auto is_linear = [&](size_t i) { return !calibration.bands[band_of(i)].to_temperature; };
  const int64_t plane = height * width;
  // Bands that follow each other in the record are converted together, eight at a time.
  for (size_t begin = 0; begin < selected;) {
    size_t end = begin + 1;
    while (end < selected && end - begin < 8 && is_linear(begin) && is_linear(end) &&
           band_of(end) == band_of(end - 1) + 1) {
      ++end;
    }
    Line lines[8];
    for (size_t i = begin; i < end; ++i) {
      lines[i - begin] = line_of(calibration.bands[band_of(i)], mean[i], inverse_deviation[i]);
    }
    for (int64_t row = 0; row < height; ++row) {
      const uint16_t* from = counts + row * row_counts;
      float* to[8];
      bool* to_valid[8];
      for (size_t i = begin; i < end; ++i) {
        const int64_t place = static_cast<int64_t>(i) * plane + row * width;
        to[i - begin] = out + place;
        to_valid[i - begin] = valid + place;
      }
      if (!is_linear(begin)) {
        convert_row_of_temperatures(from + band_of(begin), stored_bands, width, calibration,
                                    band_of(begin), mean[begin], inverse_deviation[begin], to[0],
                                    to_valid[0]);
        continue;
      }
      int64_t done = 0;
#if defined(__x86_64__)
      if (has_vector_instructions()) {
        done = convert_row_avx2(from, stored_bands, static_cast<int64_t>(band_of(begin)),
                                static_cast<int64_t>(end - begin), width, calibration.largest_valid,
                                lines, to, to_valid);
      }
#endif
      for (size_t i = begin; i < end; ++i) {
        convert_row(from + band_of(i), stored_bands, done, width, calibration.largest_valid,
                    lines[i - begin], to[i - begin], to_valid[i - begin]);
      }
    }
    begin = end;
  }
  for (size_t i = 0; i < selected; ++i) {
    orient(orientation, height, width, out + static_cast<int64_t>(i) * plane);
    orient(orientation, height, width, valid + static_cast<int64_t>(i) * plane);
  }
}

}  // namespace swath::data
