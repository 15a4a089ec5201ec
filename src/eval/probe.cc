#include "eval/probe.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "data/loader.h"
#include "data/subset_dataset.h"
#include "eval/baselines.h"
#include "eval/metrics.h"

namespace swath::eval {
namespace {

const std::vector<std::string> kMethods = {"linear", "logistic", "knn", "few_shot"};
// What is averaged over splits in place.
const std::set<std::string> kScores = {
    "top1",     "top5",     "best_top1",      "balanced_accuracy",
    "macro_f1", "mean_iou", "pixel_accuracy", "majority_class"};

// In the order of kMethods.
std::vector<std::string> chosen_methods(const ProbeOptions& options) {
  if (options.methods.empty()) throw UsageError("probe: methods is empty.");
  std::set<std::string> wanted(options.methods.begin(), options.methods.end());
  if (wanted.contains("all")) wanted.insert(kMethods.begin(), kMethods.end());
  if (!options.few_shot.shots.empty()) wanted.insert("few_shot");
  std::vector<std::string> methods;
  std::copy_if(kMethods.begin(), kMethods.end(), std::back_inserter(methods),
               [&](const std::string& method) { return wanted.contains(method); });
  return methods;
}

bool contains(const std::vector<std::string>& methods, const char* method) {
  return std::find(methods.begin(), methods.end(), method) != methods.end();
}

// What one set of features gave, and per classifier whether each test image was right.
struct Measured {
  Json report;
  std::map<std::string, std::vector<uint8_t>> is_correct;
  at::Tensor test_labels_N;
};

Measured measure_linear(TrainingFeatures& features, const FeatureSet& test,
                        const ProbeInputs& inputs, const ProbeOptions& options) {
  const LinearProbeResult result =
      train_linear_probe(features, test, static_cast<int64_t>(inputs.train->class_names().size()),
                         options.linear, inputs.seed, inputs.device);
  return {to_json(result, inputs.seed), {{"linear", result.last.is_correct}}, test.labels_N};
}

// The methods that work on features computed once.
void measure_cached(const FeatureSet& train, const FeatureSet& test, const ProbeOptions& options,
                    const std::vector<std::string>& methods,
                    const std::vector<std::string>& class_names, uint64_t seed,
                    Measured* measured) {
  measured->test_labels_N = test.labels_N;
  const auto num_classes = static_cast<int64_t>(class_names.size());
  if (contains(methods, "logistic")) {
    measured->report["logistic"] = run_logistic(train, test, num_classes, options.logistic, seed,
                                                &measured->is_correct["logistic"]);
  }
  if (contains(methods, "knn")) {
    measured->report["knn"] = run_knn(train, test, num_classes, options.knn, seed);
  }
  if (contains(methods, "few_shot")) {
    FewShotOptions few_shot = options.few_shot;
    if (few_shot.shots.empty()) few_shot.shots = FewShotOptions().shots;
    measured->report["few_shot"] = run_few_shot(train, test, class_names, few_shot);
  }
}

// Puts the first method's numbers where the contract wants them. Copies, because adding a key moves
// the others.
void set_main_numbers(const std::vector<std::string>& methods, Json* report) {
  const std::string& method = methods.front();
  (*report)["method"] = method;
  if (method == "linear") return;
  if (method == "logistic") {
    const Json raw = (*report)["logistic"]["raw"];
    (*report)["top1"] = raw["top1"];
    (*report)["top5"] = raw["top5"];
  } else if (method == "knn") {
    // k = 20 is the reference's usual choice; else the largest below, or the smallest there is.
    Json chosen;
    for (const Json& entry : (*report)["knn"]["weighted"]) {
      if (chosen.is_null() || entry["k"] <= 20) chosen = entry;
    }
    if (chosen.is_null()) throw UsageError("probe: knn.weighted_k is empty.");
    (*report)["top1"] = chosen["top1"];
    (*report)["top5"] = chosen["top5"];
  } else if (method == "few_shot") {
    const Json full = (*report)["few_shot"]["full"]["logistic"];
    (*report)["top1"] = full;
    (*report)["top5"] = nullptr;
  }
  const Json top1 = (*report)["top1"];
  (*report)["best_top1"] = top1;
  if (!report->contains("history")) (*report)["history"] = Json::array();
}

Measured measure_encoder(models::Encoder& encoder, const ProbeInputs& inputs,
                         const std::shared_ptr<const data::Dataset>& test_set,
                         const ProbeOptions& options, const std::vector<std::string>& methods) {
  const std::vector<std::string>& class_names = inputs.train->class_names();
  const int64_t size = encoder.spec().image_size;
  const data::Transform evaluation(options.transform.for_evaluation(size, inputs.bands),
                                   inputs.normalization);
  const FeatureSet test =
      extract_features(encoder, test_set, evaluation, options.features, inputs.device);
  const bool augments = options.linear.augment && contains(methods, "linear");
  const bool needs_train_features = !augments || methods.size() > 1;
  std::optional<FeatureSet> train;
  if (needs_train_features) {
    train = extract_features(encoder, inputs.train, evaluation, options.features, inputs.device);
  }

  Measured measured;
  if (contains(methods, "linear")) {
    if (augments) {
      data::LoaderOptions loader_options;
      loader_options.batch_size = options.linear.batch_size;
      loader_options.workers = options.features.workers;
      loader_options.skip_bad = options.features.skip_bad;
      loader_options.skipped = options.features.skipped;
      loader_options.drop_last = drops_last_batch(inputs.train->size(), options.linear.batch_size);
      const data::Transform training(options.transform.for_training(size, inputs.bands),
                                     inputs.normalization);
      data::Loader loader(inputs.train, training, loader_options, inputs.seed, inputs.device);
      AugmentedFeatures features(encoder, loader, options.features.pooling);
      measured = measure_linear(features, test, inputs, options);
    } else {
      CachedFeatures features(*train, options.linear.batch_size, inputs.seed, inputs.device);
      measured = measure_linear(features, test, inputs, options);
    }
  }
  if (train) {
    measure_cached(*train, test, options, methods, class_names, inputs.seed, &measured);
  }
  set_main_numbers(methods, &measured.report);
  measured.report["train_images"] = train ? train->size() : inputs.train->size();
  measured.report["test_images"] = test.size();
  return measured;
}

// Features without a network, under the same methods, and always the convex probe. They are not
// augmented: a crop's statistics would be those of another piece of land.
Measured measure_band_statistics(const ProbeInputs& inputs,
                                 const std::shared_ptr<const data::Dataset>& test_set,
                                 const ProbeOptions& options,
                                 const std::vector<std::string>& methods) {
  const int64_t size = inputs.encoder->spec().image_size;
  const data::Transform evaluation(options.transform.for_evaluation(size, inputs.bands),
                                   inputs.normalization);
  const FeatureSet train = band_statistics(inputs.train, evaluation, options.features);
  const FeatureSet test = band_statistics(test_set, evaluation, options.features);
  Measured measured;
  if (contains(methods, "linear")) {
    CachedFeatures features(train, options.linear.batch_size, inputs.seed, inputs.device);
    measured = measure_linear(features, test, inputs, options);
  }
  std::vector<std::string> cached = methods;
  if (!contains(cached, "logistic")) cached.emplace_back("logistic");
  measure_cached(train, test, options, cached, inputs.train->class_names(), inputs.seed, &measured);
  set_main_numbers(methods, &measured.report);
  measured.report["majority_class"] = majority_class_top1(
      train.labels_N, test.labels_N, static_cast<int64_t>(inputs.train->class_names().size()));
  return measured;
}

// The rasters of the given samples, found by name.
at::Tensor read_rasters(const data::Dataset& images, const data::Dataset& rasters) {
  std::unordered_map<std::string, int64_t> index_by_name;
  const auto stem = [](const std::string& name) { return name.substr(0, name.rfind('.')); };
  for (int64_t i = 0; i < rasters.size(); ++i) index_by_name[stem(rasters.sample(i).name)] = i;
  std::vector<at::Tensor> all;
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < images.size(); ++i) {
    const std::string name = images.sample(i).name;
    const auto found = index_by_name.find(stem(name));
    if (found == index_by_name.end()) {
      throw UsageError(
          fmt::format("pixel probe: {} has no label raster for {}.", rasters.description(), name),
          "images and label rasters go together by name.");
    }
    const data::ImageSource source = rasters.source(found->second, &scratch);
    const data::Image raster = data::decode_image(source);
    if (raster.bands != 1 || raster.type != data::PixelType::kUint8) {
      throw UsageError(
          fmt::format("pixel probe: {} has {} bands of {}; label rasters have one of "
                      "uint8.",
                      source.name, raster.bands, data::pixel_type_name(raster.type)));
    }
    at::Tensor pixels = at::empty({raster.height, raster.width}, at::kByte);
    std::copy_n(raster.as<uint8_t>(), raster.width * raster.height,
                pixels.mutable_data_ptr<uint8_t>());
    if (!all.empty() && pixels.sizes() != all.front().sizes()) {
      throw UsageError(fmt::format("pixel probe: {} is {} x {}, others are {} x {}.", source.name,
                                   raster.height, raster.width, all.front().size(0),
                                   all.front().size(1)));
    }
    all.push_back(pixels);
  }
  return at::stack(all);
}

struct PixelImages {
  std::shared_ptr<const data::Dataset> images;
  at::Tensor labels_NHW;
  std::vector<std::string> class_names;  // as the rasters' data names them; may be empty
};

PixelImages open_pixel_images(const std::shared_ptr<const data::Dataset>& images,
                              const std::string& labels_root, int64_t most_images, uint64_t seed) {
  data::DatasetOptions label_options;
  label_options.root = labels_root;
  label_options.labels = "none";  // folders name the classes of images, not those of pixels
  const std::unique_ptr<data::Dataset> rasters = data::open_dataset(label_options);
  PixelImages result{images, {}, rasters->class_names()};
  if (most_images > 0 && images->size() > most_images) {
    std::vector<int64_t> chosen;
    const Permutation order(static_cast<uint64_t>(images->size()), seed, /*epoch=*/0);
    for (int64_t i = 0; i < most_images; ++i) {
      chosen.push_back(static_cast<int64_t>(order(static_cast<uint64_t>(i))));
    }
    result.images = std::make_shared<data::SubsetDataset>(images, std::move(chosen));
  }
  result.labels_NHW = read_rasters(*result.images, *rasters);
  return result;
}

// The names of the rasters' values 0, 1 ...
std::vector<std::string> pixel_classes(const PixelDataOptions& options, const PixelImages& train,
                                       const PixelImages& test) {
  if (!options.class_names.empty()) return options.class_names;
  if (train.class_names.empty() || train.class_names != test.class_names) {
    throw UsageError(
        fmt::format(
            "pixel probe: the training rasters name the classes [{}], the test rasters [{}].",
            fmt::join(train.class_names, ", "), fmt::join(test.class_names, ", ")),
        "name what the values 0, 1 ... stand for with pixels.class_names.");
  }
  return train.class_names;
}

Json measure_pixels(const ProbeInputs& inputs, const ProbeOptions& options) {
  const PixelDataOptions& pixels = options.pixels;
  const PixelImages train =
      open_pixel_images(inputs.train, pixels.train_labels, pixels.most_images, inputs.seed);
  const PixelImages test =
      open_pixel_images(inputs.test, pixels.test_labels, pixels.most_images, inputs.seed);
  const std::vector<std::string> class_names = pixel_classes(pixels, train, test);
  const ModelSpec& spec = inputs.encoder->spec();
  // Pixels and labels must stay aligned, so nothing is resized.
  ProbeTransformOptions unchanged = options.transform;
  unchanged.evaluation = "none";
  const data::Transform transform(unchanged.for_evaluation(spec.image_size, inputs.bands),
                                  inputs.normalization);
  const auto num_classes = static_cast<int64_t>(class_names.size());
  const auto measure = [&](const at::Tensor& train_tokens, const at::Tensor& test_tokens) {
    return to_json(run_pixel_probe({train_tokens, train.labels_NHW}, {test_tokens, test.labels_NHW},
                                   num_classes, pixels.probe, inputs.seed),
                   class_names);
  };
  // Rows of tokens and of rasters go together, so an image that cannot be read stops the probe.
  ExtractOptions extract = options.features;
  extract.skip_bad = false;
  int64_t tokens = 0;  // of an image
  const auto measure_tokens = [&](models::Encoder& encoder) {
    const at::Tensor of_train =
        extract_tokens(encoder, train.images, transform, extract, inputs.device);
    tokens = of_train.size(1);
    return measure(of_train,
                   extract_tokens(encoder, test.images, transform, extract, inputs.device));
  };
  Json report = measure_tokens(*inputs.encoder);
  report["train_images"] = train.images->size();
  report["test_images"] = test.images->size();
  if (options.baselines) {
    if (inputs.untrained != nullptr) {
      report["baselines"]["untrained"] = measure_tokens(*inputs.untrained);
    }
    // At the resolution of the encoder's last tokens: coarser than its patches where they merge.
    const auto grid = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(tokens))));
    const int64_t patch = spec.image_size / grid;
    report["baselines"]["band_statistics"] =
        measure(band_statistics_per_patch(train.images, transform, patch, extract),
                band_statistics_per_patch(test.images, transform, patch, extract));
  }
  return report;
}

