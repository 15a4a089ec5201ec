// What every preset is made of, and what it takes to hold it. Free of LibTorch.
#pragma once

#include <cstdint>

#include "core/json.h"
#include "core/model_spec.h"
#include "models/model_options.h"

namespace swath::models {

// What `pretrain` trains: MAE around a ViT, SimMIM around a SwinV2.
ModelSpec pretrain_spec(const ModelOptions& options);
// The same architecture as a classifier that sees every patch.
ModelSpec classifier_spec(const ModelOptions& options, int64_t num_classes);

// One object per preset: name, family, width, depth, mlp, gated_mlp, heads, patch, image_size,
// channels, encoder_params, table_params, total_params, flops_per_image (one training step); of a
// SwinV2 also depths and window. table_params follows Table I of arXiv 2404.11706: three channels
// and a head of 1000 classes counted.
Json list_models();

// Bytes that one process holds while it pretrains without sharding, float32 throughout: "model",
// "batch" (its images), "gradients", "optimizer" (one state per parameter, as the poster
// EGU24-22461 counts) with their "total", and "optimizer_adamw" (two) with "total_adamw".
// "activations" is what the backward pass of such a batch needs without checkpointing; no total has
// it.
Json memory_of(const ModelSpec& spec, int64_t batch_size);
// Of every preset, under its "name".
Json memory_table(int64_t batch_size);

}  // namespace swath::models
