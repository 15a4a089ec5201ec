#include "models/vit.h"

#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/tensor/torch.h"
#include "models/initialize.h"
#include "ops/attention.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/patches.h"

namespace swath::models {

Linear::Linear(int64_t out, int64_t in) {
  weight = register_parameter("weight", torch::empty({out, in}));
  bias = register_parameter("bias", torch::empty({out}));
}

at::Tensor Linear::forward(const at::Tensor& x) const { return ops::linear(x, weight, bias); }

LayerNorm::LayerNorm(int64_t width, double epsilon) : epsilon_(epsilon) {
  weight = register_parameter("weight", torch::empty({width}));
  bias = register_parameter("bias", torch::empty({width}));
}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  return ops::layer_norm(x, weight, bias, epsilon_);
}

at::Tensor LayerNorm::add_to(const at::Tensor& x, const at::Tensor& branch) const {
  return ops::add_normed(x, branch, weight, bias, epsilon_);
}

PatchEmbed::PatchEmbed(int64_t width, int64_t channels, int64_t patch) : patch_(patch) {
  proj_ = std::make_shared<Projection>();
  proj_->weight =
      proj_->register_parameter("weight", torch::empty({width, channels, patch, patch}));
  proj_->bias = proj_->register_parameter("bias", torch::empty({width}));
  register_module("proj", proj_);
}

at::Tensor PatchEmbed::embed(const at::Tensor& rows) const {
  return ops::linear(rows.to(dtype()), proj_->weight.flatten(1), proj_->bias);
}

at::Tensor PatchEmbed::forward(const at::Tensor& images_BCHW) const {
  return embed(ops::patch_rows(images_BCHW, patch_));
}

at::Tensor PatchEmbed::forward(const at::Tensor& images_BCHW, const at::Tensor& ids_BK) const {
  return embed(ops::gather_patch_rows(images_BCHW, patch_, ids_BK));
}

Attention::Attention(int64_t width, int64_t heads) : heads_(heads) {
  qkv_ = register_module("qkv", std::make_shared<Linear>(3 * width, width));
  proj_ = register_module("proj", std::make_shared<Linear>(width, width));
}

at::Tensor Attention::forward(const at::Tensor& x_BTD) const {
  return proj_->forward(ops::self_attention(qkv_->forward(x_BTD), heads_));
}

at::Tensor Attention::forward_last(const at::Tensor& x_BTD, int64_t num_queries) const {
  const int64_t width = x_BTD.size(2);
  const auto weights = qkv_->weight.split_with_sizes({width, 2 * width});
  const auto biases = qkv_->bias.split_with_sizes({width, 2 * width});
  const at::Tensor q_BQD =
      ops::linear(x_BTD.slice(1, x_BTD.size(1) - num_queries), weights[0], biases[0]);
  const auto kv = ops::linear(x_BTD, weights[1], biases[1]).chunk(2, -1);
  return proj_->forward(ops::attention(q_BQD, kv[0], kv[1], heads_));
}

Mlp::Mlp(int64_t width, int64_t hidden, bool gated) {
  if (gated) {
    fc1_g_ = register_module("fc1_g", std::make_shared<Linear>(hidden, width));
    fc1_x_ = register_module("fc1_x", std::make_shared<Linear>(hidden, width));
  } else {
    fc1_ = register_module("fc1", std::make_shared<Linear>(hidden, width));
  }
  fc2_ = register_module("fc2", std::make_shared<Linear>(width, hidden));
}

at::Tensor Mlp::forward(const at::Tensor& x) const {
  if (fc1_) return ops::gelu_linear(fc1_->forward(x), fc2_->weight, fc2_->bias);
  return ops::gated_gelu_linear(fc1_g_->forward(x), fc1_x_->forward(x), fc2_->weight, fc2_->bias);
}

Block::Block(int64_t width, int64_t heads, int64_t hidden, bool gated) {
  norm1_ = register_module("norm1", std::make_shared<LayerNorm>(width));
  attn_ = register_module("attn", std::make_shared<Attention>(width, heads));
  norm2_ = register_module("norm2", std::make_shared<LayerNorm>(width));
  mlp_ = register_module("mlp", std::make_shared<Mlp>(width, hidden, gated));
}

at::Tensor Block::finish(const at::Tensor& x, at::Tensor attended,
                         const at::Tensor& attention_scale, const at::Tensor& mlp_scale) const {
  if (attention_scale.defined()) attended = attended * attention_scale;
  const auto [sum, normed] =
      ops::add_layer_norm(x, attended, norm2_->weight, norm2_->bias, kLayerNormEpsilon);
  at::Tensor expanded = mlp_->forward(normed);
  if (mlp_scale.defined()) expanded = expanded * mlp_scale;
  return sum + expanded;
}

at::Tensor Block::forward(const at::Tensor& x_BTD) const {
  return forward(x_BTD, at::Tensor(), at::Tensor());
}

at::Tensor Block::forward(const at::Tensor& x_BTD, const at::Tensor& attention_scale_B11,
                          const at::Tensor& mlp_scale_B11) const {
  return finish(x_BTD, attn_->forward(norm1_->forward(x_BTD)), attention_scale_B11, mlp_scale_B11);
}

at::Tensor Block::forward_last(const at::Tensor& x_BTD, int64_t num_queries) const {
  return finish(x_BTD.slice(1, x_BTD.size(1) - num_queries),
                attn_->forward_last(norm1_->forward(x_BTD), num_queries), at::Tensor(),
                at::Tensor());
}

BlockList::BlockList(std::string prefix, int64_t depth, int64_t width, int64_t heads,
                     int64_t hidden, bool gated)
    : prefix_(std::move(prefix)) {
  for (int64_t i = 0; i < depth; ++i) {
    blocks_.push_back(
        register_module(std::to_string(i), std::make_shared<Block>(width, heads, hidden, gated)));
  }
}

