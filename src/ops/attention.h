// Softmax attention of a transformer block.
//
// B samples, T tokens, Q queries, D width, d = D / heads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace swath::ops {

// softmax(q k^T / sqrt(d)) v per head; q (B, Q, D), k and v (B, T, D), each head-major in its last
// dimension; they may be strided slices of one tensor. Returns (B, Q, D). Any head size.
at::Tensor attention(const at::Tensor& q_BQD, const at::Tensor& k_BTD, const at::Tensor& v_BTD,
                     int64_t num_heads);

// Attention of tokens among themselves from one product: qkv (B, T, 3 D) holds q | k | v.
at::Tensor self_attention(const at::Tensor& qkv_BTE, int64_t num_heads);

}  // namespace swath::ops
