#include "models/vit_spec.h"

#include <fmt/format.h>

#include <string>
#include <utility>

namespace swath::models {
namespace {

constexpr double kBytesPerValue = 4;

struct BlockShape {
  int64_t width;
  int64_t heads;
  int64_t mlp;
  bool gated;
};

void add_linear(UnitSpec& unit, const std::string& name, int64_t out, int64_t in) {
  unit.parameters.push_back({name + ".weight", {out, in}, true});
  unit.parameters.push_back({name + ".bias", {out}, true});
}

void add_norm(UnitSpec& unit, const std::string& name, int64_t width) {
  unit.parameters.push_back({name + ".weight", {width}, true});
  unit.parameters.push_back({name + ".bias", {width}, true});
}

// `tokens` enter; attention looks at all of them.
UnitSpec block_unit(const std::string& name, const BlockShape& block, int64_t tokens) {
  UnitSpec unit;
  unit.name = name;
  const int64_t w = block.width;
  add_norm(unit, name + ".norm1", w);
  add_linear(unit, name + ".attn.qkv", 3 * w, w);
  add_linear(unit, name + ".attn.proj", w, w);
  add_norm(unit, name + ".norm2", w);
  if (block.gated) {
    add_linear(unit, name + ".mlp.fc1_g", block.mlp, w);
    add_linear(unit, name + ".mlp.fc1_x", block.mlp, w);
  } else {
    add_linear(unit, name + ".mlp.fc1", block.mlp, w);
  }
  add_linear(unit, name + ".mlp.fc2", w, block.mlp);

  const auto t = static_cast<double>(tokens);
  const auto width = static_cast<double>(w);
  const auto mlp = static_cast<double>(block.mlp);
  const double hidden = block.gated ? 2 : 1;
  unit.forward_flops = 2 * t * (4 * width * width + (hidden + 1) * width * mlp) + 4 * t * t * width;
  unit.activation_bytes = kBytesPerValue * t * (8 * width + hidden * mlp);
  return unit;
}

void add_blocks(ModelSpec& spec, const std::string& prefix, int64_t depth, const BlockShape& block,
                int64_t tokens) {
  for (int64_t i = 0; i < depth; ++i) {
    spec.units.push_back(block_unit(fmt::format("{}.{}", prefix, i), block, tokens));
  }
}

ModelSpec spec_without_units(const VitDimensions& d, std::string family) {
  ModelSpec spec;
  spec.name = d.name;
  spec.family = std::move(family);
  spec.width = d.width;
  spec.depth = d.depth;
  spec.mlp = d.mlp;
  spec.heads = d.heads;
  spec.patch = d.patch;
  spec.image_size = d.image_size;
  spec.channels = d.channels;
  return spec;
}

void add_patch_embed(UnitSpec& root, const VitDimensions& d) {
  root.parameters.push_back(
      {"patch_embed.proj.weight", {d.width, d.channels, d.patch, d.patch}, true});
  root.parameters.push_back({"patch_embed.proj.bias", {d.width}, true});
}

BlockShape encoder_block(const VitDimensions& d) { return {d.width, d.heads, d.mlp, d.gated_mlp}; }

}  // namespace

ModelSpec mae_spec(const VitDimensions& d) {
  ModelSpec spec = spec_without_units(d, "mae");
  const int64_t tokens = d.num_patches() + 1;
  UnitSpec root;
  root.name = "root";
  root.parameters.push_back({"cls_token", {1, 1, d.width}, true});
  root.parameters.push_back({"pos_embed", {1, tokens, d.width}, false});
  root.parameters.push_back({"mask_token", {1, 1, d.decoder_width}, true});
  root.parameters.push_back({"decoder_pos_embed", {1, tokens, d.decoder_width}, false});
  add_patch_embed(root, d);
  add_norm(root, "norm", d.width);
  add_linear(root, "decoder_embed", d.decoder_width, d.width);
  add_norm(root, "decoder_norm", d.decoder_width);
  add_linear(root, "decoder_pred", d.patch_values(), d.decoder_width);

  const auto width = static_cast<double>(d.width);
  const auto decoder_width = static_cast<double>(d.decoder_width);
  const auto values = static_cast<double>(d.patch_values());
  const auto kept = static_cast<double>(d.num_kept());
  const auto removed = static_cast<double>(d.num_patches() - d.num_kept());
  const double embed = 2 * kept * values * width;
  root.forward_flops =
      embed + 2 * (kept + 1) * width * decoder_width + 2 * removed * decoder_width * values;
  root.activation_bytes = kBytesPerValue * (kept * values + (kept + 1) * 2 * width +
                                            removed * (2 * decoder_width + values));
  spec.units.push_back(std::move(root));
  add_blocks(spec, "blocks", d.depth, encoder_block(d), d.num_kept() + 1);
  add_blocks(spec, "decoder_blocks", d.decoder_depth,
             {d.decoder_width, d.decoder_heads, d.decoder_mlp, false}, tokens);
  spec.train_flops = 3 * spec.forward_flops() - embed;
  return spec;
}

ModelSpec vit_spec(const VitDimensions& d, int64_t num_classes, bool average_pool) {
  ModelSpec spec = spec_without_units(d, "vit");
  const int64_t tokens = d.num_patches() + 1;
  UnitSpec root;
  root.name = "root";
  root.parameters.push_back({"cls_token", {1, 1, d.width}, true});
  root.parameters.push_back({"pos_embed", {1, tokens, d.width}, false});
  add_patch_embed(root, d);
  add_norm(root, average_pool ? "fc_norm" : "norm", d.width);
  if (num_classes > 0) add_linear(root, "head", num_classes, d.width);

  const auto width = static_cast<double>(d.width);
  const auto values = static_cast<double>(d.patch_values());
  const auto patches = static_cast<double>(d.num_patches());
  const double embed = 2 * patches * values * width;
  root.forward_flops = embed + 2 * width * static_cast<double>(num_classes);
  root.activation_bytes = kBytesPerValue * (patches * values + (patches + 1) * 2 * width);
  spec.units.push_back(std::move(root));
  add_blocks(spec, "blocks", d.depth, encoder_block(d), tokens);
  spec.train_flops = 3 * spec.forward_flops() - embed;
  return spec;
}

int64_t encoder_params(const VitDimensions& d) { return vit_spec(d).parameter_count(true); }

int64_t table_params(const VitDimensions& d) {
  VitDimensions table = d;
  table.image_size = 224;
  table.channels = 3;
  return vit_spec(table, 1000).parameter_count(false);
}

int64_t total_params(const VitDimensions& d) { return mae_spec(d).parameter_count(true); }

}  // namespace swath::models
