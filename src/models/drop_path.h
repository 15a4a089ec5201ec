// Stochastic depth: samples that skip a branch of a block.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/tensor/batch.h"

namespace swath::models {

// Two factors (B, 1, 1) per block, of its attention and its MLP branch: 0, or 1 / (chance to stay),
// so that the mean is kept. The chance to skip rises linearly from 0 in the first block to `rate`
// in the last. A function of (seed, epoch, sample id); empty where the rate is 0.
std::vector<at::Tensor> drop_path_scales(const Batch& batch, double rate, int64_t depth,
                                         uint64_t seed, at::ScalarType dtype);

}  // namespace swath::models
