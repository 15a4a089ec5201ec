// Swin Transformer V2 (Liu et al., CVPR 2022): blocks with attention in windows, scaled cosine
// scores and a continuous position bias, each branch normalised before it is added.
//
// B samples, L tokens of a stage's map in row-major order, D its width, C that of the first stage,
// E that of the last, h heads. Parameter names and shapes are Microsoft's. LayerNorm's epsilon is
// 1e-5 everywhere, GELU is exact. Modules come uninitialised: see initialize.h.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor/unit_runner.h"
#include "models/objective.h"
#include "models/swin_options.h"
#include "models/swin_spec.h"
#include "models/vit.h"
#include "ops/window_attention.h"

namespace swath::models {

inline constexpr double kSwinEpsilon = 1e-5;

// The offsets of a window's token pairs as the position bias sees them, (T, 2) float64: rows first,
// sign(u) log2(|u| + 1) / 3 with u = 8 offset / (W - 1), W the window of pretraining; 0 along an
// axis where W is 1.
at::Tensor relative_coordinates(const SwinStage& stage);

class WindowAttention : public torch::nn::Module {
 public:
  WindowAttention(const SwinStage& stage, bool is_shifted);
  at::Tensor forward(const at::Tensor& x_BLD) const;
  // 16 sigmoid(MLP(coordinates)), (h, T), float32 or better: depends on weights alone.
  at::Tensor position_bias() const;

 private:
  struct Weight : torch::nn::Module {
    explicit Weight(at::IntArrayRef shape);
    at::Tensor weight;
  };
  ops::WindowGrid grid_;
  at::Tensor coordinates_;               // (T, 2) float64 on the CPU
  mutable at::Tensor used_coordinates_;  // the same where and as the weights are
  at::Tensor logit_scale_;
  at::Tensor q_bias_;
  at::Tensor v_bias_;
  std::shared_ptr<Linear> position_hidden_;
  std::shared_ptr<Weight> position_out_;
  std::shared_ptr<Weight> qkv_;
  std::shared_ptr<Linear> proj_;
};

class SwinBlock : public torch::nn::Module {
 public:
  SwinBlock(const SwinStage& stage, bool is_shifted);
  // Factors (B, 1, 1) of the attention and the MLP branch; undefined: 1.
  at::Tensor forward(const at::Tensor& x_BLD, const at::Tensor& attention_scale,
                     const at::Tensor& mlp_scale) const;

 private:
  std::shared_ptr<WindowAttention> attn_;
  std::shared_ptr<LayerNorm> norm1_;
  std::shared_ptr<Mlp> mlp_;
  std::shared_ptr<LayerNorm> norm2_;
};

// Joins 2 x 2 neighbours: (B, L, D) -> (B, L / 4, 2 D).
class PatchMerging : public torch::nn::Module {
 public:
  explicit PatchMerging(const SwinStage& stage);
  at::Tensor forward(const at::Tensor& x_BLD) const;

 private:
  int64_t rows_;
  int64_t columns_;
  std::shared_ptr<torch::nn::Module> reduction_;
  at::Tensor weight_;
  std::shared_ptr<LayerNorm> norm_;
};

// What SimMIM and the classifier share: from images to tokens of the last stage.
class SwinTrunk : public torch::nn::Module {
 public:
  explicit SwinTrunk(SwinDimensions dimensions);
  const SwinDimensions& dimensions() const { return dimensions_; }

  // Patch tokens through their norm, (B, L, C). Throws Error naming both sides when size or
  // channels are not the model's.
  at::Tensor embed(const at::Tensor& images_BCHW) const;
  // The band embedding where bands have tokens of their own, all blocks and the final norm:
  // (B, L, C) -> (B, L / 4^(stages - 1), E). Every block and merging is a unit of the runner.
  // `scales` as ClassifyingEncoder::forward_logits takes them.
  at::Tensor encode(at::Tensor x_BLC, const std::vector<at::Tensor>& scales,
                    UnitRunner& runner) const;
  // Spared by weight decay.
  static bool is_spared(const std::string& name);

 protected:
  at::ScalarType dtype() const { return patch_embed_->dtype(); }

 private:
  struct Stage {
    std::vector<std::shared_ptr<SwinBlock>> blocks;
    std::shared_ptr<PatchMerging> downsample;
  };
  class Embed : public PatchEmbed {
   public:
    explicit Embed(const SwinDimensions& dimensions);
    at::Tensor normed(const at::Tensor& images_BCHW) const;

   private:
    std::shared_ptr<LayerNorm> norm_;
  };

  at::Tensor add_band_embed(const at::Tensor& tokens_BLC) const;

  SwinDimensions dimensions_;
  std::shared_ptr<Embed> patch_embed_;
  at::Tensor band_embed_;
  std::vector<Stage> stages_;
  std::shared_ptr<LayerNorm> norm_;
};

// Images of bands side by side, bands row by row: (B, K, H, W) -> (B, 1, rows H, columns W); and
// back.
at::Tensor to_mosaic(const at::Tensor& images_BKHW, const SwinDimensions& dimensions);
at::Tensor from_mosaic(const at::Tensor& mosaic_B1HW, const SwinDimensions& dimensions);

// The encoder, and with `num_classes` > 0 a classifier on the mean of the tokens.
class SwinTransformer : public SwinTrunk, public ClassifyingEncoder {
 public:
  explicit SwinTransformer(SwinDimensions dimensions, int64_t num_classes = 0);

  // (B, L + 1, E) with the mean of the tokens first.
  at::Tensor forward_features(const at::Tensor& images_BCHW, UnitRunner& runner) override;
  at::Tensor forward_logits(const at::Tensor& images_BCHW, const std::vector<at::Tensor>& scales,
                            UnitRunner& runner) override;
  void initialize(const std::string& name, const at::Tensor& values, uint64_t seed) const override;
  bool never_decays(const std::string& name) const override { return is_spared(name); }
  int64_t layer_of(const std::string& name) const override;

  torch::nn::Module& module() override { return *this; }
  const ModelSpec& spec() const override { return spec_; }

 private:
  ModelSpec spec_;
  std::shared_ptr<Linear> head_;
};

}  // namespace swath::models
