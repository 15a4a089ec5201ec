#include "data/modis/interleave.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
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
    const __m128i a0 = _mm_unpacklo_epi16(r[0], r[1]);
    const __m128i a1 = _mm_unpackhi_epi16(r[0], r[1]);
    const __m128i a2 = _mm_unpacklo_epi16(r[2], r[3]);
    const __m128i a3 = _mm_unpackhi_epi16(r[2], r[3]);
    const __m128i a4 = _mm_unpacklo_epi16(r[4], r[5]);
    const __m128i a5 = _mm_unpackhi_epi16(r[4], r[5]);
    const __m128i a6 = _mm_unpacklo_epi16(r[6], r[7]);
    const __m128i a7 = _mm_unpackhi_epi16(r[6], r[7]);
    const __m128i b[8] = {_mm_unpacklo_epi32(a0, a2), _mm_unpackhi_epi32(a0, a2),
                          _mm_unpacklo_epi32(a1, a3), _mm_unpackhi_epi32(a1, a3),
                          _mm_unpacklo_epi32(a4, a6), _mm_unpackhi_epi32(a4, a6),
                          _mm_unpacklo_epi32(a5, a7), _mm_unpackhi_epi32(a5, a7)};
    uint16_t* to = out + column * bands;
    for (size_t i = 0; i < 4; ++i) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi64(b[i], b[i + 4]));
      to += bands;
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpackhi_epi64(b[i], b[i + 4]));
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
