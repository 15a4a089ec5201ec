#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace swath {

// Whether this LibTorch has oneDNN's matrix product for processors.
bool has_onednn();

// x (R, K) times the transpose of weight (M, K), which may be a transposed view, plus bias (M):
// float32 in oneDNN, whatever at::linear would choose. No autograd. Only if has_onednn().
at::Tensor onednn_linear(const at::Tensor& x_RK, const at::Tensor& weight_MK,
                         const std::optional<at::Tensor>& bias_M = std::nullopt);

}  // namespace swath
