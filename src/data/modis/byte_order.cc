#include "data/modis/byte_order.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace swath::data::modis {
namespace {

void swap_rest(const std::byte* bytes, int64_t begin, int64_t count, uint16_t* out) {
  for (int64_t i = begin; i < count; ++i) {
    uint16_t value = 0;
    std::memcpy(&value, bytes + 2 * i, sizeof value);
    out[i] = static_cast<uint16_t>(value >> 8 | value << 8);
  }
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) int64_t swap_avx2(const std::byte* bytes, int64_t count,
                                                  uint16_t* out) {
  const __m256i order = _mm256_setr_epi8(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14, 1, 0,
                                         3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 2 * i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_shuffle_epi8(values, order));
  }
  return i;
}

#endif

}  // namespace

void swap_bytes(const std::byte* bytes, int64_t count, uint16_t* out) {
  int64_t done = 0;
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (has_avx2) done = swap_avx2(bytes, count, out);
#endif
  swap_rest(bytes, done, count, out);
}

}  // namespace swath::data::modis