void check_labels(const data::Dataset& dataset, const char* role) {
  if (dataset.class_names().empty()) {
    throw UsageError(
        fmt::format("probe: the {} data ({}) has no labels.", role, dataset.description()),
        "use a folder per class, a list file with class indices, or labelled shards.");
  }
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const data::Sample sample = dataset.sample(i);
    if (sample.label < 0) {
      throw UsageError(fmt::format("probe: {} in the {} data has no label.", sample.name, role));
    }
  }
}

Json to_json(const PairedDifference& paired) {
  return {{"difference", paired.difference}, {"interval", to_json(paired.interval)}};
}

// The differences of the two top-1 and of the two balanced accuracies on the same images: of the
// first method that both have, and of each by its name.
Json versus(const Measured& model, const Measured& baseline,
            const std::vector<std::string>& methods, int64_t num_classes, uint64_t seed) {
  Json result;
  for (const std::string& method : methods) {
    const auto ours = model.is_correct.find(method);
    const auto theirs = baseline.is_correct.find(method);
    if (ours == model.is_correct.end() || theirs == baseline.is_correct.end()) continue;
    Json difference = to_json(paired_bootstrap(ours->second, theirs->second, seed));
    difference["balanced"] = to_json(paired_bootstrap_balanced(
        ours->second, theirs->second, as_integers(model.test_labels_N), num_classes, seed));
    if (result.is_null()) result = difference;
    result[method] = difference;
  }
  return result;
}

