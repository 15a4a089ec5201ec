#include "data/normalize.h"

#include "data/image.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace swath::data {
namespace {

// How the pixels are walked: output (row, column) is at start + row * row_step + column * step.
struct Walk {
  int64_t start = 0;
  int64_t row_step = 0;
  int64_t column_step = 0;
  int64_t width = 0;
  int64_t height = 0;
};

Walk walk_of(const Image& image, const Orientation& orientation) {
  Walk walk{.row_step = image.width * image.bands,
            .column_step = image.bands,
            .width = image.width,
            .height = image.height};
  if (orientation.transpose) {
    std::swap(walk.row_step, walk.column_step);
    std::swap(walk.width, walk.height);
  }
  if (orientation.mirror_rows) {
    walk.start += (walk.height - 1) * walk.row_step;
    walk.row_step = -walk.row_step;
  }
  if (orientation.mirror_columns) {
    walk.start += (walk.width - 1) * walk.column_step;
    walk.column_step = -walk.column_step;
  }
  return walk;
}

template <class T>
void normalize_band(const T* pixels, const Walk& walk, int64_t first_column, float mean,
                    float inverse_deviation, float* out) {
  for (int64_t row = 0; row < walk.height; ++row) {
    const T* from = pixels + walk.start + row * walk.row_step;
    float* to = out + row * walk.width;
    for (int64_t column = first_column; column < walk.width; ++column) {
      to[column] = (static_cast<float>(from[column * walk.column_step]) - mean) * inverse_deviation;
    }
  }
}

template <class T>
void normalize_bands(const Image& image, const Walk& walk, int64_t first_column,
                     std::span<const float> mean, std::span<const float> inverse_deviation,
                     float* out) {
  for (int64_t band = 0; band < image.bands; ++band) {
    const auto index = static_cast<size_t>(band);
    normalize_band(image.as<T>() + band, walk, first_column, mean[index], inverse_deviation[index],
                   out + band * walk.width * walk.height);
  }
}

#if defined(__x86_64__)

bool has_vector_instructions() {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2;
}

// Eight RGB pixels in the 24 bytes at `low`, as two overlapping loads; the shuffles pick one band's
// bytes, in order or reversed.
struct BandShuffle {
  alignas(16) int8_t from_low[16];
  alignas(16) int8_t from_high[16];
};

BandShuffle band_shuffle(int band, bool reversed) {
  BandShuffle shuffle;
  for (int i = 0; i < 16; ++i) {
    shuffle.from_low[i] = -1;
    shuffle.from_high[i] = -1;
  }
  for (int i = 0; i < 8; ++i) {
    const int place = 3 * (reversed ? 7 - i : i) + band;
    if (place < 16) {
      shuffle.from_low[i] = static_cast<int8_t>(place);
    } else {
      shuffle.from_high[i] = static_cast<int8_t>(place - 8);
    }
  }
  return shuffle;
}

// Columns up to the last multiple of eight; `step` is 3 or -3. Returns how many.
__attribute__((target("avx2"))) int64_t normalize_rgb_avx2(const uint8_t* pixels, const Walk& walk,
                                                           std::span<const float> mean,
                                                           std::span<const float> inverse_deviation,
                                                           float* out) {
  const bool reversed = walk.column_step < 0;
  const int64_t columns = walk.width / 8 * 8;
  for (int band = 0; band < 3; ++band) {
    const BandShuffle shuffle = band_shuffle(band, reversed);
    const __m128i low_shuffle = _mm_load_si128(reinterpret_cast<const __m128i*>(shuffle.from_low));
    const __m128i high_shuffle =
        _mm_load_si128(reinterpret_cast<const __m128i*>(shuffle.from_high));
    const auto index = static_cast<size_t>(band);
    const __m256 band_mean = _mm256_set1_ps(mean[index]);
    const __m256 band_factor = _mm256_set1_ps(inverse_deviation[index]);
    for (int64_t row = 0; row < walk.height; ++row) {
      const uint8_t* from = pixels + walk.start + row * walk.row_step;
      float* to = out + (band * walk.height + row) * walk.width;
      for (int64_t column = 0; column < columns; column += 8) {
        const uint8_t* eight = from + (reversed ? -3 * (column + 7) : 3 * column);
        const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(eight));
        const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(eight + 8));
        const __m128i bytes =
            _mm_or_si128(_mm_shuffle_epi8(low, low_shuffle), _mm_shuffle_epi8(high, high_shuffle));
        const __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        _mm256_storeu_ps(to + column, _mm256_mul_ps(_mm256_sub_ps(values, band_mean), band_factor));
      }
    }
  }
  return columns;
}

#endif

}  // namespace

void normalize_to_planes(const Image& image, const Orientation& orientation,
                         std::span<const float> mean, std::span<const float> inverse_deviation,
                         float* out) {
  const Walk walk = walk_of(image, orientation);
  int64_t done = 0;
#if defined(__x86_64__)
  const bool is_rgb = image.type == PixelType::kUint8 && image.bands == 3;
  if (is_rgb && !orientation.transpose && has_vector_instructions()) {
    done = normalize_rgb_avx2(image.as<uint8_t>(), walk, mean, inverse_deviation, out);
  }
#endif
  switch (image.type) {
    case PixelType::kUint8:
      return normalize_bands<uint8_t>(image, walk, done, mean, inverse_deviation, out);
    case PixelType::kUint16:
      return normalize_bands<uint16_t>(image, walk, done, mean, inverse_deviation, out);
    case PixelType::kInt16:
      return normalize_bands<int16_t>(image, walk, done, mean, inverse_deviation, out);
    case PixelType::kFloat32:
      return normalize_bands<float>(image, walk, done, mean, inverse_deviation, out);
  }
}

}  // namespace swath::data
