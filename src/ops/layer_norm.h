// LayerNorm over the last dimension, alone and behind a residual sum.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace swath::ops {

// (x - mean) / sqrt(variance + epsilon) * weight + bias, with the biased variance. x is (..., D).
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      double epsilon);

// {x + branch, layer_norm(x + branch)}: the middle of a pre-norm block. Fused: one pass over memory
// in forward, and one in backward that also adds the residual gradient.
std::pair<at::Tensor, at::Tensor> add_layer_norm(const at::Tensor& x, const at::Tensor& branch,
                                                 const at::Tensor& weight, const at::Tensor& bias,
                                                 double epsilon);

// x + layer_norm(branch): the end of a residual branch of a post-norm block.
at::Tensor add_normed(const at::Tensor& x, const at::Tensor& branch, const at::Tensor& weight,
                      const at::Tensor& bias, double epsilon);

}  // namespace swath::ops
