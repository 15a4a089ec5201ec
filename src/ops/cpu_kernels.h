// The loops of the fused CPU operators: free of LibTorch, each compiled for three instruction sets
// and chosen when the program starts.
//
// All functions work on whole rows of contiguous memory and on the calling thread only; the
// operators cut the rows into ranges. Arithmetic is float for float and bfloat16 data, double for
// double.
#pragma once

#include <cstdint>

namespace swath::ops {

// bfloat16 as LibTorch stores it.
struct Bf16 {
  uint16_t bits;
};

template <class T>
struct ArithmeticOf {
  using Type = T;
};
template <>
struct ArithmeticOf<Bf16> {
  using Type = float;
};
template <class T>
using Arithmetic = typename ArithmeticOf<T>::Type;

// One head of one sample: rows of head_size values, `*_stride` values apart.
struct HeadShape {
  int64_t queries = 0;
  int64_t tokens = 0;
  int64_t head_size = 0;
  int64_t q_stride = 0;
  int64_t k_stride = 0;
  int64_t v_stride = 0;
  int64_t out_stride = 0;
};

// Values of scratch memory that a head needs, forward or backward.
int64_t attention_scratch(const HeadShape& shape);

// float and double only: bfloat16 has matrix instructions that LibTorch's attention uses.
template <class A>
struct AttentionKernels {
  // out = softmax(q k^T scale) v; keeps each query's log of the sum of exponentials.
  void (*forward)(const HeadShape& shape, const A* q, const A* k, const A* v, A scale, A* out,
                  A* log_sum, A* scratch);
  // The gradients' rows are as far apart as those of q, k and v in `grad_shape`; out and grad_out
  // are laid out as in `shape`.
  void (*backward)(const HeadShape& shape, const HeadShape& grad_shape, const A* q, const A* k,
                   const A* v, const A* out, const A* grad_out, const A* log_sum, A scale,
                   A* grad_q, A* grad_k, A* grad_v, A* scratch);
};

// One head of one window on a map of tokens (ops/window_attention.h).
struct WindowShape {
  int64_t tokens = 0;
  int64_t head_size = 0;
  int64_t stride = 0;                // between tokens of the map in q, k and v and their gradients
  int64_t out_stride = 0;            // likewise in out and its gradient
  const int64_t* rows = nullptr;     // of the window's tokens: where on the map
  const int32_t* regions = nullptr;  // of the same; null: every token sees every other
};

// Values of scratch memory that a window needs, forward or backward.
int64_t window_scratch(int64_t tokens, int64_t head_size);

// Pointers are to the first token of the map, at the head's first value.
template <class A>
struct WindowKernels {
  // out = softmax(scale cos(q, k) + bias + mask) v, bias (tokens, tokens); keeps each query's log
  // of the sum of exponentials.
  void (*forward)(const WindowShape& shape, const A* q, const A* k, const A* v, A scale,
                  const A* bias, A* out, A* log_sum, A* scratch);
  // Writes the gradients of the window's tokens; adds to grad_bias (tokens, tokens) and grad_scale.
  void (*backward)(const WindowShape& shape, const A* q, const A* k, const A* v, A scale,
                   const A* bias, const A* grad_out, const A* log_sum, A* grad_q, A* grad_k,
                   A* grad_v, A* grad_bias, double* grad_scale, A* scratch);
};

template <class T>
struct TypedKernels {
  using A = Arithmetic<T>;

  // sum = x + branch (branch may be null: sum is then not written), y = LayerNorm(sum).
  // Keeps mean and 1/standard deviation per row for backward.
  void (*layer_norm)(const T* x, const T* branch, const T* weight, const T* bias, T* sum, T* y,
                     A* mean, A* inverse_deviation, int64_t rows, int64_t width, A epsilon);
  // grad_x = LayerNorm's gradient of grad_y (+ grad_sum unless null). Adds this range's part to
  // grad_weight and grad_bias (width values each).
  void (*layer_norm_backward)(const T* grad_y, const T* grad_sum, const T* sum, const T* weight,
                              const A* mean, const A* inverse_deviation, T* grad_x, A* grad_weight,
                              A* grad_bias, int64_t rows, int64_t width);
  // y = x Phi(x), the exact (erf) GELU.
  void (*gelu)(const T* x, T* y, int64_t count);
  // grad_x = grad_y GELU'(x); may be in place in grad_y. y = GELU(x) again, for the gradient of the
  // weight that follows.
  void (*gelu_backward)(const T* x, const T* grad_y, T* grad_x, T* y, int64_t count);
  // y = GELU(gate) * up
  void (*gated_gelu)(const T* gate, const T* up, T* y, int64_t count);
  void (*gated_gelu_backward)(const T* gate, const T* up, const T* grad_y, T* grad_gate, T* grad_up,
                              T* y, int64_t count);
  // out = a + b
  void (*add)(const T* a, const T* b, T* out, int64_t count);
  // Adds the sum over rows of x to total (width values).
  void (*column_sum)(const T* x, A* total, int64_t rows, int64_t width);
};

struct CpuKernels {
  const char* isa;  // "avx512", "avx2", "baseline"
  TypedKernels<float> for_float;
  TypedKernels<double> for_double;
  TypedKernels<Bf16> for_bfloat16;
  AttentionKernels<float> attention_float;
  AttentionKernels<double> attention_double;
  WindowKernels<float> window_float;
  WindowKernels<double> window_double;
  // out (width, rows) = the transpose of x (rows, width), for columns begin to end; adds each
  // column's sum to total[column].
  void (*transpose_and_sum)(const float* x, float* out, float* total, int64_t rows, int64_t width,
                            int64_t begin, int64_t end);

  template <class T>
  const TypedKernels<T>& of() const;
};
template <>
inline const TypedKernels<float>& CpuKernels::of<float>() const {
  return for_float;
}
template <>
inline const TypedKernels<double>& CpuKernels::of<double>() const {
  return for_double;
}
template <>
inline const TypedKernels<Bf16>& CpuKernels::of<Bf16>() const {
  return for_bfloat16;
}

template <class A>
const AttentionKernels<A>& attention_kernels(const CpuKernels& kernels);
template <>
inline const AttentionKernels<float>& attention_kernels(const CpuKernels& kernels) {
  return kernels.attention_float;
}
template <>
inline const AttentionKernels<double>& attention_kernels(const CpuKernels& kernels) {
  return kernels.attention_double;
}

template <class A>
const WindowKernels<A>& window_kernels(const CpuKernels& kernels);
template <>
inline const WindowKernels<float>& window_kernels(const CpuKernels& kernels) {
  return kernels.window_float;
}
template <>
inline const WindowKernels<double>& window_kernels(const CpuKernels& kernels) {
  return kernels.window_double;
}

// The best set this processor can run. SWATH_ISA=baseline|avx2|avx512 in the environment asks for a
// lesser one (for tests and comparisons).
const CpuKernels& cpu_kernels();
// A named set, or null if this processor or build lacks it.
const CpuKernels* cpu_kernels_for(const char* isa);

}  // namespace swath::ops
