// The byte passes. Sums are exact integers, so every version gives the same bytes.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstring>

#include "data/resample_passes.h"

namespace swath::data {
namespace {

constexpr int32_t kHalf = 1 << (kWeightBits - 1);
// Bytes by which the vector loops may read past a pixel row, besides the taps with zero weight.
constexpr int64_t kReadSlack = 16;

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

void horizontal_row_plain(const uint8_t* row, int64_t bands, int64_t first_column,
                          const AxisWeights& axis, const FixedPointWeights& fixed, uint8_t* out) {
  for (int64_t i = 0; i < axis.outputs(); ++i) {
    const auto index = static_cast<size_t>(i);
    const uint8_t* pixels = row + (axis.first[index] - first_column) * bands;
    const int32_t* weights = fixed.whole.data() + i * axis.taps;
    const int32_t count = axis.count[index];
    for (int64_t band = 0; band < bands; ++band) {
      int32_t sum = kHalf;
      for (int32_t tap = 0; tap < count; ++tap) sum += weights[tap] * pixels[tap * bands + band];
      *out++ = rounded(sum);
    }
  }
}

// Sums `count` rows, `stride` apart, into `size` bytes.
void vertical_row_plain(const uint8_t* rows, int64_t stride, int32_t count, const int32_t* weights,
                        int64_t size, uint8_t* out) {
  constexpr int64_t kBlock = 256;
  int32_t sums[kBlock];
  for (int64_t start = 0; start < size; start += kBlock) {
    const int64_t length = std::min(kBlock, size - start);
    std::fill_n(sums, length, kHalf);
    for (int32_t tap = 0; tap < count; ++tap) {
      const uint8_t* row = rows + tap * stride + start;
      for (int64_t i = 0; i < length; ++i) sums[i] += weights[tap] * row[i];
    }
    for (int64_t i = 0; i < length; ++i) out[start + i] = rounded(sums[i]);
  }
}

#if defined(__x86_64__)
#define SWATH_AVX2 __attribute__((target("avx2")))

SWATH_AVX2 inline __m256i finished(__m256i low, __m256i high) {
  const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, kLowBits), low);
  return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(kHalf)), kWeightBits);
}

// Two rows of three bands at once, one in each half of the registers.
SWATH_AVX2 void horizontal_rgb_rows_avx2(const uint8_t* row0, const uint8_t* row1,
                                         int64_t first_column, const AxisWeights& axis,
                                         const FixedPointWeights& fixed, uint8_t* out0,
                                         uint8_t* out1) {
  // From "rgbRGB..." to 16-bit pairs "r R g G b B", of taps 0 and 1, then of taps 2 and 3.
  const __m256i pick01 = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m256i pick23 = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  const int64_t taps = axis.taps;
  const int32_t* low = fixed.low_pairs.data();
  const int32_t* high = fixed.high_pairs.data();
  const int64_t outputs = axis.outputs();
  const int32_t* first = axis.first.data();
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t offset = (first[i] - first_column) * 3;
    const uint8_t* p0 = row0 + offset;
    const uint8_t* p1 = row1 + offset;
    __m256i low_sum = _mm256_setzero_si256();
    __m256i high_sum = _mm256_setzero_si256();
    for (int64_t tap = 0; tap < taps; tap += 4) {
      const __m256i pixels = _mm256_inserti128_si256(
          _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p0))),
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(p1)), 1);
      const __m256i pairs01 = _mm256_shuffle_epi8(pixels, pick01);
      const __m256i pairs23 = _mm256_shuffle_epi8(pixels, pick23);
      low_sum = _mm256_add_epi32(low_sum, _mm256_madd_epi16(pairs01, _mm256_set1_epi32(low[0])));
      high_sum = _mm256_add_epi32(high_sum, _mm256_madd_epi16(pairs01, _mm256_set1_epi32(high[0])));
      low_sum = _mm256_add_epi32(low_sum, _mm256_madd_epi16(pairs23, _mm256_set1_epi32(low[1])));
      high_sum = _mm256_add_epi32(high_sum, _mm256_madd_epi16(pairs23, _mm256_set1_epi32(high[1])));
      p0 += 12;
      p1 += 12;
      low += 2;
      high += 2;
    }
    const __m256i sum = finished(low_sum, high_sum);
    const __m256i words = _mm256_packs_epi32(sum, sum);
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const int32_t pixel0 = _mm256_cvtsi256_si32(bytes);
    const int32_t pixel1 = _mm_cvtsi128_si32(_mm256_extracti128_si256(bytes, 1));
    if (i + 1 < outputs) {  // four bytes at once: the next pixel overwrites the fourth
      std::memcpy(out0 + i * 3, &pixel0, 4);
      std::memcpy(out1 + i * 3, &pixel1, 4);
    } else {
      std::memcpy(out0 + i * 3, &pixel0, 3);
      std::memcpy(out1 + i * 3, &pixel1, 3);
    }
  }
}

