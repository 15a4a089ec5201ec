#include "eval/features.h"

#include <torch/nn/module.h>

#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/tensor/tensor_io.h"
#include "data/loader.h"
#include "data/npy_header.h"

namespace swath::eval {
namespace fs = std::filesystem;
namespace {

void update(Xxh3Stream& hash, std::string_view text) {
  // The length first, so that two texts cannot run into each other.
  const uint64_t length = text.size();
  hash.update(std::as_bytes(std::span(&length, 1)));
  hash.update(std::as_bytes(std::span(text.data(), text.size())));
}

std::string transform_text(const data::Transform& transform) {
  data::TransformOptions options = transform.options();
  std::string text = make_field_table(options).to_toml();
  for (const double value : transform.normalization().mean) text += fmt::format("{} ", value);
  for (const double value : transform.normalization().standard_deviation) {
    text += fmt::format("{} ", value);
  }
  return text;
}

// Calls `visit(batch)` for every batch of the dataset in order, without a gradient.
template <class Visit>
void visit_batches(const std::shared_ptr<const data::Dataset>& dataset,
                   const data::Transform& transform, const ExtractOptions& options,
                   c10::Device device, Visit&& visit) {
  at::NoGradGuard no_grad;
  data::LoaderOptions loader_options;
  loader_options.batch_size = options.batch_size;
  loader_options.workers = options.workers;
  loader_options.shuffle = false;
  loader_options.drop_last = false;
  loader_options.skip_bad = options.skip_bad;
  loader_options.skipped = options.skipped;
  data::Loader loader(dataset, transform, loader_options, /*seed=*/0, device);
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    stop_if_interrupted("features");
    const Batch batch = loader.next();
    if (batch.size() == 0) continue;
    visit(batch);
    show_progress(fmt::format("features: batch {} of {}", i + 1, loader.batches_per_epoch()));
  }
  end_progress();
}

std::unordered_map<uint64_t, std::string> names_by_id(const data::Dataset& dataset) {
  std::unordered_map<uint64_t, std::string> names;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const data::Sample sample = dataset.sample(i);
    names.emplace(sample.id, sample.name);
  }
  return names;
}

// An encoder in evaluation mode, as a TokenFunction.
class EncoderTokens {
 public:
  explicit EncoderTokens(models::Encoder& encoder)
      : encoder_(encoder), evaluation_(encoder.module()) {}
  at::Tensor operator()(const Batch& batch) {
    return encoder_.forward_features(batch.images_BCHW, runner_);
  }

 private:
  models::Encoder& encoder_;
  EvaluationMode evaluation_;
  UnitRunner runner_;
};

// What skip_bad left out when the features were computed.
void list_left_out(const data::Dataset& dataset, const FeatureSet& set, const fs::path& path,
                   data::SkippedList& skipped) {
  if (set.size() == dataset.size()) return;
  const std::unordered_set<std::string_view> names(set.names.begin(), set.names.end());
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const std::string name = dataset.sample(i).name;
    if (names.contains(name)) continue;
    skipped.add(name, fmt::format("{} is not in {}: it was unusable.", name, path.string()));
  }
}

void write_feature_file(const FeatureSet& set, const fs::path& path, const Json& metadata) {
  at::Tensor ids = at::empty({set.size()}, at::kLong);
  std::memcpy(ids.mutable_data_ptr(), set.sample_ids.data(),
              set.sample_ids.size() * sizeof(uint64_t));
  write_tensors(path,
                {{"features", set.features_ND}, {"labels", set.labels_N}, {"sample_ids", ids}},
                {{"names", Json(set.names).dump()}, {"metadata", metadata.dump()}});
}

}  // namespace

