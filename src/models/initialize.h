// Initial values as MAE gives them, each a function of (seed, parameter name): the same for any
// order of creation, any number of ranks and any device.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <string>

#include "models/model_options.h"

namespace swath::models {

// Linear weights: Xavier uniform (qkv as one matrix), biases 0; LayerNorm 1 and 0; patch embedding:
// Xavier uniform over (D, C p p), bias U(+-1/sqrt(C p p)); CLS and mask token: normal, deviation
// 0.02; a classification head: normal, deviation 2e-5 (MAE's fine-tuning); position tables: sine
// and cosine. Names are those of timm and MAE.
void initialize(torch::nn::Module& module, const VitDimensions& dimensions, uint64_t seed);

// One parameter, for those who hold only some.
void initialize_parameter(const std::string& name, const at::Tensor& parameter,
                          const VitDimensions& dimensions, uint64_t seed);

// SwinV2's and SimMIM's: linear weights, the mask token and band embeddings normal, deviation 0.02,
// biases 0; patch embedding and decoder U(+-1/sqrt(inputs)), as convolutions are; LayerNorm 1 and
// 0, but norm1 and norm2 of every block 0 and 0, so that blocks begin as the identity; logit_scale
// ln 10.
void initialize_parameter(const std::string& name, const at::Tensor& parameter,
                          const SwinDimensions& dimensions, uint64_t seed);

}  // namespace swath::models
