#include "models/swin_spec.h"

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <string_view>
#include <utility>

namespace swath::models {
namespace {

constexpr double kBytesPerValue = 4;

void add(UnitSpec& unit, const std::string& name, std::vector<int64_t> shape) {
  unit.parameters.push_back({name, std::move(shape), true});
}

void add_linear(UnitSpec& unit, const std::string& name, int64_t out, int64_t in) {
  add(unit, name + ".weight", {out, in});
  add(unit, name + ".bias", {out});
}

void add_norm(UnitSpec& unit, const std::string& name, int64_t width) {
  add(unit, name + ".weight", {width});
  add(unit, name + ".bias", {width});
}

UnitSpec block_unit(const std::string& name, const SwinStage& stage) {
  UnitSpec unit;
  unit.name = name;
  const int64_t w = stage.width;
  add(unit, name + ".attn.logit_scale", {stage.heads, 1, 1});
  add(unit, name + ".attn.q_bias", {w});
  add(unit, name + ".attn.v_bias", {w});
  add_linear(unit, name + ".attn.cpb_mlp.0", kPositionHidden, 2);
  add(unit, name + ".attn.cpb_mlp.2.weight", {stage.heads, kPositionHidden});
  add(unit, name + ".attn.qkv.weight", {3 * w, w});
  add_linear(unit, name + ".attn.proj", w, w);
  add_norm(unit, name + ".norm1", w);
  add_linear(unit, name + ".mlp.fc1", stage.mlp(), w);
  add_linear(unit, name + ".mlp.fc2", w, stage.mlp());
  add_norm(unit, name + ".norm2", w);

  const auto t = static_cast<double>(stage.tokens());
  const auto n = static_cast<double>(stage.window_tokens());
  const auto width = static_cast<double>(w);
  const auto mlp = static_cast<double>(stage.mlp());
  unit.forward_flops = 2 * t * (4 * width * width + 2 * width * mlp) + 4 * t * n * width;
  // Block input, q k v, attention's result, the inputs of both norms, the sum between the branches,
  // and the MLP before its activation.
  unit.activation_bytes = kBytesPerValue * t * (8 * width + mlp);
  return unit;
}

UnitSpec merging_unit(const std::string& name, const SwinStage& stage) {
  UnitSpec unit;
  unit.name = name;
  add(unit, name + ".reduction.weight", {2 * stage.width, 4 * stage.width});
  add_norm(unit, name + ".norm", 2 * stage.width);
  const auto t = static_cast<double>(stage.tokens()) / 4;
  const auto width = static_cast<double>(stage.width);
  unit.forward_flops = 2 * t * 8 * width * width;
  unit.activation_bytes = kBytesPerValue * t * 6 * width;
  return unit;
}

double patch_values(const SwinDimensions& d) {
  return static_cast<double>(d.input_channels() * d.patch * d.patch);
}

// Of the first layer, which has no input gradient.
double embed_flops(const SwinDimensions& d) {
  return 2 * static_cast<double>(d.stages[0].tokens()) * patch_values(d) *
         static_cast<double>(d.width);
}

ModelSpec encoder_spec(const SwinDimensions& d, std::string family) {
  ModelSpec spec;
  spec.name = d.name;
  spec.family = std::move(family);
  spec.width = d.width;
  spec.depth = d.depth();
  spec.mlp = d.stages[0].mlp();
  spec.heads = d.heads;
  spec.patch = d.patch;
  spec.image_size = d.image_size;
  spec.channels = d.channels;

  UnitSpec root;
  root.name = "root";
  add(root, "patch_embed.proj.weight", {d.width, d.input_channels(), d.patch, d.patch});
  add(root, "patch_embed.proj.bias", {d.width});
  add_norm(root, "patch_embed.norm", d.width);
  if (d.per_band) add(root, "band_embed", {d.channels, d.width});
  add_norm(root, "norm", d.last_width());
  root.forward_flops = embed_flops(d);
  const auto first = static_cast<double>(d.stages.front().tokens());
  const auto last = static_cast<double>(d.stages.back().tokens());
  root.activation_bytes =
      kBytesPerValue * (first * (patch_values(d) + 2 * static_cast<double>(d.width)) +
                        last * static_cast<double>(d.last_width()));
  spec.units.push_back(std::move(root));
  for (size_t s = 0; s < d.stages.size(); ++s) {
    for (int64_t b = 0; b < d.stages[s].depth; ++b) {
      spec.units.push_back(block_unit(fmt::format("layers.{}.blocks.{}", s, b), d.stages[s]));
    }
    if (s + 1 < d.stages.size()) {
      spec.units.push_back(merging_unit(fmt::format("layers.{}.downsample", s), d.stages[s]));
    }
  }
  return spec;
}

// The number that follows `prefix` in `name`.
int64_t number_after(std::string_view name, std::string_view prefix) {
  int64_t number = -1;
  const size_t at = name.find(prefix);
  if (at == std::string_view::npos) return number;
  std::from_chars(name.data() + at + prefix.size(), name.data() + name.size(), number);
  return number;
}

}  // namespace

ModelSpec simmim_spec(const SwinDimensions& d) {
  ModelSpec spec = encoder_spec(d, "simmim");
  UnitSpec& root = spec.units.front();
  add(root, "mask_token", {1, 1, d.width});
  const auto pixels = static_cast<double>(d.image_size * d.image_size);
  const auto channels = static_cast<double>(d.channels);
  const auto tiles = static_cast<double>(d.tile_rows() * d.tile_columns());
  if (d.cross_entropy) {
    add_linear(root, "bins", kBins * d.input_channels(), kPixelFeatures);
    root.forward_flops += 2 * pixels * kPixelFeatures * kBins * channels;
    // Pixel features and the logits' probabilities.
    root.activation_bytes += kBytesPerValue * pixels * (tiles * kPixelFeatures + kBins * channels);
  } else {
    root.activation_bytes += kBytesPerValue * pixels * channels;  // the sign of each difference
  }
  UnitSpec decoder;
  decoder.name = "decoder";
  add(decoder, "decoder.0.weight", {d.decoder_channels(), d.last_width(), 1, 1});
  add(decoder, "decoder.0.bias", {d.decoder_channels()});
  const auto cells = static_cast<double>(d.stages.back().tokens());
  decoder.forward_flops =
      2 * cells * static_cast<double>(d.last_width()) * static_cast<double>(d.decoder_channels());
  decoder.activation_bytes = kBytesPerValue * cells * static_cast<double>(d.last_width());
  spec.units.push_back(std::move(decoder));
  spec.train_flops = 3 * spec.forward_flops() - embed_flops(d);
  return spec;
}

ModelSpec swin_spec(const SwinDimensions& d, int64_t num_classes) {
  ModelSpec spec = encoder_spec(d, "swin_v2");
  if (num_classes > 0) {
    UnitSpec& root = spec.units.front();
    add_linear(root, "head", num_classes, d.last_width());
    root.forward_flops +=
        2 * static_cast<double>(d.last_width()) * static_cast<double>(num_classes);
  }
  spec.train_flops = 3 * spec.forward_flops() - embed_flops(d);
  return spec;
}

int64_t swin_layer_of(const SwinDimensions& d, const std::string& parameter) {
  const int64_t stage = number_after(parameter, "layers.");
  if (stage < 0) {
    const bool is_before = parameter.starts_with("patch_embed.") || parameter == "mask_token" ||
                           parameter == "band_embed";
    return is_before ? 0 : d.depth() + 1;
  }
  int64_t blocks_before = 0;
  for (int64_t s = 0; s < stage; ++s) blocks_before += d.stages[static_cast<size_t>(s)].depth;
  const int64_t block = number_after(parameter, ".blocks.");
  if (block >= 0) return blocks_before + block + 1;
  return blocks_before + d.stages[static_cast<size_t>(stage)].depth;
}

}  // namespace swath::models
