#include <fmt/format.h>
#include <torch/torch.h>

#include "apps/commands.h"
#include "apps/trained_model.h"
#include "core/error.h"
#include "core/files.h"
#include "core/tensor/device.h"
#include "eval/probe.h"
#include "ops/backend.h"

namespace swath::apps {
namespace {

struct EmbedOptions {
  RunOptions run;
  std::string weights = "model";
  int64_t image_size = 0;
  data::DatasetOptions data;
  eval::ExtractOptions features;
  eval::ProbeTransformOptions transform;

  void describe(FieldTable& fields) {
    run.describe(fields);
    fields.add("weights", &weights, "which weights of the checkpoint").one_of({"model", "ema"});
    fields.add("image_size", &image_size, "pixels a side; 0: the pretraining size").at_least(0);
    fields.section("data", data);
    fields.section("features", features);
    fields.section("transform", transform);
  }
};

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
  const data::Transform transform(
      options.transform.for_evaluation(encoder->spec().image_size, trained.options.transform.bands),
      trained.normalization());
  const auto directory = make_output_directory(options.run.output, "embed", arguments.overwrite);
  write_file_atomically(directory / "config.toml", fields.to_toml());
  options.features.skipped = std::make_shared<data::SkippedList>(directory / "skipped.txt");
  const eval::FeatureSet features =
      eval::extract_features(*encoder, dataset, transform, options.features, device);
  outcome.json = eval::write_features(features, directory,
                                      {{"checkpoint", trained.origin},
                                       {"pooling", options.features.pooling},
                                       {"data", options.data.root}});
  outcome.json["skipped_samples"] = options.features.skipped->size();
  outcome.json["output"] = directory.string();
  outcome.text =
      fmt::format("{} features of {} numbers in {}", outcome.json.at("rows").get<int64_t>(),
                  outcome.json.at("dim").get<int64_t>(), directory.string());
  return outcome;
}

}  // namespace swath::apps