at::Tensor pool_tokens(const at::Tensor& tokens, const std::string& pooling) {
  at::Tensor cls = tokens.select(1, 0).to(at::kFloat);
  if (pooling == "cls") return cls;
  at::Tensor mean = tokens.slice(1, 1).to(at::kFloat).mean(1);
  if (pooling == "mean") return mean;
  if (pooling == "both") return at::cat({cls, mean}, 1);
  throw UsageError(fmt::format("pooling wants cls, mean or both, not {}.", pooling));
}

void ExtractOptions::describe(FieldTable& fields) {
  fields.add("pooling", &pooling, "features: the CLS token, the mean of the patches, or both")
      .one_of({"cls", "mean", "both"})
      .flag("pooling");
  fields.add("batch_size", &batch_size, "images at a time through the frozen encoder").at_least(1);
  fields.add("workers", &workers, "decode threads; 0: one per two processor cores").at_least(0);
  fields.add("skip_bad", &skip_bad, "leave unusable images out instead of stopping")
      .flag("skip-bad");
  fields.add("cache", &cache, "directory where computed features are kept; empty: nowhere");
}

FeatureSet extract_features_with(const TokenFunction& tokens_of,
                                 const std::shared_ptr<const data::Dataset>& dataset,
                                 const data::Transform& transform, const ExtractOptions& options,
                                 c10::Device device) {
  const std::unordered_map<uint64_t, std::string> names = names_by_id(*dataset);
  FeatureSet set;
  std::vector<at::Tensor> features;
  std::vector<at::Tensor> labels;
  visit_batches(dataset, transform, options, device, [&](const Batch& batch) {
    features.push_back(pool_tokens(tokens_of(batch), options.pooling).to(at::kCPU));
    labels.push_back(batch.labels_B.defined() ? batch.labels_B.to(at::kCPU)
                                              : at::full({batch.size()}, -1, at::kLong));
    for (const uint64_t id : batch.sample_ids) {
      set.sample_ids.push_back(id);
      const auto found = names.find(id);
      set.names.push_back(found == names.end() ? "" : found->second);
    }
  });
  if (features.empty()) {
    throw Error(fmt::format("{}: no usable image.", dataset->description()));
  }
  set.features_ND = at::cat(features).contiguous();
  set.labels_N = at::cat(labels).contiguous();
  return set;
}

at::Tensor extract_tokens_with(const TokenFunction& tokens_of,
                               const std::shared_ptr<const data::Dataset>& dataset,
                               const data::Transform& transform, const ExtractOptions& options,
                               c10::Device device) {
  std::vector<at::Tensor> tokens;
  visit_batches(dataset, transform, options, device, [&](const Batch& batch) {
    tokens.push_back(tokens_of(batch).slice(1, 1).to(at::kCPU, at::kFloat).contiguous());
  });
  if (tokens.empty()) throw Error(fmt::format("{}: no usable image.", dataset->description()));
  return at::cat(tokens);
}

FeatureSet extract_features(models::Encoder& encoder,
                            const std::shared_ptr<const data::Dataset>& dataset,
                            const data::Transform& transform, const ExtractOptions& options,
                            c10::Device device) {
  EncoderTokens tokens(encoder);
  const TokenFunction tokens_of = [&](const Batch& batch) { return tokens(batch); };
  if (options.cache.empty()) {
    return extract_features_with(tokens_of, dataset, transform, options, device);
  }
  Xxh3Stream hash;
  update(hash, hash_of_weights(encoder.module()));
  // What the weights do not tell.
  update(hash, fmt::format("{} {}", encoder.spec().heads, options.model_settings));
  update(hash, hash_of_dataset(*dataset));
  update(hash, transform_text(transform));
  update(hash, options.pooling);
  const fs::path path =
      fs::path(options.cache) / fmt::format("features_{:016x}.safetensors", hash.digest());
  if (fs::exists(path)) {
    log_info(fmt::format("features of {} read from {}.", dataset->description(), path.string()));
    FeatureSet set = read_features(path);
    if (options.skipped) list_left_out(*dataset, set, path, *options.skipped);
    return set;
  }
  FeatureSet set = extract_features_with(tokens_of, dataset, transform, options, device);
  fs::create_directories(options.cache);
  write_feature_file(set, path, Json{{"dataset", dataset->description()}});
  return set;
}

