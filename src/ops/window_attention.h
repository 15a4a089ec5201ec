// SwinV2's attention within windows of a map of tokens: scaled cosine, with a position bias.
//
// B samples, L = rows x columns tokens in row-major order, D width, h heads, d = D / h, n tokens of
// a window, T = (2 window_rows - 1)(2 window_columns - 1) offsets between two tokens of a window.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace swath::ops {

// Windows tile the map. With a shift they are laid on the map rolled by (-shift_rows,
// -shift_columns); tokens that the roll brought next to each other across the map's edge get -100.
struct WindowGrid {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t window_rows = 0;
  int64_t window_columns = 0;
  int64_t shift_rows = 0;
  int64_t shift_columns = 0;

  int64_t tokens() const { return rows * columns; }
  int64_t window_tokens() const { return window_rows * window_columns; }
  int64_t windows() const { return tokens() / window_tokens(); }
  int64_t offsets() const { return (2 * window_rows - 1) * (2 * window_columns - 1); }
};

// (n, n) int64 on the device of `options`, made there: where the offset between query i and key j
// stands in the bias table, (y_i - y_j + window_rows - 1)(2 window_columns - 1) + (x_i - x_j +
// window_columns - 1).
at::Tensor relative_position_index(const WindowGrid& grid, const at::TensorOptions& options = {});

// softmax(scale cos(q, k) + bias + mask) v in every window; cos divides by max(norm, 1e-12).
//
// qkv (B, L, 3 D) holds q | k | v, each head-major; scale (h) and bias (h, T) are float32 (float64
// for float64 data). Returns (B, L, D), tokens where they were. Norms and the softmax are computed
// in float32 or better. Differentiable in qkv, scale and bias. Fused: windows are read from the map
// and written to it in place, no copy is rolled or cut.
at::Tensor window_attention(const at::Tensor& qkv_BLE, const at::Tensor& scale_h,
                            const at::Tensor& bias_hT, const WindowGrid& grid);

}  // namespace swath::ops
