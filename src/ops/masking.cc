#include "ops/masking.h"

#include "core/tensor/torch.h"
#include "ops/fused.h"

namespace swath::ops {

Masking masking_from_noise(const at::Tensor& noise_BN, int64_t num_kept) {
  Masking masking;
  masking.num_kept = num_kept;
  masking.ids_shuffle_BN = at::argsort(noise_BN, /*stable=*/true, 1);
  // The inverse of a permutation is the order that sorts it.
  masking.ids_restore_BN = at::argsort(masking.ids_shuffle_BN, /*stable=*/true, 1);
  masking.mask_BN = (masking.ids_restore_BN >= num_kept).to(at::kFloat);
  return masking;
}

at::Tensor append_mask_tokens(const at::Tensor& visible_BVD, const at::Tensor& mask_token,
                              const at::Tensor& position, const at::Tensor& ids_shuffle_BN) {
  const int64_t batch = visible_BVD.size(0);
  const int64_t visible = visible_BVD.size(1);
  const int64_t width = visible_BVD.size(2);
  const int64_t patches = ids_shuffle_BN.size(1);
  // One row of the table per token, looked up like an embedding.
  const at::Tensor rows = at::constant_pad_nd(ids_shuffle_BN + 1, {1, 0}, 0);  // CLS looks up row 0
  const at::Tensor positions =
      position.squeeze(0).index_select(0, rows.flatten()).view({batch, patches + 1, width});
  const at::Tensor tokens =
      at::cat({visible_BVD, mask_token.expand({batch, patches + 1 - visible, width})}, 1);
  return tokens + positions;
}

}  // namespace swath::ops
