#include <fmt/format.h>

#include <algorithm>

#include "apps/commands.h"
#include "apps/trained_model.h"
#include "core/error.h"
#include "core/files.h"
#include "core/tensor/device.h"
#include "core/tensor/torch.h"
#include "eval/feature_places.h"
#include "eval/places_table.h"
#include "eval/probe.h"
#include "ops/backend.h"

namespace swath::apps {
namespace {

// Enough to tell kinds of scenes apart, and few enough to tell their colours apart on a map.
constexpr int64_t kDefaultClusters = 8;

struct EmbedOptions {
  RunOptions run;
  std::string weights = "model";
  int64_t image_size = 0;
  int64_t clusters = -1;
  data::DatasetOptions data;
  eval::ExtractOptions features;
  eval::ProbeTransformOptions transform;

  void describe(FieldTable& fields) {
    run.describe(fields);
    fields.add("weights", &weights, "which weights of the checkpoint").one_of({"model", "ema"});
    fields.add("image_size", &image_size, "pixels a side; 0: the pretraining size").at_least(0);
    fields
        .add("clusters", &clusters,
             fmt::format(
                 "k-means clusters of the features; 0: none; -1: {} where images have places",
                 kDefaultClusters))
        .at_least(-1);
    fields.section("data", data);
    fields.section("features", features);
    fields.section("transform", transform);
  }
};

// Writes the table of places, where there is anything to say in it, and returns what embed.json
// says of places and clusters.
Json write_places(const eval::FeatureSet& features, const data::Dataset& dataset,
                  const EmbedOptions& options, const std::filesystem::path& directory) {
  const eval::FeaturePlaces places = eval::places_of(features, dataset);
  int64_t num_clusters = options.clusters;
  if (num_clusters < 0) {
    num_clusters = places.is_any_known() ? std::min(kDefaultClusters, features.size()) : 0;
  }
  Json result = eval::describe_places(places, options.data.root);
  eval::KMeansResult clusters;
  if (num_clusters > 0) {
    const auto seed = static_cast<uint64_t>(options.run.seed);
    clusters = eval::cluster_features(features, num_clusters, seed);
    std::vector<int64_t> sizes(static_cast<size_t>(num_clusters));
    for (const int64_t cluster : clusters.clusters) ++sizes[static_cast<size_t>(cluster)];
    result["clusters"] = {{"count", num_clusters},
                          {"sizes", sizes},
                          {"seed", options.run.seed},
                          {"inertia", clusters.inertia},
                          {"iterations", clusters.iterations},
                          {"converged", clusters.converged}};
  }
  if (places.is_any_known() || num_clusters > 0) {
    write_file_atomically(directory / eval::kPlacesFile,
                          eval::places_text(features, places, clusters.clusters));
    result["places"] = (directory / eval::kPlacesFile).string();
  }
  return result;
}

}  // namespace

Outcome run_embed(const CommandSyntax& syntax, const Words& words) {
  EmbedOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if (arguments.positionals.empty()) {
    throw UsageError("embed: name a run directory or checkpoint.", syntax.example);
  }
  options.data.root = expand_environment(options.data.root);
  // `--skip-bad` is one wish, whichever of the two keys it came by.
  options.data.skip_bad |= options.features.skip_bad;
  options.features.skip_bad = options.data.skip_bad;
  ops::set_backend(options.run.ops);
  if (options.run.threads > 0) at::set_num_threads(static_cast<int>(options.run.threads));
  const TrainedModel trained = open_trained_model(arguments.positionals.front(), options.weights);
  const auto encoder = trained_encoder(trained, options.image_size);
  const c10::Device device = select_device(options.run.device);
  encoder->module().to(device);
  const std::shared_ptr<const data::Dataset> dataset = data::open_dataset(options.data);
  check_bands_of(trained, *dataset);
  if (options.clusters > dataset->size()) {
    throw UsageError(
        fmt::format("embed: {} clusters of {} images.", options.clusters, dataset->size()),
        "ask for fewer with --clusters.");
  }
  const data::Transform transform(
      options.transform.for_evaluation(encoder->spec().image_size, trained.options.transform.bands),
      trained.normalization());
  const auto directory = make_output_directory(options.run.output, "embed", arguments.overwrite);
  write_file_atomically(directory / "config.toml", fields.to_toml());
  options.features.skipped = std::make_shared<data::SkippedList>(directory / "skipped.txt");
  const eval::FeatureSet features =
      eval::extract_features(*encoder, dataset, transform, options.features, device);
  const Json origin = {{"checkpoint", trained.origin},
                       {"pooling", options.features.pooling},
                       {"data", options.data.root}};
  outcome.json = eval::write_features(features, directory, origin);
  outcome.json.update(origin);
  outcome.json.update(write_places(features, *dataset, options, directory));
  outcome.json["skipped_samples"] = options.features.skipped->size();
  outcome.json["output"] = directory.string();
  write_file_atomically(directory / eval::kEmbeddingFile, outcome.json.dump(1) + "\n");
  outcome.text =
      fmt::format("{} features of {} numbers in {}", outcome.json.at("rows").get<int64_t>(),
                  outcome.json.at("dim").get<int64_t>(), directory.string());
  if (outcome.json.contains("places")) {
    outcome.text += fmt::format("\nA map of them: swath report {}", directory.string());
  }
  return outcome;
}

}  // namespace swath::apps