std::string BlockList::unit_name(size_t index) const {
  return fmt::format("{}.{}", prefix_, index);
}

at::Tensor BlockList::forward(at::Tensor x_BTD, UnitRunner& runner) const {
  return forward(std::move(x_BTD), {}, runner);
}

// The closures may run again in backward: what they use is held by value.
at::Tensor BlockList::forward(at::Tensor x_BTD, const std::vector<at::Tensor>& scales,
                              UnitRunner& runner) const {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const at::Tensor attention_scale = scales.empty() ? at::Tensor() : scales[2 * i];
    const at::Tensor mlp_scale = scales.empty() ? at::Tensor() : scales[2 * i + 1];
    x_BTD = runner.run(
        unit_name(i),
        [block = blocks_[i], attention_scale, mlp_scale](const at::Tensor& x) {
          return block->forward(x, attention_scale, mlp_scale);
        },
        x_BTD);
  }
  return x_BTD;
}

at::Tensor BlockList::forward_last(at::Tensor x_BTD, int64_t num_queries,
                                   UnitRunner& runner) const {
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const bool is_last = i + 1 == blocks_.size();
    x_BTD = runner.run(
        unit_name(i),
        [block = blocks_[i], is_last, num_queries](const at::Tensor& x) {
          return is_last ? block->forward_last(x, num_queries) : block->forward(x);
        },
        x_BTD);
  }
  return x_BTD;
}

at::Tensor crop_to_grid(const at::Tensor& images_BCHW, const VitDimensions& d) {
  const int64_t channels = images_BCHW.size(1);
  const int64_t height = images_BCHW.size(2);
  const int64_t width = images_BCHW.size(3);
  const bool is_whole = height == d.image_size && width == d.image_size;
  const bool is_cropped = height == d.used_size() && width == d.used_size();
  if (channels != d.channels || (!is_whole && !is_cropped)) {
    throw Error(
        fmt::format("model {} takes {} channels of {} x {} pixels, the images have {} of "
                    "{} x {}.",
                    d.name, d.channels, d.image_size, d.image_size, channels, height, width),
        "set model.channels and model.image_size to what the data has.");
  }
  if (is_cropped) return images_BCHW;
  const int64_t first = d.crop_center ? d.remainder() / 2 : 0;
  return images_BCHW.narrow(2, first, d.used_size()).narrow(3, first, d.used_size());
}

VisionTransformer::VisionTransformer(VitDimensions dimensions, int64_t num_classes,
                                     bool average_pool)
    : dimensions_(std::move(dimensions)),
      spec_(vit_spec(dimensions_, num_classes, average_pool)),
      average_pool_(average_pool) {
  const VitDimensions& d = dimensions_;
  cls_token_ = register_parameter("cls_token", torch::empty({1, 1, d.width}));
  pos_embed_ = register_parameter("pos_embed", torch::empty({1, d.num_patches() + 1, d.width}),
                                  /*requires_grad=*/false);
  patch_embed_ =
      register_module("patch_embed", std::make_shared<PatchEmbed>(d.width, d.channels, d.patch));
  blocks_ = register_module("blocks", std::make_shared<BlockList>("blocks", d.depth, d.width,
                                                                  d.heads, d.mlp, d.gated_mlp));
  if (average_pool) {
    fc_norm_ = register_module("fc_norm", std::make_shared<LayerNorm>(d.width));
  } else {
    norm_ = register_module("norm", std::make_shared<LayerNorm>(d.width));
  }
  if (num_classes > 0) {
    head_ = register_module("head", std::make_shared<Linear>(num_classes, d.width));
  }
}

at::Tensor VisionTransformer::tokens(const at::Tensor& images_BCHW,
                                     const std::vector<at::Tensor>& scales, UnitRunner& runner) {
  const at::Tensor patches_BND = patch_embed_->forward(crop_to_grid(images_BCHW, dimensions_));
  const at::Tensor position = pos_embed_.to(patches_BND.scalar_type());
  const at::Tensor cls =
      (cls_token_ + position.slice(1, 0, 1)).expand({patches_BND.size(0), -1, -1});
  return blocks_->forward(at::cat({cls, patches_BND + position.slice(1, 1)}, 1), scales, runner);
}

at::Tensor VisionTransformer::forward_features(const at::Tensor& images_BCHW, UnitRunner& runner) {
  const at::Tensor x_BTD = tokens(images_BCHW, {}, runner);
  return norm_ ? norm_->forward(x_BTD) : x_BTD;
}

at::Tensor VisionTransformer::forward_logits(const at::Tensor& images_BCHW,
                                             const std::vector<at::Tensor>& scales,
                                             UnitRunner& runner) {
  const at::Tensor x_BTD = tokens(images_BCHW, scales, runner);
  // A norm works on each token by itself: only the pooled one needs it.
  const at::Tensor pooled = average_pool_ ? fc_norm_->forward(x_BTD.slice(1, 1).mean(1))
                                          : norm_->forward(x_BTD.select(1, 0));
  return head_->forward(pooled);
}

void VisionTransformer::initialize(const std::string& name, const at::Tensor& values,
                                   uint64_t seed) const {
  initialize_parameter(name, values, dimensions_, seed);
}

int64_t VisionTransformer::layer_of(const std::string& name) const {
  if (name == "cls_token" || name == "pos_embed" || name.starts_with("patch_embed.")) return 0;
  constexpr std::string_view kBlocks = "blocks.";
  if (!name.starts_with(kBlocks)) return dimensions_.depth + 1;
  return std::stoll(name.substr(kBlocks.size())) + 1;
}

}  // namespace swath::models
