#include "models/checkpoint_import.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor/tensor_io.h"
#include "core/tensor/torch.h"
#include "models/initialize.h"
#include "ops/patches.h"

namespace swath::models {
namespace {

bool is_pickle(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".safetensors") return false;
  for (const char* name : {".pth", ".pt", ".bin", ".ckpt", ".tar"}) {
    if (extension == name) return true;
  }
  std::ifstream file(path, std::ios::binary);
  char magic[2] = {};
  file.read(magic, 2);
  return std::string_view(magic, 2) == "PK";  // torch.save writes a zip file
}

[[noreturn]] void throw_conversion_error(const std::filesystem::path& path) {
  const std::string from = path.string();
  const std::string to = std::filesystem::path(path).replace_extension(".safetensors").string();
  throw Error(fmt::format("{} is a Python pickle, not safetensors.", from),
              fmt::format("convert it once with Python (packages torch and safetensors):\n"
                          "  import torch, safetensors.torch as s; d = torch.load(\"{}\", "
                          "map_location=\"cpu\"); d = d.get(\"model\", d)\n"
                          "  s.save_file({{k: v.contiguous() for k, v in d.items() if "
                          "torch.is_tensor(v)}}, \"{}\")",
                          from, to));
}

// Files wrap the same names differently.
std::string without_prefix(const std::string& name) {
  for (const std::string_view prefix : {"model.", "module.", "encoder."}) {
    if (name.starts_with(prefix)) return without_prefix(name.substr(prefix.size()));
  }
  return name;
}

bool may_be_missing(const std::string& name, bool file_has_fc_norm) {
  return name.starts_with("decoder_") || name.starts_with("head.") ||
         name.starts_with("fc_norm.") || name == "mask_token" || name == "pos_embed" ||
         (file_has_fc_norm && name.starts_with("norm."));
}

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

int64_t side_of_grid(const at::Tensor& table, const std::string& origin) {
  const int64_t patches = table.size(1) - 1;
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(patches))));
  if (side * side != patches) {
    throw Error(fmt::format("{}: pos_embed has {} rows, which are no CLS row and a square grid.",
                            origin, table.size(1)));
  }
  return side;
}

at::Tensor resample_position(const at::Tensor& table, int64_t from, int64_t to) {
  const at::Tensor image =
      table.slice(1, 1).to(at::kFloat).reshape({1, from, from, -1}).permute({0, 3, 1, 2});
  const at::Tensor resized = at::upsample_bicubic2d(image, {to, to}, /*align_corners=*/false);
  return at::cat({table.slice(1, 0, 1).to(at::kFloat), resized.permute({0, 2, 3, 1}).flatten(1, 2)},
                 1);
}

void log_names(const std::string& path, const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  constexpr size_t kShown = 8;
  const std::vector<std::string> shown(
      names.begin(), names.begin() + static_cast<int64_t>(std::min(names.size(), kShown)));
  log_info(fmt::format("{}: {} {}: {}{}", path, names.size(), what, fmt::join(shown, ", "),
                       names.size() > kShown ? ", ..." : ""));
}

// Keywords for timm's VisionTransformer; the name only chooses defaults that they replace.
std::map<std::string, std::string> architecture_metadata(const VitDimensions& d, int64_t classes,
                                                         bool average_pool) {
  // timm takes int(width * mlp_ratio), which may round an exact quotient down by one.
  const auto width = static_cast<double>(d.width);
  double mlp_ratio = static_cast<double>(d.mlp) / width;
  if (static_cast<int64_t>(width * mlp_ratio) != d.mlp) {
    mlp_ratio = (static_cast<double>(d.mlp) + 0.5) / width;
  }
  Json keywords = {{"img_size", d.used_size()},
                   {"patch_size", d.patch},
                   {"in_chans", d.channels},
                   {"embed_dim", d.width},
                   {"depth", d.depth},
                   {"num_heads", d.heads},
                   {"mlp_ratio", mlp_ratio},
                   {"num_classes", classes},
                   {"global_pool", average_pool ? "avg" : "token"}};
  std::string name = "vit_base_patch16_224";
  for (const auto& [ours, theirs] : {std::pair{"vit_tiny", "vit_tiny_patch16_224"},
                                     std::pair{"vit_small", "vit_small_patch16_224"},
                                     std::pair{"vit_large", "vit_large_patch16_224"},
                                     std::pair{"vit_huge", "vit_huge_patch14_224"}}) {
    if (d.name == ours) name = theirs;
  }
  std::map<std::string, std::string> metadata = {
      {"format", "pt"}, {"swath_model", d.name}, {"timm_name", name}, {"timm", keywords.dump()}};
  if (d.gated_mlp) metadata["timm_mlp_layer"] = "timm.layers.SwiGLU";
  return metadata;
}