// Numbers by path: "top1", "baselines.untrained.logistic.raw.top1" ...; rows of a list go by their
// k or their shots: "knn.weighted.20.top1".
void collect_numbers(const Json& json, const std::string& prefix,
                     std::map<std::string, std::vector<double>>* numbers) {
  for (const auto& [key, value] : json.items()) {
    if (value.is_number()) (*numbers)[prefix + key].push_back(value.get<double>());
    if (value.is_object()) collect_numbers(value, prefix + key + ".", numbers);
    if (!value.is_array()) continue;
    for (const Json& row : value) {
      for (const char* name : {"k", "shots"}) {
        if (!row.is_object() || !row.contains(name)) continue;
        collect_numbers(row, fmt::format("{}{}.{}.", prefix, key, row[name].dump()), numbers);
      }
    }
  }
}

// Replaces scores by their means, and takes away what is true of one split only.
void set_means(const Json& summary, const std::string& prefix, Json* json) {
  for (const char* key : {"interval", "best_epoch", "versus"}) json->erase(key);
  for (auto& [key, value] : json->items()) {
    const std::string path = prefix + key;
    if (value.is_object()) set_means(summary, path + ".", &value);
    if (kScores.contains(key) && summary.contains(path)) value = summary[path]["mean"];
  }
}

}  // namespace

