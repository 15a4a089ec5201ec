#include "models/model_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"

namespace swath::models {
namespace {

struct Preset {
  const char* name;
  int64_t width, depth, heads, mlp;
  bool gated;
  int64_t patch, image_size;
  int64_t decoder_width, decoder_depth, decoder_heads;
};

// From vit_base up: Table I of arXiv 2404.11706 and MAE's own three; the decoder is MAE's. The
// table prints the 5B model as 1792 x 56 with 5349 M parameters, which only a gated MLP gives:
// vit_5b has one, vit_5b_plain is the row as printed, vit_5b_2816 what some of its measurements
// suggest. Below vit_base: sizes for processors, with decoders in proportion.
constexpr Preset kPresets[] = {
    {"vit_pico", 128, 4, 4, 512, false, 4, 32, 64, 2, 4},
    {"vit_micro", 192, 6, 6, 768, false, 8, 64, 96, 2, 6},
    {"vit_tiny", 192, 12, 3, 768, false, 16, 224, 128, 4, 4},
    {"vit_small", 384, 12, 6, 1536, false, 16, 224, 256, 4, 8},
    {"vit_base", 768, 12, 12, 3072, false, 16, 224, 512, 8, 16},
    {"vit_large", 1024, 24, 16, 4096, false, 16, 224, 512, 8, 16},
    {"vit_huge", 1280, 32, 16, 5120, false, 14, 224, 512, 8, 16},
    {"vit_1b", 1536, 32, 16, 6144, false, 14, 224, 512, 8, 16},
    {"vit_3b", 2816, 32, 32, 11264, false, 14, 224, 512, 8, 16},
    {"vit_5b", 1792, 56, 16, 15360, true, 14, 224, 512, 8, 16},
    {"vit_5b_plain", 1792, 56, 16, 15360, false, 14, 224, 512, 8, 16},
    {"vit_5b_2816", 2816, 56, 32, 11264, false, 14, 224, 512, 8, 16},
    {"vit_15b", 5040, 48, 48, 20160, false, 14, 224, 512, 8, 16},
};

const Preset& find_preset(const std::string& name) {
  for (const Preset& preset : kPresets) {
    if (name == preset.name) return preset;
  }
  if (is_swin(name)) {
    throw UsageError(fmt::format("model: {} is no ViT, as is wanted here.", name),
                     "choose one of the models that `swath models` lists as vit_*.");
  }
  throw UsageError(fmt::format("model: there is no \"{}\".", name),
                   fmt::format("choose one of {}; `swath models` lists their sizes.",
                               fmt::join(model_names(), ", ")));
}

void check_divides(int64_t whole, const char* whole_name, int64_t part, const char* part_name) {
  if (whole % part != 0) {
    throw UsageError(fmt::format("model: {} {} cannot be divided among {} {}.", whole_name, whole,
                                 part_name, part),
                     fmt::format("change {} or {}.", whole_name, part_name));
  }
}

void check(const VitDimensions& d) {
  check_divides(d.width, "width", d.heads, "heads");
  check_divides(d.decoder_width, "decoder_width", d.decoder_heads, "decoder_heads");
  for (const auto& [name, width] :
       {std::pair{"width", d.width}, std::pair{"decoder_width", d.decoder_width}}) {
    if (width % 4 != 0) {
      throw UsageError(fmt::format("model: {} {} is no multiple of 4.", name, width),
                       "the sine and cosine position table needs four equal parts.");
    }
  }
  if (d.image_size < d.patch) {
    throw UsageError(
        fmt::format("model: an image of {} pixels holds no patch of {}.", d.image_size, d.patch),
        "choose a smaller model.patch or a larger model.image_size.");
  }
  if (d.num_kept() < 1 || d.num_kept() >= d.num_patches()) {
    throw UsageError(fmt::format("model: mask_ratio {} keeps {} of {} patches.", d.mask_ratio,
                                 d.num_kept(), d.num_patches()),
                     "at least one patch must be kept and one removed.");
  }
}

}  // namespace

void ModelOptions::describe(FieldTable& fields) {
  fields.add("name", &name, "architecture; `swath models` lists them").flag("model");
  fields.add("width", &width, "width of the encoder; 0: the preset's").at_least(0);
  fields.add("depth", &depth, "blocks of the encoder; 0: the preset's").at_least(0);
  fields.add("heads", &heads, "attention heads of the encoder; 0: the preset's").at_least(0);
  fields.add("mlp", &mlp, "hidden width of the MLP; 0: the preset's ratio to the width")
      .at_least(0);
  fields.add("mlp_kind", &mlp_kind, "plain or gated MLP; empty: the preset's")
      .one_of({"", "plain", "gated"});
  fields.add("patch", &patch, "side of a patch in pixels; 0: the preset's").at_least(0);
  fields.add("image_size", &image_size, "side of the images in pixels; 0: the preset's")
      .at_least(0);
  fields.add("channels", &channels, "bands of the images; 0: 3").at_least(0);
  fields.add("decoder_width", &decoder_width, "width of MAE's decoder; 0: the preset's")
      .at_least(0);
  fields.add("decoder_depth", &decoder_depth, "blocks of MAE's decoder; 0: the preset's")
      .at_least(0);
  fields.add("decoder_heads", &decoder_heads, "attention heads of the decoder; 0: the preset's")
      .at_least(0);
  fields.add("mask_ratio", &mask_ratio, "share of patches that are removed").at_least(0).at_most(1);
  fields.add("norm_pix_loss", &norm_pix_loss,
             "predict each patch normalised by its own mean and variance");
  fields.add("norm_pix_per_band", &norm_pix_per_band,
             "normalise each band of a patch by itself, so that units do not mix");
  fields
      .add("remainder", &remainder,
           "when patches do not fill the image: use its top left, its centre, or refuse")
      .one_of({"top_left", "center", "refuse"});
  fields.section("swin", swin);
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.emplace_back(preset.name);
  for (const std::string& name : swin_names()) names.push_back(name);
  return names;
}

ModelOptions resized(const ModelOptions& options, int64_t image_size) {
  ModelOptions changed = options;
  changed.image_size = image_size;
  if (!is_swin(options.name) || !options.swin.pretrained_windows.empty()) return changed;
  for (const SwinStage& stage : resolve_swin(options).stages) {
    changed.swin.pretrained_windows.push_back(stage.window_rows);
    changed.swin.pretrained_windows.push_back(stage.window_columns);
  }
  return changed;
}

VitDimensions resolve(const ModelOptions& options) {
  const Preset& preset = find_preset(options.name);
  const auto pick = [](int64_t asked, int64_t from_preset) {
    return asked == 0 ? from_preset : asked;
  };
  if (!(options.swin == SwinOptions{})) {
    throw UsageError(fmt::format("model: {} takes no model.swin settings.", options.name),
                     "they belong to the models named swin_v2_*.");
  }
  VitDimensions d;
  d.name = preset.name;
  d.width = pick(options.width, preset.width);
  d.depth = pick(options.depth, preset.depth);
  d.heads = pick(options.heads, preset.heads);
  d.mlp = pick(options.mlp, preset.mlp * d.width / preset.width);
  d.gated_mlp = options.mlp_kind.empty() ? preset.gated : options.mlp_kind == "gated";
  d.patch = pick(options.patch, preset.patch);
  d.image_size = pick(options.image_size, preset.image_size);
  d.channels = pick(options.channels, 3);
  d.decoder_width = pick(options.decoder_width, preset.decoder_width);
  d.decoder_depth = pick(options.decoder_depth, preset.decoder_depth);
  d.decoder_heads = pick(options.decoder_heads, preset.decoder_heads);
  d.decoder_mlp = 4 * d.decoder_width;
  d.mask_ratio = options.mask_ratio;
  d.norm_pix_loss = options.norm_pix_loss;
  d.norm_pix_per_band = options.norm_pix_per_band;
  d.crop_center = options.remainder == "center";
  check(d);
  if (d.remainder() != 0 && options.remainder == "refuse") {
    throw UsageError(fmt::format("model: patches of {} leave {} of {} pixels over.", d.patch,
                                 d.remainder(), d.image_size),
                     fmt::format("use image_size {}, or remainder = \"top_left\" or \"center\".",
                                 d.used_size()));
  }
  return d;
}

}  // namespace swath::models
