#include "models/swin_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "core/error.h"
#include "models/model_options.h"

namespace swath::models {
namespace {

struct Preset {
  const char* name;
  int64_t width;
  int64_t heads;
  std::vector<int64_t> depths;
  int64_t image_size;
  int64_t channels;
  int64_t mask_unit;
};

// tiny to giant: the published shapes (huge and giant by their parameter counts). The last four are
// the sizes of the poster EGU24-22461, decoded from its memory table. Below tiny: sizes for
// processors.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {"swin_v2_pico", 32, 2, {2, 2}, 32, 3, 8},
      {"swin_v2_micro", 64, 2, {2, 2, 2}, 64, 3, 16},
      {"swin_v2_tiny", 96, 3, {2, 2, 6, 2}, 256, 3, 32},
      {"swin_v2_small", 96, 3, {2, 2, 18, 2}, 256, 3, 32},
      {"swin_v2_base", 128, 4, {2, 2, 18, 2}, 256, 3, 32},
      {"swin_v2_large", 192, 6, {2, 2, 18, 2}, 256, 3, 32},
      {"swin_v2_huge", 352, 11, {2, 2, 18, 2}, 256, 3, 32},
      {"swin_v2_giant", 448, 14, {2, 2, 18, 2}, 256, 3, 32},
      {"swin_v2_100m", 128, 4, {2, 2, 18, 2}, 128, 6, 32},
      {"swin_v2_600m", 352, 11, {2, 2, 18, 2}, 128, 6, 32},
      {"swin_v2_1_4b", 512, 16, {2, 2, 18, 2}, 128, 6, 32},
      {"swin_v2_3_6b", 512, 16, {2, 2, 54, 4}, 128, 6, 32},
  };
  return all;
}

constexpr int64_t kPatch = 4;
constexpr int64_t kWindow = 8;

const Preset& find_preset(const std::string& name) {
  for (const Preset& preset : presets()) {
    if (name == preset.name) return preset;
  }
  throw UsageError(fmt::format("model: {} is no SwinV2.", name),
                   fmt::format("choose one of {}.", fmt::join(swin_names(), ", ")));
}

// Settings that belong to a ViT or to MAE would have no effect.
void refuse_vit_settings(const ModelOptions& options) {
  const ModelOptions untouched;
  const char* key = options.depth != 0                           ? "depth"
                    : options.mlp != 0                           ? "mlp"
                    : !options.mlp_kind.empty()                  ? "mlp_kind"
                    : options.decoder_width != 0                 ? "decoder_width"
                    : options.decoder_depth != 0                 ? "decoder_depth"
                    : options.decoder_heads != 0                 ? "decoder_heads"
                    : options.mask_ratio != untouched.mask_ratio ? "mask_ratio"
                                                                 : nullptr;
  if (key == nullptr) return;
  throw UsageError(fmt::format("model: {} takes no model.{}.", options.name, key),
                   "SwinV2's own settings are model.swin.*: depths, window, mask_ratio ...");
}

struct Axis {
  int64_t window;
  int64_t shift;
};

// A map that one window spans is one window, without shift. A longer one must be cut evenly; the
// sides of a mosaic (12 tokens) take the length nearest in ratio to `window` that does (6).
Axis cut(int64_t tokens, int64_t window, bool mosaic, size_t stage) {
  if (tokens <= window) return {tokens, 0};
  if (tokens % window == 0) return {window, window / 2};
  if (!mosaic) {
    throw UsageError(fmt::format("model: stage {} has {} tokens a side, which windows of {} do not "
                                 "fill.",
                                 stage, tokens, window),
                     "change model.swin.window, model.patch or the image size.");
  }
  const auto away = [window](int64_t length) {
    const double ratio = static_cast<double>(length) / static_cast<double>(window);
    return std::max(ratio, 1 / ratio);
  };
  int64_t nearest = 1;
  for (int64_t length = 2; length <= tokens; ++length) {
    if (tokens % length == 0 && away(length) < away(nearest)) nearest = length;
  }
  return {nearest, nearest == tokens ? 0 : nearest / 2};
}

void check_divides(int64_t whole, const char* whole_name, int64_t part, const char* part_name) {
  if (part > 0 && whole % part == 0) return;
  throw UsageError(fmt::format("model: {} {} cannot be divided among {} {}.", whole_name, whole,
                               part_name, part),
                   fmt::format("change {} or {}.", whole_name, part_name));
}

// Rows and columns of the window that stage `index` of `count` was pretrained with.
std::pair<int64_t, int64_t> pretrained_window(const std::vector<int64_t>& given, size_t index,
                                              size_t count, const SwinStage& stage) {
  if (given.empty()) return {stage.window_rows, stage.window_columns};
  if (given.size() == count) return {given[index], given[index]};
  if (given.size() == 2 * count) return {given[2 * index], given[2 * index + 1]};
  throw UsageError(fmt::format("model: swin.pretrained_windows has {} values for {} stages.",
                               given.size(), count),
                   "give one per stage, or rows and columns of each.");
}

}  // namespace