NamedTensors read_all(const std::filesystem::path& path) {
  if (is_pickle(path)) throw_conversion_error(path);
  const SafetensorsFile file(path);
  NamedTensors tensors;
  for (const TensorEntry& entry : file.entries()) {
    tensors.emplace_back(entry.name, read_tensor(file, entry));
  }
  return tensors;
}

// What a file offers, under the names of our modules.
struct Source {
  std::string origin;  // for messages
  std::string model;
  std::map<std::string, const std::pair<std::string, at::Tensor>*> entries;
};

// Copies every parameter that the source has. `may_be_missing(name)`: it may then keep its value.
// `fit(name, tensor, parameter)`: the tensor as the parameter wants it.
Json fill(torch::nn::Module& module, const Source& source,
          const std::function<bool(const std::string&)>& may_be_missing,
          const std::function<at::Tensor(const std::string&, const at::Tensor&, const at::Tensor&)>&
              fit) {
  const at::NoGradGuard no_grad;
  std::vector<std::string> missing;
  std::set<std::string> used;
  int64_t filled = 0;
  for (const auto& parameter : module.named_parameters()) {
    const std::string& name = parameter.key();
    at::Tensor target = parameter.value();
    const auto found = source.entries.find(name);
    if (found == source.entries.end()) {
      if (!may_be_missing(name)) {
        throw Error(fmt::format("{} has no tensor {}; its {} tensors are not those of {}.",
                                source.origin, name, source.entries.size(), source.model),
                    "check model.name and its sizes against the file.");
      }
      missing.push_back(name);
      continue;
    }
    used.insert(name);
    const at::Tensor values = fit(name, found->second->second, target);
    if (values.sizes() != target.sizes()) {
      if (name.starts_with("head.")) {  // another set of classes
        used.erase(name);
        missing.push_back(name);
        continue;
      }
      throw Error(
          fmt::format("{}: {} has the shape {}, the model {} wants {}.", source.origin, name,
                      shape_text(values.sizes()), source.model, shape_text(target.sizes())),
          "set model.name, model.patch, model.channels and the other sizes to the file's.");
    }
    target.copy_(values);
    ++filled;
  }
  std::vector<std::string> unmatched;
  for (const auto& [name, entry] : source.entries) {
    if (!used.contains(name)) unmatched.push_back(entry->first);
  }
  log_info(fmt::format("{}: {} tensors read.", source.origin, filled));
  log_names(source.origin, "tensors of the file are not used", unmatched);
  log_names(source.origin, "tensors of the model keep their initial values", missing);
  return {{"tensors", filled}, {"unmatched", unmatched}, {"missing", missing}};
}

constexpr std::string_view kMerging = ".downsample.";

std::string merging_of(int64_t stage) { return fmt::format("layers.{}{}", stage, kMerging); }

// `name` with the merging of a stage moved by one stage: Microsoft's files have it at the stage's
// end, timm's at the start of the next.
std::string with_merging_moved(const std::string& name, int64_t by, const SwinDimensions& d) {
  for (int64_t stage = 0; stage < static_cast<int64_t>(d.stages.size()); ++stage) {
    const std::string prefix = merging_of(stage);
    if (name.starts_with(prefix)) return merging_of(stage + by) + name.substr(prefix.size());
  }
  return name;
}

// Only timm's last stage has one.
bool has_timm_merging(const NamedTensors& tensors, const SwinDimensions& d) {
  const std::string prefix = merging_of(static_cast<int64_t>(d.stages.size()) - 1);
  return std::ranges::any_of(
      tensors, [&](const auto& entry) { return without_prefix(entry.first).starts_with(prefix); });
}

