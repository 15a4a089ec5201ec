// The vision transformer of timm and MAE: pre-norm blocks over patch tokens and one CLS token.
//
// B samples, T tokens (CLS first), N patches, D width, h heads. Parameter names, shapes and their
// order are timm's (the gated MLP's are those of timm's SwiGLU: fc1_g, fc1_x, fc2). LayerNorm's
// epsilon is 1e-6 everywhere, GELU is exact. Modules come uninitialised: see initialize.h.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor/unit_runner.h"
#include "models/model_options.h"
#include "models/objective.h"
#include "models/vit_spec.h"

namespace swath::models {

inline constexpr double kLayerNormEpsilon = 1e-6;

// weight (out, in), bias (out).
class Linear : public torch::nn::Module {
 public:
  Linear(int64_t out, int64_t in);
  at::Tensor forward(const at::Tensor& x) const;
  at::Tensor weight;
  at::Tensor bias;
};

class LayerNorm : public torch::nn::Module {
 public:
  explicit LayerNorm(int64_t width, double epsilon = kLayerNormEpsilon);
  at::Tensor forward(const at::Tensor& x) const;
  // x + forward(branch)
  at::Tensor add_to(const at::Tensor& x, const at::Tensor& branch) const;
  at::Tensor weight;
  at::Tensor bias;

 private:
  double epsilon_;
};

// weight (D, C, p, p) as a convolution has it, used as a product with a patch's values.
class PatchEmbed : public torch::nn::Module {
 public:
  PatchEmbed(int64_t width, int64_t channels, int64_t patch);
  // All patches: (B, N, D).
  at::Tensor forward(const at::Tensor& images_BCHW) const;
  // Chosen patches only, ids (B, K): (B, K, D).
  at::Tensor forward(const at::Tensor& images_BCHW, const at::Tensor& ids_BK) const;
  at::ScalarType dtype() const { return proj_->weight.scalar_type(); }

 private:
  at::Tensor embed(const at::Tensor& rows) const;
  struct Projection : torch::nn::Module {
    at::Tensor weight;
    at::Tensor bias;
  };
  std::shared_ptr<Projection> proj_;
  int64_t patch_;
};

class Attention : public torch::nn::Module {
 public:
  Attention(int64_t width, int64_t heads);
  at::Tensor forward(const at::Tensor& x_BTD) const;
  // The result of the last `num_queries` tokens only, each still seeing all T: (B, num_queries, D).
  at::Tensor forward_last(const at::Tensor& x_BTD, int64_t num_queries) const;

 private:
  int64_t heads_;
  std::shared_ptr<Linear> qkv_;
  std::shared_ptr<Linear> proj_;
};

class Mlp : public torch::nn::Module {
 public:
  Mlp(int64_t width, int64_t hidden, bool gated);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  std::shared_ptr<Linear> fc1_;    // plain
  std::shared_ptr<Linear> fc1_g_;  // gated: GELU(fc1_g) * fc1_x
  std::shared_ptr<Linear> fc1_x_;
  std::shared_ptr<Linear> fc2_;
};

class Block : public torch::nn::Module {
 public:
  Block(int64_t width, int64_t heads, int64_t hidden, bool gated);
  at::Tensor forward(const at::Tensor& x_BTD) const;
  // Stochastic depth: each sample's attention and MLP branch times a factor, (B, 1, 1) each.
  at::Tensor forward(const at::Tensor& x_BTD, const at::Tensor& attention_scale_B11,
                     const at::Tensor& mlp_scale_B11) const;
  // The last `num_queries` tokens of forward(x), without computing the others.
  at::Tensor forward_last(const at::Tensor& x_BTD, int64_t num_queries) const;

 private:
  at::Tensor finish(const at::Tensor& x, at::Tensor attended, const at::Tensor& attention_scale,
                    const at::Tensor& mlp_scale) const;
  std::shared_ptr<LayerNorm> norm1_;
  std::shared_ptr<Attention> attn_;
  std::shared_ptr<LayerNorm> norm2_;
  std::shared_ptr<Mlp> mlp_;
};

// A numbered list of blocks, each run as the unit "PREFIX.i".
class BlockList : public torch::nn::Module {
 public:
  BlockList(std::string prefix, int64_t depth, int64_t width, int64_t heads, int64_t hidden,
            bool gated);
  at::Tensor forward(at::Tensor x_BTD, UnitRunner& runner) const;
  // scales[2 i] and scales[2 i + 1] belong to block i (see Block).
  at::Tensor forward(at::Tensor x_BTD, const std::vector<at::Tensor>& scales,
                     UnitRunner& runner) const;
  // The last block computes its last `num_queries` tokens only.
  at::Tensor forward_last(at::Tensor x_BTD, int64_t num_queries, UnitRunner& runner) const;

 private:
  std::string unit_name(size_t index) const;
  std::string prefix_;
  std::vector<std::shared_ptr<Block>> blocks_;
};

// The pixels that count: the images themselves, or their top left or centre when patches do not
// fill them. Throws Error naming both sides when size or channels are not the model's.
at::Tensor crop_to_grid(const at::Tensor& images_BCHW, const VitDimensions& dimensions);

// Encoder, and with `num_classes` > 0 a classifier. With `average_pool` the mean of the patch
// tokens goes through fc_norm, and there is no norm before it.
class VisionTransformer : public torch::nn::Module, public ClassifyingEncoder {
 public:
  explicit VisionTransformer(VitDimensions dimensions, int64_t num_classes = 0,
                             bool average_pool = false);

  at::Tensor forward_features(const at::Tensor& images_BCHW, UnitRunner& runner) override;
  at::Tensor forward_logits(const at::Tensor& images_BCHW, const std::vector<at::Tensor>& scales,
                            UnitRunner& runner) override;
  void initialize(const std::string& name, const at::Tensor& values, uint64_t seed) const override;
  // mae, util/lr_decay.py
  int64_t layer_of(const std::string& name) const override;

  torch::nn::Module& module() override { return *this; }
  const ModelSpec& spec() const override { return spec_; }
  const VitDimensions& dimensions() const { return dimensions_; }

 private:
  at::Tensor tokens(const at::Tensor& images_BCHW, const std::vector<at::Tensor>& scales,
                    UnitRunner& runner);
  VitDimensions dimensions_;
  ModelSpec spec_;
  bool average_pool_;
  at::Tensor cls_token_;
  at::Tensor pos_embed_;
  std::shared_ptr<PatchEmbed> patch_embed_;
  std::shared_ptr<BlockList> blocks_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<LayerNorm> fc_norm_;
  std::shared_ptr<Linear> head_;
};

}  // namespace swath::models
