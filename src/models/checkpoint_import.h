// Weights from and to the public layouts, in safetensors: MAE's and timm's vision transformers,
// Microsoft's and timm's SwinV2.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "core/json.h"
#include "core/tensor/tensor_io.h"
#include "models/model_options.h"

namespace swath::models {

struct ImportOptions {
  // What to do with a position table of another grid: "resample" (MAE's rule for fine-tuning: row 0
  // kept, the rest bicubic, align_corners false, no antialiasing) or "recompute" (the formula for
  // the new grid). The decoder's table is always recomputed.
  std::string position = "resample";
};

// Fills the parameters of a ViT, MAE or classifier from `path`. The names may carry a prefix
// "model.", "module." or "encoder."; floating-point dtypes are converted.
//
// Every encoder tensor of the module must be there; a decoder, a head or an fc_norm may be missing
// and then keeps its values. Returns
//   {"tensors": filled, "unmatched": [names in the file not used], "missing": [names kept],
//    "resampled": [names]}
// and logs one line about each of the last three that is not empty. Throws Error naming file,
// tensor and both shapes when one does not fit, and for a `.pth` says how to convert it.
Json load_pretrained(torch::nn::Module& module, const VitDimensions& dimensions,
                     const std::filesystem::path& path, const ImportOptions& options = {});
// The same from tensors in memory, such as a checkpoint's; `origin` names them in messages.
Json load_pretrained(torch::nn::Module& module, const VitDimensions& dimensions,
                     const std::string& origin, const NamedTensors& tensors,
                     const ImportOptions& options = {});

// The same of a SwinV2, SimMIM or classifier. Microsoft's and timm's names are told apart by where
// they keep the merging of patches; tables that follow from the window are not read. A decoder, a
// head and a mask token may be missing.
Json load_pretrained(torch::nn::Module& module, const SwinDimensions& dimensions,
                     const std::filesystem::path& path);
Json load_pretrained(torch::nn::Module& module, const SwinDimensions& dimensions,
                     const std::string& origin, const NamedTensors& tensors);

// By the model's family.
Json load_pretrained(torch::nn::Module& module, const ModelOptions& model,
                     const std::filesystem::path& path, const ImportOptions& options = {});
Json load_pretrained(torch::nn::Module& module, const ModelOptions& model,
                     const std::string& origin, const NamedTensors& tensors,
                     const ImportOptions& options = {});

struct ExportOptions {
  // > 0 adds a head of that many classes filled with zeros when the module has none, for programs
  // that insist on one.
  int64_t head_classes = 0;
  // Of a SwinV2: Microsoft's names instead of timm's.
  bool microsoft_names = false;
  // Added to the file's metadata: bands, normalisation, units, data, commit.
  std::map<std::string, std::string> metadata;
};

// The encoder alone, in float32 under timm's names: for a module without head,
//   timm.create_model(metadata["timm_name"], checkpoint_path=FILE, **json.loads(metadata["timm"]))
// The metadata's "timm" holds the keywords that rebuild the architecture (num_classes=0 among
// them); for a gated MLP add mlp_layer=timm.layers.SwiGLU, which timm's blocks give their own GELU.
// Returns {"tensors": written, "path": path}.
Json export_encoder(const torch::nn::Module& module, const VitDimensions& dimensions,
                    const std::filesystem::path& path, const ExportOptions& options = {});
// Every parameter, decoder included, in MAE's layout.
Json export_full(const torch::nn::Module& module, const VitDimensions& dimensions,
                 const std::filesystem::path& path, const ExportOptions& options = {});

// The encoder alone, as timm's SwinTransformerV2 or under Microsoft's names. Of a mosaic of bands,
// which timm has not, the file has no "timm" metadata.
Json export_encoder(const torch::nn::Module& module, const SwinDimensions& dimensions,
                    const std::filesystem::path& path, const ExportOptions& options = {});
// Every parameter, as SimMIM's files name them: "encoder." before those of the encoder.
Json export_full(const torch::nn::Module& module, const SwinDimensions& dimensions,
                 const std::filesystem::path& path, const ExportOptions& options = {});

// By the model's family.
Json export_encoder(const torch::nn::Module& module, const ModelOptions& model,
                    const std::filesystem::path& path, const ExportOptions& options = {});
Json export_full(const torch::nn::Module& module, const ModelOptions& model,
                 const std::filesystem::path& path, const ExportOptions& options = {});

}  // namespace swath::models
