// Matrix products with bias, alone and behind an activation.
//
// Inputs are (..., K); weights (M, K) and biases (M) as at::linear takes them. Every operator is
// differentiable in all its tensors. Devices and dtypes: any; the fused versions work on the CPU
// with float32, float64 and bfloat16, and everything else takes the reference.
#pragma once

#include <ATen/core/Tensor.h>

namespace swath::ops {

// x weight^T + bias
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// linear(GELU(x), weight, bias) with the exact (erf) GELU. Fused: keeps only x and computes the
// activation again in backward, which saves one hidden layer of memory per block.
at::Tensor gelu_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// linear(GELU(gate) * up, weight, bias): the second half of a gated MLP.
at::Tensor gated_gelu_linear(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& weight,
                             const at::Tensor& bias);

}  // namespace swath::ops