// They follow from the window, which may differ.
bool is_derived_table(const std::string& name) {
  return name.ends_with(".relative_coords_table") || name.ends_with(".relative_position_index") ||
         name.ends_with("attn_mask") || name.ends_with(".attn.k_bias");
}

// What divides the offsets of a position bias, plus one: the window it was trained with, from
// Microsoft's table (1, 2 w - 1, 2 w - 1, 2) of log2(8 t / divisor + 1) / 3. Rows, then columns.
std::optional<std::pair<int64_t, int64_t>> window_of_table(const at::Tensor& table) {
  if (table.dim() != 4 || table.size(1) < 3 || table.size(2) < 3 || table.size(3) != 2) {
    return std::nullopt;
  }
  const auto window = [&](int64_t axis) -> int64_t {
    const double largest = table[0][-1][-1][axis].item<double>();
    const int64_t offset = (table.size(1 + axis) - 1) / 2;
    return largest > 0
               ? 1 + std::llround(8 * static_cast<double>(offset) / (std::exp2(3 * largest) - 1))
               : 0;
  };
  const std::pair windows = {window(0), window(1)};
  return windows.first > 1 && windows.second > 1 ? std::optional(windows) : std::nullopt;
}

// The MLP of a position bias fits any window, but its values belong to the one it was trained with.
void check_windows(const std::string& origin, const NamedTensors& tensors,
                   const SwinDimensions& d) {
  bool is_other = false;
  std::vector<int64_t> windows;  // rows and columns of each stage
  for (size_t s = 0; s < d.stages.size(); ++s) {
    const SwinStage& stage = d.stages[s];
    std::pair found = {stage.pretrained_rows, stage.pretrained_columns};
    const std::string table = fmt::format("layers.{}.blocks.0.attn.relative_coords_table", s);
    for (const auto& [name, tensor] : tensors) {
      if (without_prefix(name) == table) found = window_of_table(tensor).value_or(found);
    }
    is_other |= found != std::pair{stage.pretrained_rows, stage.pretrained_columns};
    windows.insert(windows.end(), {found.first, found.second});
  }
  if (!is_other) return;
  throw UsageError(
      fmt::format("{}: its position bias was trained with windows other than this model's.",
                  origin),
      fmt::format(
          "use --model.swin.pretrained_windows '[{}]', or the --model.swin.window and image "
          "size of the weights.",
          fmt::join(windows, ",")));
}

std::string swin_name(std::string name, bool is_timm, const SwinDimensions& d) {
  // The name in SimMIM's first files.
  constexpr std::string_view kOldBias = ".rpe_mlp.";
  const size_t old_bias = name.find(kOldBias);
  if (old_bias != std::string::npos) name.replace(old_bias, kOldBias.size(), ".cpb_mlp.");
  if (name.starts_with("head.fc.")) name = "head." + name.substr(8);
  return is_timm ? with_merging_moved(name, -1, d) : name;
}

std::string timm_swin_name(const std::string& name, const SwinDimensions& d) {
  if (name.starts_with("head.")) return "head.fc." + name.substr(5);
  return with_merging_moved(name, 1, d);
}

// timm has no mosaic, square windows only, and divides by 0 for those of one token.
bool fits_timm(const SwinDimensions& d) {
  return !d.per_band && std::ranges::all_of(d.stages, [](const SwinStage& stage) {
    return stage.pretrained_rows > 1 && stage.pretrained_rows == stage.pretrained_columns;
  });
}