void ProbeTransformOptions::describe(FieldTable& fields) {
  fields
      .add("evaluation", &evaluation, "short side to size / resize_ratio and centre crop; or none")
      .one_of({"center_crop", "none"});
  fields.add("resize_ratio", &resize_ratio, "centre crop's size over the short side before it")
      .at_least(0.1)
      .at_most(1);
  fields
      .add("training", &training, "random crops in training; none: whole images of the right size")
      .one_of({"crop", "none"});
  fields.add("scale_min", &scale_min, "smallest share of the image's area in a training crop")
      .at_least(0)
      .at_most(1);
  fields.add("scale_max", &scale_max, "largest share").at_least(0).at_most(1);
  fields.add("horizontal_flip", &horizontal_flip, "mirror half of the training images");
  fields.add("dihedral", &dihedral, "one of the eight turns and mirrors, in training");
}

data::TransformOptions ProbeTransformOptions::for_evaluation(
    int64_t size, const std::vector<int64_t>& bands) const {
  data::TransformOptions options;
  options.kind = evaluation;
  options.size = size;
  options.resize_ratio = resize_ratio;
  options.bands = bands;
  options.horizontal_flip = false;
  return options;
}

data::TransformOptions ProbeTransformOptions::for_training(
    int64_t size, const std::vector<int64_t>& bands) const {
  data::TransformOptions options;
  options.kind = training == "crop" ? "probe_crop" : "none";
  options.size = size;
  options.scale_min = scale_min;
  options.scale_max = scale_max;
  options.horizontal_flip = horizontal_flip;
  options.dihedral = dihedral;
  options.bands = bands;
  return options;
}

