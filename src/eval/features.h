// From images to frozen features: extraction once, a cache on disk, files for others.
//
// B samples, N patches, D width, n images.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/skipped_list.h"
#include "data/transform.h"
#include "eval/feature_set.h"
#include "models/objective.h"

namespace swath::eval {

// From tokens (B, N + 1, D), CLS first, to float32 features: "cls" (B, D): row 0; "mean" (B, D):
// the mean of the patch tokens; "both" (B, 2 D): the two side by side.
at::Tensor pool_tokens(const at::Tensor& tokens, const std::string& pooling);

struct ExtractOptions {
  std::string pooling = "cls";
  int64_t batch_size = 64;  // images at a time; results depend on it by rounding only
  int64_t workers = 0;      // decode threads; 0: the loader's default
  bool skip_bad = false;
  std::shared_ptr<data::SkippedList> skipped;  // where they are listed; none: only in the log
  std::string cache;                           // directory of computed features; empty: none
  // Settings that change features and not weights (a Swin's window): part of the cache's key. Set
  // by the command.
  std::string model_settings;

  void describe(FieldTable& fields);
};

// Features of every sample once, in the dataset's order, without a gradient and with the encoder in
// evaluation mode. `transform` should be one without random choices. With a cache directory,
// features are stored there under a hash of the encoder's weights, heads and settings, the
// dataset's names, labels and contents, the transform and the pooling, and read back when all of
// these are the same.
FeatureSet extract_features(models::Encoder& encoder,
                            const std::shared_ptr<const data::Dataset>& dataset,
                            const data::Transform& transform, const ExtractOptions& options,
                            c10::Device device);

// Patch tokens (n, N, D) float32 on the CPU, without CLS; other rules as above, never cached.
at::Tensor extract_tokens(models::Encoder& encoder,
                          const std::shared_ptr<const data::Dataset>& dataset,
                          const data::Transform& transform, const ExtractOptions& options,
                          c10::Device device);

// From a batch to tokens (B, N + 1, D), row 0 of the whole image: an encoder, or statistics that
// also look at what of the batch was measured.
using TokenFunction = std::function<at::Tensor(const Batch&)>;
// The two functions above for any tokens; never cached.
FeatureSet extract_features_with(const TokenFunction& tokens_of,
                                 const std::shared_ptr<const data::Dataset>& dataset,
                                 const data::Transform& transform, const ExtractOptions& options,
                                 c10::Device device);
at::Tensor extract_tokens_with(const TokenFunction& tokens_of,
                               const std::shared_ptr<const data::Dataset>& dataset,
                               const data::Transform& transform, const ExtractOptions& options,
                               c10::Device device);

// XXH3 over names, shapes, dtypes and values of all parameters and buffers, as hexadecimal text:
// two equal texts, two models with the same bits.
std::string hash_of_weights(const torch::nn::Module& module);

// The same over a dataset: names, labels, and the pixels' bytes or each file's size and time.
std::string hash_of_dataset(const data::Dataset& dataset);

// Puts a module into evaluation mode and back.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& module);
  ~EvaluationMode();
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  torch::nn::Module& module_;
  bool was_training_;
};

// Writes `directory`/features.npy (n, D) float32, names.txt (one per line) and features.safetensors
// (features, labels, sample_ids as int64 bits; names and `metadata` in its header). Returns
// {"rows", "dim", "files"}.
Json write_features(const FeatureSet& features, const std::filesystem::path& directory,
                    const Json& metadata);

FeatureSet read_features(const std::filesystem::path& path);

}  // namespace swath::eval