// Keywords for timm's SwinTransformerV2; the name only chooses defaults that they replace.
std::map<std::string, std::string> architecture_metadata(const SwinDimensions& d, int64_t classes) {
  std::map<std::string, std::string> metadata = {{"format", "pt"}, {"swath_model", d.name}};
  if (!fits_timm(d)) return metadata;
  std::vector<int64_t> depths;
  std::vector<int64_t> heads;
  std::vector<int64_t> windows;
  for (const SwinStage& stage : d.stages) {
    depths.push_back(stage.depth);
    heads.push_back(stage.heads);
    windows.push_back(stage.pretrained_rows);
  }
  const Json keywords = {{"img_size", d.image_size}, {"patch_size", d.patch},
                         {"in_chans", d.channels},   {"embed_dim", d.width},
                         {"depths", depths},         {"num_heads", heads},
                         {"window_size", d.window},  {"pretrained_window_sizes", windows},
                         {"num_classes", classes}};
  metadata["timm_name"] = "swinv2_base_window8_256";
  metadata["timm"] = keywords.dump();
  return metadata;
}

Json write_export(const std::filesystem::path& path, NamedTensors tensors,
                  std::map<std::string, std::string> metadata, const ExportOptions& options) {
  for (const auto& [key, value] : options.metadata) metadata[key] = value;
  write_tensors(path, tensors, metadata);
  return {{"tensors", tensors.size()}, {"path", path.string()}};
}

at::Tensor as_float(const at::Tensor& tensor) { return tensor.detach().to(at::kFloat); }

}  // namespace

Json load_pretrained(torch::nn::Module& module, const VitDimensions& dimensions,
                     const std::filesystem::path& path, const ImportOptions& options) {
  return load_pretrained(module, dimensions, path.string(), read_all(path), options);
}

Json load_pretrained(torch::nn::Module& module, const VitDimensions& dimensions,
                     const std::string& origin, const NamedTensors& tensors,
                     const ImportOptions& options) {
  Source source = {origin, dimensions.name, {}};
  bool file_has_fc_norm = false;
  for (const auto& entry : tensors) {
    const std::string name = without_prefix(entry.first);
    source.entries[name] = &entry;
    file_has_fc_norm |= name.starts_with("fc_norm.");
  }
  std::vector<std::string> resampled;
  const auto fit_table = [&](const std::string& name, const at::Tensor& table,
                             const at::Tensor& target) {
    const bool is_table = name == "pos_embed" || name == "decoder_pos_embed";
    if (!is_table || table.dim() != 3 || table.size(2) != target.size(2) ||
        table.size(1) == target.size(1)) {
      return table;
    }
    const int64_t from = side_of_grid(table, origin);
    const int64_t to = side_of_grid(target, origin);
    const bool recompute = name == "decoder_pos_embed" || options.position == "recompute";
    log_info(fmt::format("{}: {} of a grid of {} x {} is {} for {} x {}.", origin, name, from, from,
                         recompute ? "recomputed" : "resampled (bicubic)", to, to));
    resampled.push_back(name);
    return recompute ? ops::sincos_position_table(target.size(2), to, to)
                     : resample_position(table, from, to);
  };
  Json report = fill(
      module, source,
      [&](const std::string& name) { return may_be_missing(name, file_has_fc_norm); }, fit_table);
  report["resampled"] = resampled;
  return report;
}

Json load_pretrained(torch::nn::Module& module, const SwinDimensions& dimensions,
                     const std::filesystem::path& path) {
  return load_pretrained(module, dimensions, path.string(), read_all(path));
}

Json load_pretrained(torch::nn::Module& module, const SwinDimensions& d, const std::string& origin,
                     const NamedTensors& tensors) {
  check_windows(origin, tensors, d);
  Source source = {origin, d.name, {}};
  const bool is_timm = has_timm_merging(tensors, d);
  for (const auto& entry : tensors) {
    const std::string name = swin_name(without_prefix(entry.first), is_timm, d);
    if (!is_derived_table(name)) source.entries[name] = &entry;
  }
  Json report = fill(
      module, source,
      [](const std::string& name) {
        return name.starts_with("decoder.") || name.starts_with("head.") ||
               name.starts_with("bins.") || name == "mask_token";
      },
      [](const std::string&, const at::Tensor& tensor, const at::Tensor&) { return tensor; });
  report["resampled"] = Json::array();
  return report;
}

Json load_pretrained(torch::nn::Module& module, const ModelOptions& model,
                     const std::filesystem::path& path, const ImportOptions& options) {
  return load_pretrained(module, model, path.string(), read_all(path), options);
}