// `size` is at least 32; the last block of 32 overlaps the one before.
SWATH_AVX2 void vertical_row_avx2(const uint8_t* rows, int64_t stride, int32_t count,
                                  const int32_t* low, const int32_t* high, int64_t size,
                                  uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  for (int64_t block = 0; block < size; block += 32) {
    const int64_t start = std::min(block, size - 32);
    __m256i low_sums[4] = {zero, zero, zero, zero};
    __m256i high_sums[4] = {zero, zero, zero, zero};
    const uint8_t* row = rows + start;
    for (int32_t tap = 0; tap < count; tap += 2) {
      // The missing partner of a last odd tap has weight zero.
      const uint8_t* next = tap + 1 < count ? row + stride : row;
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(next));
      const __m256i ab_low = _mm256_unpacklo_epi8(a, b);
      const __m256i ab_high = _mm256_unpackhi_epi8(a, b);
      const __m256i pairs[4] = {
          _mm256_unpacklo_epi8(ab_low, zero), _mm256_unpackhi_epi8(ab_low, zero),
          _mm256_unpacklo_epi8(ab_high, zero), _mm256_unpackhi_epi8(ab_high, zero)};
      const __m256i low_weights = _mm256_set1_epi32(low[tap / 2]);
      const __m256i high_weights = _mm256_set1_epi32(high[tap / 2]);
      for (int i = 0; i < 4; ++i) {
        low_sums[i] = _mm256_add_epi32(low_sums[i], _mm256_madd_epi16(pairs[i], low_weights));
        high_sums[i] = _mm256_add_epi32(high_sums[i], _mm256_madd_epi16(pairs[i], high_weights));
      }
      row += 2 * stride;
    }
    // Packing undoes the order of unpacking, in each half of the register.
    const __m256i words0 = _mm256_packs_epi32(finished(low_sums[0], high_sums[0]),
                                              finished(low_sums[1], high_sums[1]));
    const __m256i words1 = _mm256_packs_epi32(finished(low_sums[2], high_sums[2]),
                                              finished(low_sums[3], high_sums[3]));
    const __m256i bytes = _mm256_packus_epi16(words0, words1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + start), bytes);
  }
}

bool has_vector_instructions() {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2;
}

#else  // another processor: the plain loops serve alone

bool has_vector_instructions() { return false; }
void horizontal_rgb_rows_avx2(const uint8_t*, const uint8_t*, int64_t, const AxisWeights&,
                              const FixedPointWeights&, uint8_t*, uint8_t*) {}
void vertical_row_avx2(const uint8_t*, int64_t, int32_t, const int32_t*, const int32_t*, int64_t,
                       uint8_t*) {}

#endif

struct Scratch {
  FixedPointWeights horizontal;
  FixedPointWeights vertical;
  std::vector<uint8_t> middle;     // rows between the passes
  std::vector<uint8_t> padded[2];  // copies of input rows that lie too close to the end of memory
};

void grow(std::vector<uint8_t>* bytes, int64_t size) {
  if (static_cast<int64_t>(bytes->size()) < size) bytes->resize(static_cast<size_t>(size));
}