void PixelDataOptions::describe(FieldTable& fields) {
  fields.add("train_labels", &train_labels, "label rasters of the training images; empty: none");
  fields.add("test_labels", &test_labels, "label rasters of the test images");
  fields.add("class_names", &class_names,
             "of the rasters' values 0, 1 ...; empty: as the label shards name them");
  fields.add("most_images", &most_images, "images of each list used, a seeded choice; 0: all")
      .at_least(0);
  probe.describe(fields);
}

void ProbeOptions::describe(FieldTable& fields) {
  fields
      .add("methods", &methods,
           "what is measured on the features; linear gives top1, or logistic, knn, few_shot")
      .one_of({"linear", "knn", "logistic", "few_shot", "all"})
      .flag("method");
  fields.add("baselines", &baselines, "also the untrained encoder and per-band statistics");
  fields.section("features", features);
  fields.section("transform", transform);
  fields.section("linear", linear);
  fields.section("knn", knn);
  fields.section("logistic", logistic);
  fields.section("few_shot", few_shot);
  fields.section("pixels", pixels);
}

std::shared_ptr<const data::Dataset> with_classes_of(
    const std::shared_ptr<const data::Dataset>& test, const data::Dataset& train) {
  if (test->class_names() == train.class_names()) return test;
  // A list may leave a class without images, and then without its name.
  std::vector<bool> has_images(test->class_names().size(), false);
  for (int64_t i = 0; i < test->size(); ++i) {
    const int64_t label = test->sample(i).label;
    if (label >= 0) has_images[static_cast<size_t>(label)] = true;
  }
  std::vector<int64_t> class_by_test_class;
  std::vector<std::string> unknown;
  for (size_t c = 0; c < has_images.size(); ++c) {
    const std::string& name = test->class_names()[c];
    const auto found = std::find(train.class_names().begin(), train.class_names().end(), name);
    if (found == train.class_names().end() && has_images[c]) unknown.push_back(name);
    class_by_test_class.push_back(found - train.class_names().begin());
  }
  if (!unknown.empty()) {
    throw UsageError(
        fmt::format("probe: the training data ({}) does not know classes of the test "
                    "data ({}): {}.",
                    train.description(), test->description(), fmt::join(unknown, ", ")));
  }
  std::vector<int64_t> indices;
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < test->size(); ++i) {
    indices.push_back(i);
    const int64_t label = test->sample(i).label;
    labels.push_back(label < 0 ? label : class_by_test_class[static_cast<size_t>(label)]);
  }
  return std::make_shared<data::SubsetDataset>(test, std::move(indices), std::move(labels),
                                               train.class_names());
}

