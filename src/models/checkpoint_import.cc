#include "models/checkpoint_import.h"

#include <fmt/ranges.h>
#include <torch/torch.h>

#include <cmath>
#include <fstream>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor/tensor_io.h"
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
  if (is_pickle(path)) throw_conversion_error(path);
  const SafetensorsFile file(path);
  NamedTensors tensors;
  for (const TensorEntry& entry : file.entries()) {
    tensors.emplace_back(entry.name, read_tensor(file, entry));
  }
  return load_pretrained(module, dimensions, path.string(), tensors, options);
}

Json load_pretrained(torch::nn::Module& module, const VitDimensions& dimensions,
                     const std::string& origin, const NamedTensors& tensors,
                     const ImportOptions& options) {
  const at::NoGradGuard no_grad;
  std::map<std::string, const std::pair<std::string, at::Tensor>*> entries;
  bool file_has_fc_norm = false;
  for (const auto& entry : tensors) {
    const std::string name = without_prefix(entry.first);
    entries[name] = &entry;
    file_has_fc_norm |= name.starts_with("fc_norm.");
  }

  std::vector<std::string> missing;
  std::vector<std::string> resampled;
  std::set<std::string> used;
  int64_t filled = 0;
  for (const auto& parameter : module.named_parameters()) {
    const std::string& name = parameter.key();
    at::Tensor target = parameter.value();
    const auto found = entries.find(name);
    if (found == entries.end()) {
      if (!may_be_missing(name, file_has_fc_norm)) {
        throw Error(fmt::format("{} has no tensor {}; its {} tensors are not those of {}.", origin,
                                name, entries.size(), dimensions.name),
                    "check model.name and its sizes against the file.");
      }
      missing.push_back(name);
      continue;
    }
    used.insert(name);
    at::Tensor source = found->second->second;
    const bool is_table = name == "pos_embed" || name == "decoder_pos_embed";
    if (is_table && source.dim() == 3 && source.size(2) == target.size(2) &&
        source.size(1) != target.size(1)) {
      const int64_t from = side_of_grid(source, origin);
      const int64_t to = side_of_grid(target, origin);
      const bool recompute = name == "decoder_pos_embed" || options.position == "recompute";
      source = recompute ? ops::sincos_position_table(target.size(2), to, to)
                         : resample_position(source, from, to);
      log_info(fmt::format("{}: {} of a grid of {} x {} is {} for {} x {}.", origin, name, from,
                           from, recompute ? "recomputed" : "resampled (bicubic)", to, to));
      resampled.push_back(name);
    }
    if (source.sizes() != target.sizes()) {
      if (name.starts_with("head.")) {  // another set of classes
        used.erase(name);
        missing.push_back(name);
        continue;
      }
      throw Error(
          fmt::format("{}: {} has the shape {}, the model {} wants {}.", origin, name,
                      shape_text(source.sizes()), dimensions.name, shape_text(target.sizes())),
          "set model.name, model.patch, model.channels and the other sizes to the file's.");
    }
    target.copy_(source);
    ++filled;
  }
  std::vector<std::string> unmatched;
  for (const auto& [name, entry] : entries) {
    if (!used.contains(name)) unmatched.push_back(entry->first);
  }
  log_info(fmt::format("{}: {} tensors read.", origin, filled));
  log_names(origin, "tensors of the file are not used", unmatched);
  log_names(origin, "tensors of the model keep their initial values", missing);
  return {{"tensors", filled},
          {"unmatched", unmatched},
          {"missing", missing},
          {"resampled", resampled}};
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

}  // namespace swath::models
