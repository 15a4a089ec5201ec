// The float passes. The vector version does the same double operations in the same order, without
// fused multiply-add, so that results do not depend on the processor.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "data/resample_passes.h"

#if defined(__x86_64__)
#define SWATH_AVX2 __attribute__((target("avx2")))
#else
#define SWATH_AVX2
#endif

namespace swath::data {
namespace {

bool has_vector_instructions() {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2;
#else
  return false;
#endif
}

// `sums` has room for one pixel.
[[gnu::always_inline]] inline void horizontal_row(const float* row, int64_t bands,
                                                  int64_t first_column, const AxisWeights& axis,
                                                  double* __restrict sums, float* __restrict out) {
  for (int64_t i = 0; i < axis.outputs(); ++i) {
    const auto index = static_cast<size_t>(i);
    const float* pixels = row + (axis.first[index] - first_column) * bands;
    const double* weights = axis.weights.data() + i * axis.taps;
    if (bands == 1) {
      double sum = 0;
      for (int32_t tap = 0; tap < axis.count[index]; ++tap) {
        sum += static_cast<double>(pixels[tap]) * weights[tap];
      }
      *out++ = static_cast<float>(sum);
      continue;
    }
    std::fill_n(sums, bands, 0.0);
    for (int32_t tap = 0; tap < axis.count[index]; ++tap) {
      for (int64_t band = 0; band < bands; ++band) {
        sums[band] += static_cast<double>(pixels[tap * bands + band]) * weights[tap];
      }
    }
    for (int64_t band = 0; band < bands; ++band) *out++ = static_cast<float>(sums[band]);
  }
}

[[gnu::always_inline]] inline void vertical_row(const float* rows, int64_t stride, int32_t count,
                                                const double* weights, int64_t size,
                                                float* __restrict out) {
  constexpr int64_t kBlock = 256;
  double sums[kBlock];
  for (int64_t start = 0; start < size; start += kBlock) {
    const int64_t length = std::min(kBlock, size - start);
    std::fill_n(sums, length, 0.0);
    for (int32_t tap = 0; tap < count; ++tap) {
      const float* row = rows + tap * stride + start;
      for (int64_t i = 0; i < length; ++i) sums[i] += static_cast<double>(row[i]) * weights[tap];
    }
    for (int64_t i = 0; i < length; ++i) out[start + i] = static_cast<float>(sums[i]);
  }
}

void horizontal_row_plain(const float* row, int64_t bands, int64_t first_column,
                          const AxisWeights& axis, double* sums, float* out) {
  horizontal_row(row, bands, first_column, axis, sums, out);
}

SWATH_AVX2 void horizontal_row_avx2(const float* row, int64_t bands, int64_t first_column,
                                    const AxisWeights& axis, double* sums, float* out) {
  horizontal_row(row, bands, first_column, axis, sums, out);
}

void vertical_row_plain(const float* rows, int64_t stride, int32_t count, const double* weights,
                        int64_t size, float* out) {
  vertical_row(rows, stride, count, weights, size, out);
}

SWATH_AVX2 void vertical_row_avx2(const float* rows, int64_t stride, int32_t count,
                                  const double* weights, int64_t size, float* out) {
  vertical_row(rows, stride, count, weights, size, out);
}

struct Scratch {
  std::vector<float> input;   // a row, or all rows, as floats
  std::vector<float> middle;  // rows between the passes
  std::vector<double> sums;
};

// `width` values of `row` as floats: the row itself, or converted into `copy`.
template <class T>
const float* as_floats(const T* row, int64_t width, float* copy) {
  if constexpr (std::is_same_v<T, float>) {
    return row;
  } else {
    std::copy_n(row, width, copy);
    return copy;
  }
}

void vertical_pass(const float* rows, int64_t stride, int64_t first_row, int64_t size,
                   const AxisWeights& axis, bool use_avx2, float* out) {
  for (int64_t i = 0; i < axis.outputs(); ++i) {
    const auto index = static_cast<size_t>(i);
    (use_avx2 ? vertical_row_avx2 : vertical_row_plain)(
        rows + (axis.first[index] - first_row) * stride, stride, axis.count[index],
        axis.weights.data() + i * axis.taps, size, out + i * size);
  }
}

}  // namespace

template <class T>
void resample_floats(const PixelRows<T>& input, const AxisWeights& horizontal,
                     const AxisWeights& vertical, PassOrder order, Instructions instructions,
                     float* output) {
  const bool use_avx2 = instructions == Instructions::kBest && has_vector_instructions();
  thread_local Scratch scratch;
  // The part of the input that counts.
  const int64_t bands = input.bands;
  const int64_t begin = vertical.begin();
  const int64_t end = vertical.end();
  const int64_t first_column = horizontal.begin();
  const int64_t width = (horizontal.end() - first_column) * bands;
  const int64_t skipped = (first_column - input.first_column) * bands;
  const int64_t size = horizontal.outputs() * bands;
  const auto horizontal_one = use_avx2 ? horizontal_row_avx2 : horizontal_row_plain;
  scratch.sums.resize(static_cast<size_t>(bands));

  if (order == PassOrder::kColumnsFirst) {
    scratch.input.resize(static_cast<size_t>(width));
    scratch.middle.resize(static_cast<size_t>((end - begin) * size));
    for (int64_t row = begin; row < end; ++row) {
      const float* values = as_floats(input.row(row) + skipped, width, scratch.input.data());
      horizontal_one(values, bands, first_column, horizontal, scratch.sums.data(),
                     scratch.middle.data() + (row - begin) * size);
    }
    vertical_pass(scratch.middle.data(), size, begin, size, vertical, use_avx2, output);
    return;
  }
  const float* rows = nullptr;
  int64_t stride = width;
  if constexpr (std::is_same_v<T, float>) {
    rows = input.row(begin) + skipped;
    stride = input.stride;
  } else {
    scratch.input.resize(static_cast<size_t>((end - begin) * width));
    for (int64_t row = begin; row < end; ++row) {
      std::copy_n(input.row(row) + skipped, width, scratch.input.data() + (row - begin) * width);
    }
    rows = scratch.input.data();
  }
  scratch.middle.resize(static_cast<size_t>(vertical.outputs() * width));
  vertical_pass(rows, stride, begin, width, vertical, use_avx2, scratch.middle.data());
  for (int64_t row = 0; row < vertical.outputs(); ++row) {
    horizontal_one(scratch.middle.data() + row * width, bands, first_column, horizontal,
                   scratch.sums.data(), output + row * size);
  }
}

template void resample_floats(const PixelRows<uint16_t>&, const AxisWeights&, const AxisWeights&,
                              PassOrder, Instructions, float*);
template void resample_floats(const PixelRows<int16_t>&, const AxisWeights&, const AxisWeights&,
                              PassOrder, Instructions, float*);
template void resample_floats(const PixelRows<float>&, const AxisWeights&, const AxisWeights&,
                              PassOrder, Instructions, float*);

}  // namespace swath::data
