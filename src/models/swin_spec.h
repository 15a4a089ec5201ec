// Sizes, FLOPs and memory of SwinV2 and SimMIM from their dimensions, without a tensor. Free of
// LibTorch.
#pragma once

#include <cstdint>

#include "core/model_spec.h"
#include "models/swin_options.h"

namespace swath::models {

// The unit "root" (what lies around the blocks), then "layers.s.blocks.b" and, between two stages,
// "layers.s.downsample"; SimMIM ends with "decoder". Names are Microsoft's.
//
// FLOPs as mae_spec counts them: one multiply-add is two, matrix products only, backward twice
// forward, no input gradient for the first layer. The position bias, once per step whatever the
// batch, is left out.
ModelSpec simmim_spec(const SwinDimensions& dimensions);

// The encoder; `num_classes` > 0 adds a head on the mean of the tokens.
ModelSpec swin_spec(const SwinDimensions& dimensions, int64_t num_classes = 0);

// The learning-rate layer of a parameter, as Microsoft's fine-tuning counts: 0 for what lies before
// the blocks, k + 1 for block k of all stages, a merging that of the block before it, and depth + 1
// for what lies behind.
int64_t swin_layer_of(const SwinDimensions& dimensions, const std::string& parameter);

}  // namespace swath::models