void SwinOptions::describe(FieldTable& fields) {
  fields.add("depths", &depths, "blocks of each stage; empty: the preset's").at_least(1);
  fields.add("window", &window, "side of attention's windows in tokens; 0: 8").at_least(0);
  fields
      .add("pretrained_windows", &pretrained_windows,
           "windows that the position bias was trained with, per stage; empty: those used here")
      .at_least(1);
  fields.add("tokens", &tokens, "a token holds a patch of all bands, or of one band (a mosaic)")
      .one_of({"joint", "per_band"});
  fields.add("mask_unit", &mask_unit, "side of a masked square in pixels; 0: the preset's")
      .at_least(0);
  fields.add("mask_ratio", &mask_ratio, "share of the squares that are masked")
      .at_least(0)
      .at_most(1);
  fields
      .add("masks", &masks,
           "tube: the same squares in all bands; per_band: each its own (tokens=per_band)")
      .one_of({"tube", "per_band"});
  fields.add("loss", &loss, "of masked pixels: L1, or cross-entropy over quantised values")
      .one_of({"l1", "cross_entropy"});
  fields
      .add("target_window", &target_window,
           "odd side of the window in which targets are normalised (47 in SwinV2's recipe); 0: not")
      .at_least(0);
  fields.add("drop_path", &drop_path, "chance that a sample skips the last block's branches")
      .at_least(0)
      .at_most(0.99);
}

int64_t SwinDimensions::tile_rows() const {
  if (!per_band) return 1;
  int64_t rows = 1;
  for (int64_t r = 1; r * r <= channels; ++r) {
    if (channels % r == 0) rows = r;
  }
  return rows;
}

int64_t SwinDimensions::tile_columns() const { return per_band ? channels / tile_rows() : 1; }

int64_t SwinDimensions::depth() const {
  int64_t total = 0;
  for (const SwinStage& stage : stages) total += stage.depth;
  return total;
}

int64_t SwinDimensions::num_masked() const {
  return static_cast<int64_t>(std::ceil(static_cast<double>(num_units()) * mask_ratio));
}

int64_t SwinDimensions::decoder_channels() const {
  return stride() * stride() * (cross_entropy ? kPixelFeatures : input_channels());
}

std::vector<std::string> swin_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

bool is_swin(const std::string& name) {
  return std::ranges::any_of(presets(), [&](const Preset& preset) { return name == preset.name; });
}

SwinDimensions resolve_swin(const ModelOptions& options) {
  const Preset& preset = find_preset(options.name);
  refuse_vit_settings(options);
  const SwinOptions& swin = options.swin;
  const auto pick = [](int64_t asked, int64_t from_preset) {
    return asked == 0 ? from_preset : asked;
  };
  SwinDimensions d;
  d.name = preset.name;
  d.width = pick(options.width, preset.width);
  d.heads = pick(options.heads, preset.heads * d.width / preset.width);
  d.patch = pick(options.patch, kPatch);
  d.image_size = pick(options.image_size, preset.image_size);
  d.channels = pick(options.channels, preset.channels);
  d.window = pick(swin.window, kWindow);
  d.per_band = swin.tokens == "per_band";
  d.mask_unit = pick(swin.mask_unit, preset.mask_unit);
  d.mask_ratio = swin.mask_ratio;
  d.masks_per_band = swin.masks == "per_band";
  d.cross_entropy = swin.loss == "cross_entropy";
  d.target_window = swin.target_window;
  d.drop_path = swin.drop_path;
  const std::vector<int64_t>& depths = swin.depths.empty() ? preset.depths : swin.depths;

  check_divides(d.width, "width", d.heads, "heads");
  check_divides(d.image_size, "image_size", d.patch, "patch");
  check_divides(d.image_size, "image_size", d.mask_unit, "swin.mask_unit");
  check_divides(d.mask_unit, "swin.mask_unit", d.patch, "patch");
  check_divides(d.grid(), "tokens a side", int64_t{1} << (depths.size() - 1),
                "the halvings of all stages:");
  if (d.target_window > 0 && d.target_window % 2 == 0) {
    throw UsageError(fmt::format("model: swin.target_window {} is even.", d.target_window),
                     "it has a pixel in its middle: choose an odd side.");
  }
  if (d.cross_entropy && d.target_window > 0) {
    throw UsageError("model: swin.target_window normalises the targets of the L1 loss.",
                     "leave it out, or use model.swin.loss=l1.");
  }
  if (d.masks_per_band && !d.per_band) {
    throw UsageError("model: swin.masks=per_band masks bands that share their tokens.",
                     "use model.swin.tokens=per_band, or masks=tube.");
  }
  for (size_t s = 0; s < depths.size(); ++s) {
    SwinStage stage;
    stage.depth = depths[s];
    stage.width = d.width << s;
    stage.heads = d.heads << s;
    stage.rows = d.tile_rows() * (d.grid() >> s);
    stage.columns = d.tile_columns() * (d.grid() >> s);
    const Axis rows = cut(stage.rows, d.window, d.per_band, s);
    const Axis columns = cut(stage.columns, d.window, d.per_band, s);
    stage.window_rows = rows.window;
    stage.shift_rows = rows.shift;
    stage.window_columns = columns.window;
    stage.shift_columns = columns.shift;
    std::tie(stage.pretrained_rows, stage.pretrained_columns) =
        pretrained_window(swin.pretrained_windows, s, depths.size(), stage);
    d.stages.push_back(stage);
  }
  if (d.num_masked() < 1 || d.num_masked() >= d.num_units()) {
    throw UsageError(fmt::format("model: swin.mask_ratio {} masks {} of {} squares of {} pixels.",
                                 d.mask_ratio, d.num_masked(), d.num_units(), d.mask_unit),
                     "at least one must be masked and one kept.");
  }
  return d;
}

}  // namespace swath::models
