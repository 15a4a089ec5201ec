// What interleaving bands of uint16 and separating them have in common. For x86 alone; whoever
// calls it has made sure of AVX2.
#pragma once

#include <emmintrin.h>

namespace swath::data {

// rows[i] holds eight uint16; afterwards rows[i] holds value i of each of them.
__attribute__((target("avx2"))) inline void transpose_8x8(__m128i rows[8]) {
  const __m128i a0 = _mm_unpacklo_epi16(rows[0], rows[1]);
  const __m128i a1 = _mm_unpackhi_epi16(rows[0], rows[1]);
  const __m128i a2 = _mm_unpacklo_epi16(rows[2], rows[3]);
  const __m128i a3 = _mm_unpackhi_epi16(rows[2], rows[3]);
  const __m128i a4 = _mm_unpacklo_epi16(rows[4], rows[5]);
  const __m128i a5 = _mm_unpackhi_epi16(rows[4], rows[5]);
  const __m128i a6 = _mm_unpacklo_epi16(rows[6], rows[7]);
  const __m128i a7 = _mm_unpackhi_epi16(rows[6], rows[7]);
  const __m128i b0 = _mm_unpacklo_epi32(a0, a2);
  const __m128i b1 = _mm_unpackhi_epi32(a0, a2);
  const __m128i b2 = _mm_unpacklo_epi32(a1, a3);
  const __m128i b3 = _mm_unpackhi_epi32(a1, a3);
  const __m128i b4 = _mm_unpacklo_epi32(a4, a6);
  const __m128i b5 = _mm_unpackhi_epi32(a4, a6);
  const __m128i b6 = _mm_unpacklo_epi32(a5, a7);
  const __m128i b7 = _mm_unpackhi_epi32(a5, a7);
  rows[0] = _mm_unpacklo_epi64(b0, b4);
  rows[1] = _mm_unpackhi_epi64(b0, b4);
  rows[2] = _mm_unpacklo_epi64(b1, b5);
  rows[3] = _mm_unpackhi_epi64(b1, b5);
  rows[4] = _mm_unpacklo_epi64(b2, b6);
  rows[5] = _mm_unpackhi_epi64(b2, b6);
  rows[6] = _mm_unpacklo_epi64(b3, b7);
  rows[7] = _mm_unpackhi_epi64(b3, b7);
}

}  // namespace swath::data