at::Tensor extract_tokens(models::Encoder& encoder,
                          const std::shared_ptr<const data::Dataset>& dataset,
                          const data::Transform& transform, const ExtractOptions& options,
                          c10::Device device) {
  EncoderTokens tokens(encoder);
  return extract_tokens_with([&](const Batch& batch) { return tokens(batch); }, dataset, transform,
                             options, device);
}

std::string hash_of_weights(const torch::nn::Module& module) {
  Xxh3Stream hash;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    const at::Tensor values = tensor.detach().to(at::kCPU).contiguous();
    update(hash, name);
    update(hash, fmt::format("{} {}", c10::toString(values.scalar_type()), values.dim()));
    for (const int64_t size : values.sizes()) update(hash, fmt::format("{}", size));
    hash.update({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
  };
  for (const auto& item : module.named_parameters()) add(item.key(), item.value());
  for (const auto& item : module.named_buffers()) add(item.key(), item.value());
  return fmt::format("{:016x}", hash.digest());
}

std::string hash_of_dataset(const data::Dataset& dataset) {
  Xxh3Stream hash;
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const data::Sample sample = dataset.sample(i);
    update(hash, sample.name);
    update(hash, fmt::format("{}", sample.label));
    data::ImageSource source;
    try {
      source = dataset.source(i, &scratch);
    } catch (const BadSample& error) {  // a damaged record, which skip_bad may leave out
      update(hash, error.message());
      continue;
    }
    if (!source.bytes.empty()) {
      hash.update(source.bytes);
      continue;
    }
    std::error_code missing;
    const auto size = fs::file_size(source.path, missing);
    const auto time = fs::last_write_time(source.path, missing);
    update(hash, fmt::format("{} {}", size, time.time_since_epoch().count()));
  }
  return fmt::format("{:016x}", hash.digest());
}

EvaluationMode::EvaluationMode(torch::nn::Module& module)
    : module_(module), was_training_(module.is_training()) {
  module_.eval();
}

EvaluationMode::~EvaluationMode() { module_.train(was_training_); }

Json write_features(const FeatureSet& features, const fs::path& directory, const Json& metadata) {
  fs::create_directories(directory);
  const at::Tensor values = features.features_ND.contiguous();
  AtomicFileWriter npy(directory / "features.npy");
  npy.write(data::npy_header(data::PixelType::kFloat32, {values.size(0), values.size(1)}));
  npy.write(values.const_data_ptr(), values.nbytes());
  npy.publish();
  std::string names;
  for (const std::string& name : features.names) names += name + "\n";
  write_file_atomically(directory / "names.txt", names);
  write_feature_file(features, directory / "features.safetensors", metadata);
  return Json{
      {"rows", values.size(0)},
      {"dim", values.size(1)},
      {"files",
       {(directory / "features.npy").string(), (directory / "features.safetensors").string(),
        (directory / "names.txt").string()}}};
}

FeatureSet read_features(const fs::path& path) {
  const SafetensorsFile file(path);
  FeatureSet set;
  set.features_ND = read_tensor(file, "features");
  set.labels_N = read_tensor(file, "labels");
  const at::Tensor ids = read_tensor(file, "sample_ids");
  set.sample_ids.resize(static_cast<size_t>(ids.numel()));
  std::memcpy(set.sample_ids.data(), ids.const_data_ptr(), ids.nbytes());
  const auto names = file.metadata().find("names");
  if (names == file.metadata().end()) {
    throw Error(fmt::format("{}: no file of features: it lists no names.", path.string()));
  }
  set.names = Json::parse(names->second).get<std::vector<std::string>>();
  return set;
}

}  // namespace swath::eval
