// Sizes, FLOPs and memory of a model from its dimensions, without a tensor. Free of LibTorch.
#pragma once

#include <cstdint>

#include "core/model_spec.h"
#include "models/model_options.h"

namespace swath::models {

// The unit "root" (what lies around the blocks), then "blocks.i", then "decoder_blocks.i".
//
// FLOPs: one multiply-add is two, matrix products only, backward twice forward, no input gradient
// for the first layer. Counted is what the task needs: visible patches embedded, removed patches
// predicted. Activations: what the fused operators keep for backward (block input, both norms'
// outputs, q k v, attention output, residual sum, and the MLP before its activation).
ModelSpec mae_spec(const VitDimensions& dimensions);

// The encoder over all patches. `num_classes` > 0 adds a head; `average_pool` puts the norm behind
// the pooling (fc_norm), as MAE fine-tunes.
ModelSpec vit_spec(const VitDimensions& dimensions, int64_t num_classes = 0,
                   bool average_pool = false);

// Parameters of the encoder that MAE trains: without head and position table.
int64_t encoder_params(const VitDimensions& dimensions);
// The convention of Table I of arXiv 2404.11706: 224 px, three channels, the position table and a
// head of 1000 classes counted.
int64_t table_params(const VitDimensions& dimensions);
// Everything MAE trains: encoder and decoder, without the fixed position tables.
int64_t total_params(const VitDimensions& dimensions);

}  // namespace swath::models
