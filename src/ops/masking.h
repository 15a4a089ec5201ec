// Random masking of patches, and its way back.
//
// B samples, N patches, K kept patches, D width.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace swath::ops {

struct Masking {
  at::Tensor ids_shuffle_BN;  // patches by ascending noise: the first K are kept, the rest removed
  at::Tensor ids_restore_BN;  // where each patch stands in ids_shuffle
  at::Tensor mask_BN;         // float32: 0 kept, 1 removed, in image order
  int64_t num_kept = 0;

  at::Tensor ids_keep_BK() const { return ids_shuffle_BN.narrow(1, 0, num_kept); }
  at::Tensor ids_removed_BR() const {
    return ids_shuffle_BN.narrow(1, num_kept, ids_shuffle_BN.size(1) - num_kept);
  }
};

// Sorts noise (B, N) stably, so that ties do not depend on the device.
Masking masking_from_noise(const at::Tensor& noise_BN, int64_t num_kept);

// The decoder's input in shuffled order, (B, N + 1, D): CLS, the kept patches, then a mask token
// for every removed patch, each with its row of the position table. Attention does not care about
// the order of tokens, so nothing has to be put back in place, and the removed patches end up
// together.
//
// visible (B, K + 1, D) with CLS first, mask_token (1, 1, D), position (1, N + 1, D) without
// gradient.
at::Tensor append_mask_tokens(const at::Tensor& visible_BVD, const at::Tensor& mask_token,
                              const at::Tensor& position, const at::Tensor& ids_shuffle_BN);

}  // namespace swath::ops