void check_bands(const ModelSpec& spec, const data::Normalization& normalization,
                 const std::vector<int64_t>& bands) {
  const auto statistics = static_cast<int64_t>(normalization.mean.size());
  if (statistics != spec.channels) {
    throw UsageError(fmt::format("{} reads {} bands, the normalisation has statistics of {}.",
                                 spec.name, spec.channels, statistics),
                     "use the bands and the statistics that are stored with the checkpoint.");
  }
  if (!bands.empty() && static_cast<int64_t>(bands.size()) != spec.channels) {
    throw UsageError(
        fmt::format("{} reads {} bands, {} are selected.", spec.name, spec.channels, bands.size()));
  }
}

Json run_probe(const ProbeInputs& inputs, const ProbeOptions& options) {
  const std::vector<std::string> methods = chosen_methods(options);
  check_bands(inputs.encoder->spec(), inputs.normalization, inputs.bands);
  check_labels(*inputs.train, "training");
  check_labels(*inputs.test, "test");
  if (options.pixels.train_labels.empty() != options.pixels.test_labels.empty()) {
    throw UsageError("probe: pixels.train_labels and pixels.test_labels go together.");
  }
  const std::shared_ptr<const data::Dataset> test = with_classes_of(inputs.test, *inputs.train);

  inputs.encoder->module().to(inputs.device);
  if (inputs.untrained != nullptr) inputs.untrained->module().to(inputs.device);
  const std::string weights_before = hash_of_weights(inputs.encoder->module());
  log_info(fmt::format("probe: {} training and {} test images of {} classes.", inputs.train->size(),
                       test->size(), inputs.train->class_names().size()));
  const Measured model = measure_encoder(*inputs.encoder, inputs, test, options, methods);
  Json report = model.report;
  report["classes"] = inputs.train->class_names().size();
  report["class_names"] = inputs.train->class_names();
  report["pooling"] = options.features.pooling;
  report["augment"] = contains(methods, "linear") && options.linear.augment;
  if (!options.pixels.train_labels.empty()) report["pixels"] = measure_pixels(inputs, options);

  if (options.baselines) {
    const auto num_classes = static_cast<int64_t>(inputs.train->class_names().size());
    Json baselines;
    Json differences;
    if (inputs.untrained != nullptr) {
      log_info("probe: the same encoder untrained.");
      const Measured untrained = measure_encoder(*inputs.untrained, inputs, test, options, methods);
      baselines["untrained"] = untrained.report;
      differences["untrained"] = versus(model, untrained, methods, num_classes, inputs.seed);
    }
    log_info("probe: mean and standard deviation of every band.");
    Measured statistics = measure_band_statistics(inputs, test, options, methods);
    baselines["majority_class"] = statistics.report["majority_class"];
    statistics.report.erase("majority_class");
    baselines["band_statistics"] = statistics.report;
    differences["band_statistics"] = versus(model, statistics, methods, num_classes, inputs.seed);
    report["baselines"] = std::move(baselines);
    report["versus"] = std::move(differences);
  }
  if (hash_of_weights(inputs.encoder->module()) != weights_before) {
    throw Error("probe: the frozen encoder's weights changed.", "this is a defect of swath.");
  }
  return report;
}

Json summarize_repeats(const std::vector<Json>& reports) {
  std::map<std::string, std::vector<double>> numbers;
  for (const Json& report : reports) collect_numbers(report, "", &numbers);
  Json summary;
  for (const auto& [path, values] : numbers) {
    if (values.size() == reports.size()) summary[path] = to_json(mean_and_sd(values));
  }
  return summary;
}

Json merge_repeats(const std::vector<Json>& reports) {
  Json merged = reports.front();
  if (reports.size() == 1) return merged;
  const Json summary = summarize_repeats(reports);
  set_means(summary, "", &merged);
  merged["repeats"] = summary;
  merged["seeds"] = reports;
  return merged;
}

}  // namespace swath::eval