Json load_pretrained(torch::nn::Module& module, const ModelOptions& model,
                     const std::string& origin, const NamedTensors& tensors,
                     const ImportOptions& options) {
  if (is_swin(model.name)) return load_pretrained(module, resolve_swin(model), origin, tensors);
  return load_pretrained(module, resolve(model), origin, tensors, options);
}

Json export_encoder(const torch::nn::Module& module, const VitDimensions& dimensions,
                    const std::filesystem::path& path, const ExportOptions& options) {
  NamedTensors tensors;
  int64_t classes = options.head_classes;
  bool has_head = false;
  bool average_pool = false;
  for (const auto& parameter : module.named_parameters()) {
    const std::string& name = parameter.key();
    if (name.starts_with("decoder_") || name == "mask_token") continue;
    if (name == "head.weight") classes = parameter.value().size(0);
    has_head |= name == "head.weight";
    average_pool |= name == "fc_norm.weight";
    tensors.emplace_back(name, as_float(parameter.value()));
  }
  if (!has_head && classes > 0) {
    tensors.emplace_back("head.weight", at::zeros({classes, dimensions.width}));
    tensors.emplace_back("head.bias", at::zeros({classes}));
  }
  return write_export(path, std::move(tensors),
                      architecture_metadata(dimensions, classes, average_pool), options);
}

Json export_full(const torch::nn::Module& module, const VitDimensions& dimensions,
                 const std::filesystem::path& path, const ExportOptions& options) {
  NamedTensors tensors;
  for (const auto& parameter : module.named_parameters()) {
    tensors.emplace_back(parameter.key(), as_float(parameter.value()));
  }
  return write_export(path, std::move(tensors),
                      {{"format", "pt"}, {"swath_model", dimensions.name}}, options);
}

Json export_encoder(const torch::nn::Module& module, const SwinDimensions& d,
                    const std::filesystem::path& path, const ExportOptions& options) {
  const auto exported_name = [&](const std::string& name) {
    return options.microsoft_names ? name : timm_swin_name(name, d);
  };
  NamedTensors tensors;
  int64_t classes = options.head_classes;
  bool has_head = false;
  for (const auto& parameter : module.named_parameters()) {
    const std::string& name = parameter.key();
    if (name.starts_with("decoder.") || name.starts_with("bins.") || name == "mask_token") continue;
    if (name == "head.weight") classes = parameter.value().size(0);
    has_head |= name == "head.weight";
    tensors.emplace_back(exported_name(name), as_float(parameter.value()));
  }
  if (!has_head && classes > 0) {
    tensors.emplace_back(exported_name("head.weight"), at::zeros({classes, d.last_width()}));
    tensors.emplace_back(exported_name("head.bias"), at::zeros({classes}));
  }
  auto metadata = architecture_metadata(d, classes);
  if (options.microsoft_names) {
    metadata.erase("timm");
    metadata.erase("timm_name");
  }
  return write_export(path, std::move(tensors), std::move(metadata), options);
}

Json export_full(const torch::nn::Module& module, const SwinDimensions& d,
                 const std::filesystem::path& path, const ExportOptions& options) {
  NamedTensors tensors;
  for (const auto& parameter : module.named_parameters()) {
    const std::string& name = parameter.key();
    const bool is_decoder = name.starts_with("decoder.") || name.starts_with("bins.");
    tensors.emplace_back((is_decoder ? "" : "encoder.") + name, as_float(parameter.value()));
  }
  return write_export(path, std::move(tensors), {{"format", "pt"}, {"swath_model", d.name}},
                      options);
}

Json export_encoder(const torch::nn::Module& module, const ModelOptions& model,
                    const std::filesystem::path& path, const ExportOptions& options) {
  if (is_swin(model.name)) return export_encoder(module, resolve_swin(model), path, options);
  return export_encoder(module, resolve(model), path, options);
}

Json export_full(const torch::nn::Module& module, const ModelOptions& model,
                 const std::filesystem::path& path, const ExportOptions& options) {
  if (is_swin(model.name)) return export_full(module, resolve_swin(model), path, options);
  return export_full(module, resolve(model), path, options);
}

}  // namespace swath::models
