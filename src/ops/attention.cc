#include "ops/attention.h"

#include <torch/torch.h>

#include <cmath>

#include "ops/fused.h"

namespace swath::ops {
namespace {

// (B, T, D) -> (B, heads, T, d), a view where possible.
at::Tensor by_head(const at::Tensor& x_BTD, int64_t num_heads) {
  return x_BTD.unflatten(-1, {num_heads, x_BTD.size(-1) / num_heads}).transpose(1, 2);
}

at::Tensor reference_attention(const at::Tensor& q_BHQd, const at::Tensor& k_BHTd,
                               const at::Tensor& v_BHTd) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_BHQd.size(-1)));
  const at::Tensor weights = at::softmax(at::matmul(q_BHQd * scale, k_BHTd.transpose(-2, -1)), -1);
  return at::matmul(weights, v_BHTd);
}

at::Tensor attention_by_head(const at::Tensor& q_BHQd, const at::Tensor& k_BHTd,
                             const at::Tensor& v_BHTd) {
  const at::Tensor out = backend() == Backend::kReference
                             ? reference_attention(q_BHQd, k_BHTd, v_BHTd)
                             : at::scaled_dot_product_attention(q_BHQd, k_BHTd, v_BHTd);
  return out.transpose(1, 2).flatten(2);
}

}  // namespace

at::Tensor attention(const at::Tensor& q_BQD, const at::Tensor& k_BTD, const at::Tensor& v_BTD,
                     int64_t num_heads) {
  return attention_by_head(by_head(q_BQD, num_heads), by_head(k_BTD, num_heads),
                           by_head(v_BTD, num_heads));
}

at::Tensor self_attention(const at::Tensor& qkv_BTE, int64_t num_heads) {
  const int64_t head_size = qkv_BTE.size(-1) / (3 * num_heads);
  // One unbind, so that backward writes the three gradients into one tensor in a single pass.
  const auto parts =
      qkv_BTE.unflatten(-1, {3, num_heads, head_size}).permute({2, 0, 3, 1, 4}).unbind(0);
  return attention_by_head(parts[0], parts[1], parts[2]);
}

}  // namespace swath::ops
