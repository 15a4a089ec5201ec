#include "models/swin.h"

#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/tensor/convert.h"
#include "core/tensor/torch.h"
#include "models/initialize.h"
#include "ops/linear.h"

namespace swath::models {
namespace {

// Largest factor of the cosines: 1 / 0.01.
const double kMaxLogitScale = std::log(100.0);

ops::WindowGrid grid_of(const SwinStage& stage, bool is_shifted) {
  return {stage.rows,
          stage.columns,
          stage.window_rows,
          stage.window_columns,
          is_shifted ? stage.shift_rows : 0,
          is_shifted ? stage.shift_columns : 0};
}

double log_coordinate(int64_t offset, int64_t window) {
  if (window == 1) return 0;
  const double u = 8.0 * static_cast<double>(offset) / static_cast<double>(window - 1);
  return std::copysign(std::log2(std::abs(u) + 1) / std::log2(8.0), u);
}

void check_images(const at::Tensor& images_BCHW, const SwinDimensions& d) {
  if (images_BCHW.size(1) == d.channels && images_BCHW.size(2) == d.image_size &&
      images_BCHW.size(3) == d.image_size) {
    return;
  }
  throw Error(fmt::format("model {} takes {} channels of {} x {} pixels, the images have {} of "
                          "{} x {}.",
                          d.name, d.channels, d.image_size, d.image_size, images_BCHW.size(1),
                          images_BCHW.size(2), images_BCHW.size(3)),
              "set model.channels and model.image_size to what the data has.");
}

}  // namespace

at::Tensor relative_coordinates(const SwinStage& stage) {
  const at::Tensor table =
      at::empty({(2 * stage.window_rows - 1) * (2 * stage.window_columns - 1), 2},
                at::TensorOptions(at::kDouble));
  auto* to = table.mutable_data_ptr<double>();
  for (int64_t dy = 1 - stage.window_rows; dy < stage.window_rows; ++dy) {
    for (int64_t dx = 1 - stage.window_columns; dx < stage.window_columns; ++dx) {
      *to++ = log_coordinate(dy, stage.pretrained_rows);
      *to++ = log_coordinate(dx, stage.pretrained_columns);
    }
  }
  return table;
}

WindowAttention::Weight::Weight(at::IntArrayRef shape) {
  weight = register_parameter("weight", torch::empty(shape));
}

WindowAttention::WindowAttention(const SwinStage& stage, bool is_shifted)
    : grid_(grid_of(stage, is_shifted)), coordinates_(relative_coordinates(stage)) {
  const int64_t width = stage.width;
  logit_scale_ = register_parameter("logit_scale", torch::empty({stage.heads, 1, 1}));
  q_bias_ = register_parameter("q_bias", torch::empty({width}));
  v_bias_ = register_parameter("v_bias", torch::empty({width}));
  const auto mlp = register_module("cpb_mlp", std::make_shared<torch::nn::Module>());
  position_hidden_ = mlp->register_module("0", std::make_shared<Linear>(kPositionHidden, 2));
  position_out_ = mlp->register_module(
      "2", std::make_shared<Weight>(at::IntArrayRef({stage.heads, kPositionHidden})));
  qkv_ = register_module("qkv", std::make_shared<Weight>(at::IntArrayRef({3 * width, width})));
  proj_ = register_module("proj", std::make_shared<Linear>(width, width));
}

at::Tensor WindowAttention::position_bias() const {
  const at::Tensor weight = at_least_float(position_hidden_->weight);
  if (!used_coordinates_.defined() || used_coordinates_.device() != weight.device() ||
      used_coordinates_.scalar_type() != weight.scalar_type()) {
    used_coordinates_ = coordinates_.to(weight.options());
  }
  const at::Tensor hidden =
      at::relu(at::linear(used_coordinates_, weight, at_least_float(position_hidden_->bias)));
  return 16 * at::sigmoid(at::matmul(at_least_float(position_out_->weight), hidden.t()));
}

at::Tensor WindowAttention::forward(const at::Tensor& x_BLD) const {
  // Keys have no bias: one shared by all keys would not change the softmax.
  const at::Tensor bias = at::cat({q_bias_, at::zeros_like(q_bias_), v_bias_});
  const at::Tensor scale = at_least_float(logit_scale_).flatten().clamp_max(kMaxLogitScale).exp();
  return proj_->forward(
      ops::window_attention(ops::linear(x_BLD, qkv_->weight, bias), scale, position_bias(), grid_));
}

SwinBlock::SwinBlock(const SwinStage& stage, bool is_shifted) {
  attn_ = register_module("attn", std::make_shared<WindowAttention>(stage, is_shifted));
  norm1_ = register_module("norm1", std::make_shared<LayerNorm>(stage.width, kSwinEpsilon));
  mlp_ = register_module("mlp", std::make_shared<Mlp>(stage.width, stage.mlp(), false));
  norm2_ = register_module("norm2", std::make_shared<LayerNorm>(stage.width, kSwinEpsilon));
}

at::Tensor SwinBlock::forward(const at::Tensor& x_BLD, const at::Tensor& attention_scale,
                              const at::Tensor& mlp_scale) const {
  const auto add = [](const LayerNorm& norm, const at::Tensor& x, const at::Tensor& branch,
                      const at::Tensor& scale) {
    return scale.defined() ? x + norm.forward(branch) * scale : norm.add_to(x, branch);
  };
  const at::Tensor attended = add(*norm1_, x_BLD, attn_->forward(x_BLD), attention_scale);
  return add(*norm2_, attended, mlp_->forward(attended), mlp_scale);
}

PatchMerging::PatchMerging(const SwinStage& stage) : rows_(stage.rows), columns_(stage.columns) {
  reduction_ = register_module("reduction", std::make_shared<torch::nn::Module>());
  weight_ =
      reduction_->register_parameter("weight", torch::empty({2 * stage.width, 4 * stage.width}));
  norm_ = register_module("norm", std::make_shared<LayerNorm>(2 * stage.width, kSwinEpsilon));
}

at::Tensor PatchMerging::forward(const at::Tensor& x_BLD) const {
  const int64_t width = x_BLD.size(2);
  // Order of the neighbours: (even row, even column), (odd, even), (even, odd), (odd, odd).
  const at::Tensor joined = x_BLD.view({-1, rows_ / 2, 2, columns_ / 2, 2, width})
                                .permute({0, 1, 3, 4, 2, 5})
                                .reshape({-1, rows_ / 2 * (columns_ / 2), 4 * width});
  const at::Tensor no_bias = at::zeros({2 * width}, weight_.options());
  return norm_->forward(ops::linear(joined, weight_, no_bias));
}

SwinTrunk::Embed::Embed(const SwinDimensions& d)
    : PatchEmbed(d.width, d.input_channels(), d.patch) {
  norm_ = register_module("norm", std::make_shared<LayerNorm>(d.width, kSwinEpsilon));
}

at::Tensor SwinTrunk::Embed::normed(const at::Tensor& images_BCHW) const {
  return norm_->forward(forward(images_BCHW));
}

at::Tensor to_mosaic(const at::Tensor& images_BKHW, const SwinDimensions& d) {
  return images_BKHW.unflatten(1, {d.tile_rows(), d.tile_columns()})
      .permute({0, 1, 3, 2, 4})
      .reshape({images_BKHW.size(0), 1, d.tile_rows() * images_BKHW.size(2),
                d.tile_columns() * images_BKHW.size(3)});
}

at::Tensor from_mosaic(const at::Tensor& mosaic_B1HW, const SwinDimensions& d) {
  return mosaic_B1HW.squeeze(1)
      .unflatten(2, {d.tile_columns(), -1})
      .unflatten(1, {d.tile_rows(), -1})
      .permute({0, 1, 3, 2, 4})
      .flatten(1, 2);
}

SwinTrunk::SwinTrunk(SwinDimensions dimensions) : dimensions_(std::move(dimensions)) {
  const SwinDimensions& d = dimensions_;
  patch_embed_ = register_module("patch_embed", std::make_shared<Embed>(d));
  if (d.per_band)
    band_embed_ = register_parameter("band_embed", torch::empty({d.channels, d.width}));
  const auto layers = register_module("layers", std::make_shared<torch::nn::Module>());
  for (size_t s = 0; s < d.stages.size(); ++s) {
    const auto layer =
        layers->register_module(std::to_string(s), std::make_shared<torch::nn::Module>());
    const auto blocks = layer->register_module("blocks", std::make_shared<torch::nn::Module>());
    Stage stage;
    for (int64_t b = 0; b < d.stages[s].depth; ++b) {
      stage.blocks.push_back(blocks->register_module(
          std::to_string(b), std::make_shared<SwinBlock>(d.stages[s], b % 2 == 1)));
    }
    if (s + 1 < d.stages.size()) {
      stage.downsample =
          layer->register_module("downsample", std::make_shared<PatchMerging>(d.stages[s]));
    }
    stages_.push_back(std::move(stage));
  }
  norm_ = register_module("norm", std::make_shared<LayerNorm>(d.last_width(), kSwinEpsilon));
}

at::Tensor SwinTrunk::embed(const at::Tensor& images_BCHW) const {
  const SwinDimensions& d = dimensions_;
  check_images(images_BCHW, d);
  return patch_embed_->normed(d.per_band ? to_mosaic(images_BCHW, d) : images_BCHW);
}

at::Tensor SwinTrunk::add_band_embed(const at::Tensor& tokens_BLC) const {
  const SwinDimensions& d = dimensions_;
  if (!d.per_band) return tokens_BLC;
  const at::Tensor tiles =
      tokens_BLC.view({-1, d.tile_rows(), d.grid(), d.tile_columns(), d.grid(), d.width}) +
      band_embed_.view({d.tile_rows(), 1, d.tile_columns(), 1, d.width});
  return tiles.view(tokens_BLC.sizes());
}

// The closures may run again in backward: what they use is held by value.
at::Tensor SwinTrunk::encode(at::Tensor x_BLC, const std::vector<at::Tensor>& scales,
                             UnitRunner& runner) const {
  x_BLC = add_band_embed(x_BLC);
  size_t index = 0;  // of the block, over all stages
  for (size_t s = 0; s < stages_.size(); ++s) {
    for (size_t b = 0; b < stages_[s].blocks.size(); ++b, ++index) {
      const at::Tensor attention_scale = scales.empty() ? at::Tensor() : scales[2 * index];
      const at::Tensor mlp_scale = scales.empty() ? at::Tensor() : scales[2 * index + 1];
      x_BLC = runner.run(
          fmt::format("layers.{}.blocks.{}", s, b),
          [block = stages_[s].blocks[b], attention_scale, mlp_scale](const at::Tensor& x) {
            return block->forward(x, attention_scale, mlp_scale);
          },
          x_BLC);
    }
    if (stages_[s].downsample) {
      x_BLC = runner.run(
          fmt::format("layers.{}.downsample", s),
          [merging = stages_[s].downsample](const at::Tensor& x) { return merging->forward(x); },
          x_BLC);
    }
  }
  return norm_->forward(x_BLC);
}

bool SwinTrunk::is_spared(const std::string& name) {
  return name == "mask_token" || name == "band_embed" ||
         name.find("cpb_mlp") != std::string::npos || name.find("logit_scale") != std::string::npos;
}

SwinTransformer::SwinTransformer(SwinDimensions dimensions, int64_t num_classes)
    : SwinTrunk(std::move(dimensions)), spec_(swin_spec(SwinTrunk::dimensions(), num_classes)) {
  if (num_classes > 0) {
    head_ = register_module(
        "head", std::make_shared<Linear>(num_classes, SwinTrunk::dimensions().last_width()));
  }
}

at::Tensor SwinTransformer::forward_features(const at::Tensor& images_BCHW, UnitRunner& runner) {
  const SwinDimensions& d = dimensions();
  at::Tensor x_BLE = encode(embed(images_BCHW), {}, runner);
  if (d.per_band) {
    // Bands lie side by side; a patch is a place, whatever the band.
    x_BLE = x_BLE
                .view({-1, d.tile_rows(), d.stages.back().rows / d.tile_rows(), d.tile_columns(),
                       d.stages.back().columns / d.tile_columns(), x_BLE.size(2)})
                .mean({1, 3})
                .flatten(1, 2);
  }
  return at::cat({x_BLE.mean(1, true), x_BLE}, 1);
}

at::Tensor SwinTransformer::forward_logits(const at::Tensor& images_BCHW,
                                           const std::vector<at::Tensor>& scales,
                                           UnitRunner& runner) {
  return head_->forward(encode(embed(images_BCHW), scales, runner).mean(1));
}

void SwinTransformer::initialize(const std::string& name, const at::Tensor& values,
                                 uint64_t seed) const {
  initialize_parameter(name, values, dimensions(), seed);
}

int64_t SwinTransformer::layer_of(const std::string& name) const {
  return swin_layer_of(dimensions(), name);
}

}  // namespace swath::models