// Rows `begin` to `end` of the input grid, to rows of `out` that lie close together.
void horizontal_pass(const PixelRows<uint8_t>& input, int64_t begin, int64_t end,
                     const AxisWeights& axis, const FixedPointWeights& fixed, bool use_avx2,
                     std::vector<uint8_t> (&padded)[2], uint8_t* out) {
  const int64_t size = axis.outputs() * input.bands;
  if (!use_avx2 || input.bands != 3) {
    for (int64_t row = begin; row < end; ++row) {
      horizontal_row_plain(input.row(row), input.bands, input.first_column, axis, fixed,
                           out + (row - begin) * size);
    }
    return;
  }
  const int64_t row_values = (axis.end() - input.first_column) * 3;
  const int64_t read_values = row_values + axis.taps * 3 + kReadSlack;
  const uint8_t* memory_end = input.pixels + input.values;
  const auto safe_row = [&](int64_t grid_row, std::vector<uint8_t>* copy) {
    const uint8_t* row = input.row(grid_row);
    if (memory_end - row >= read_values) return row;
    grow(copy, read_values);
    std::memcpy(copy->data(), row, static_cast<size_t>(row_values));
    return static_cast<const uint8_t*>(copy->data());
  };
  for (int64_t row = begin; row < end; row += 2) {
    // An odd last row is computed twice, to the same place.
    const int64_t other = std::min(row + 1, end - 1);
    horizontal_rgb_rows_avx2(safe_row(row, &padded[0]), safe_row(other, &padded[1]),
                             input.first_column, axis, fixed, out + (row - begin) * size,
                             out + (other - begin) * size);
  }
}

// `size` bytes from `rows` on, whose first row is row `first_row` of the input grid, to rows of
// `out` that lie close together.
void vertical_pass(const uint8_t* rows, int64_t stride, int64_t first_row, int64_t size,
                   const AxisWeights& axis, const FixedPointWeights& fixed, bool use_avx2,
                   uint8_t* out) {
  for (int64_t i = 0; i < axis.outputs(); ++i) {
    const auto index = static_cast<size_t>(i);
    const uint8_t* from = rows + (axis.first[index] - first_row) * stride;
    const int64_t place = i * axis.taps;
    if (use_avx2 && size >= 32) {
      vertical_row_avx2(from, stride, axis.count[index], fixed.low_pairs.data() + place / 2,
                        fixed.high_pairs.data() + place / 2, size, out + i * size);
    } else {
      vertical_row_plain(from, stride, axis.count[index], fixed.whole.data() + place, size,
                         out + i * size);
    }
  }
}

}  // namespace

void resample_bytes(const PixelRows<uint8_t>& input, const AxisWeights& horizontal,
                    const AxisWeights& vertical, PassOrder order, Instructions instructions,
                    uint8_t* output) {
  const bool use_avx2 = instructions == Instructions::kBest && has_vector_instructions();
  thread_local Scratch scratch;
  compute_fixed_point(horizontal, &scratch.horizontal);
  compute_fixed_point(vertical, &scratch.vertical);
  if (order == PassOrder::kColumnsFirst) {
    const int64_t begin = vertical.begin();
    const int64_t end = vertical.end();
    const int64_t size = horizontal.outputs() * input.bands;
    grow(&scratch.middle, (end - begin) * size);
    horizontal_pass(input, begin, end, horizontal, scratch.horizontal, use_avx2, scratch.padded,
                    scratch.middle.data());
    vertical_pass(scratch.middle.data(), size, begin, size, vertical, scratch.vertical, use_avx2,
                  output);
    return;
  }
  const int64_t begin = horizontal.begin();
  const int64_t size = (horizontal.end() - begin) * input.bands;
  grow(&scratch.middle, vertical.outputs() * size);
  vertical_pass(input.pixels + (begin - input.first_column) * input.bands, input.stride,
                input.first_row, size, vertical, scratch.vertical, use_avx2, scratch.middle.data());
  const PixelRows<uint8_t> middle{.pixels = scratch.middle.data(),
                                  .values = static_cast<int64_t>(scratch.middle.size()),
                                  .stride = size,
                                  .bands = input.bands,
                                  .first_row = 0,
                                  .first_column = begin};
  horizontal_pass(middle, 0, vertical.outputs(), horizontal, scratch.horizontal, use_avx2,
                  scratch.padded, output);
}

}  // namespace swath::data
