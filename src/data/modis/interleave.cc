#include "data/modis/interleave.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>

#include "data/transpose_counts.h"
#endif

namespace swath::data::modis {
namespace {

void interleave_row(std::span<const uint16_t* const> planes, int64_t offset, int64_t first,
                    int64_t width, uint16_t* out) {
  const auto bands = static_cast<int64_t>(planes.size());
  for (int64_t column = first; column < width; ++column) {
    for (int64_t band = 0; band < bands; ++band) {
      out[column * bands + band] = planes[static_cast<size_t>(band)][offset + column];
    }
  }
}

#if defined(__x86_64__)

// Up to eight bands, eight pixels at a time. Each pixel is stored as eight counts, of which those
// beyond its bands are written over by the next pixel; the last block of a row is left to others.
__attribute__((target("avx2"))) int64_t interleave_row_avx2(std::span<const uint16_t* const> planes,
                                                            int64_t offset, int64_t width,
                                                            uint16_t* out) {
  const auto bands = static_cast<int64_t>(planes.size());
  int64_t column = 0;
  for (; column + 16 <= width; column += 8) {
    __m128i r[8];
    for (size_t band = 0; band < 8; ++band) {
      r[band] =
          band < planes.size()
              ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(planes[band] + offset + column))
              : _mm_setzero_si128();
    }
    transpose_8x8(r);
    uint16_t* to = out + column * bands;
    for (const __m128i& pixel : r) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), pixel);
      to += bands;
    }
  }
  return column;
}

#endif

}  // namespace

void interleave(std::span<const uint16_t* const> planes, int64_t row_counts, int64_t height,
                int64_t width, uint16_t* out) {
  const auto bands = static_cast<int64_t>(planes.size());
  for (int64_t row = 0; row < height; ++row) {
    int64_t done = 0;
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
    if (has_avx2 && bands <= 8) {
      done = interleave_row_avx2(planes, row * row_counts, width, out + row * width * bands);
    }
#endif
    interleave_row(planes, row * row_counts, done, width, out + row * width * bands);
  }
}

}  // namespace swath::data::modis
