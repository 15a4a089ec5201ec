#include "apps/probe.h"

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/labelled_sets.h"
#include "apps/trained_model.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/torch.h"
#include "ops/backend.h"

namespace swath::apps {
namespace fs = std::filesystem;

void ProbeCommandOptions::describe(FieldTable& fields) {
  run.describe(fields);
  fields.add("weights", &weights, "which weights of the checkpoint").one_of({"model", "ema"});
  fields
      .add("image_size", &image_size,
           "pixels a side; 0: 224, or the pretraining size where that is smaller; -1: the "
           "pretraining size")
      .at_least(-1);
  fields.add("position", &position, "position table at another size: resample it or recompute it")
      .one_of({"resample", "recompute"});
  sets.describe(fields);
  fields.add("repeats", &repeats, "splits (seeds 0, 1 ...) to average over").at_least(1);
  fields.section("probe", probe);
}

namespace {

int64_t probe_image_size(int64_t requested, int64_t pretraining_size) {
  if (requested > 0) return requested;
  if (requested < 0) return pretraining_size;
  return std::min<int64_t>(224, pretraining_size);
}

// "62.10 %", with the standard deviation where there are several splits.
std::string top1_text(const Json& result) {
  const std::string top1 = fmt::format("{:.2f}", 100 * result.at("top1").get<double>());
  if (!result.contains("repeats")) return top1 + " %";
  const Json& summary = result["repeats"]["top1"];
  return fmt::format("{} ± {:.2f} % over {} splits", top1, 100 * summary.at("sd").get<double>(),
                     summary.at("count").get<int64_t>());
}

}  // namespace

Json probe(const std::string& path, const ProbeCommandOptions& options, const fs::path& directory) {
  ops::set_backend(options.run.ops);
  if (options.run.threads > 0) at::set_num_threads(static_cast<int>(options.run.threads));
  const TrainedModel trained = open_trained_model(path, options.weights);
  const int64_t size = probe_image_size(options.image_size, trained.options.transform.size);
  const auto encoder = trained_encoder(trained, size, options.position);
  const auto untrained = untrained_encoder(trained, size, static_cast<uint64_t>(options.run.seed));

  eval::ProbeOptions method = options.probe;
  // `--skip-bad` is one wish, whichever of the two keys it came by.
  LabelledOptions labelled = options.sets;
  labelled.data.skip_bad |= method.features.skip_bad;
  method.features.skip_bad = labelled.data.skip_bad;
  method.features.model_settings = model_settings(trained);
  method.features.skipped = std::make_shared<data::SkippedList>(directory / "skipped.txt");
  check_repeats(labelled, options.repeats);

  std::vector<Json> reports;
  std::string derived;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    const LabelledSets sets = open_labelled_sets(labelled, repeat, directory);
    check_bands_of(trained, *sets.train);
    check_bands_of(trained, *sets.test);
    eval::ProbeInputs inputs;
    inputs.encoder = encoder.get();
    inputs.untrained = untrained.get();
    inputs.train = sets.train;
    inputs.test = sets.test;
    inputs.normalization = trained.normalization();
    inputs.bands = trained.options.transform.bands;
    inputs.device = select_device(options.run.device);
    inputs.seed = static_cast<uint64_t>(options.run.seed + repeat);
    reports.push_back(eval::run_probe(inputs, method));
    derived = sets.derived;
  }
  Json result = eval::merge_repeats(reports);
  result["checkpoint"] = trained.origin;
  result["image_size"] = size;
  result["dataset"] = options.sets.data.root;
  if (!derived.empty()) result["derived"] = derived;
  result["skipped_samples"] = method.features.skipped->size();
  result["output"] = directory.string();
  write_file_atomically(directory / "probe.json", result.dump(1));
  return result;
}

Outcome run_probe(const CommandSyntax& syntax, const Words& words) {
  ProbeCommandOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if (arguments.positionals.empty()) {
    throw UsageError("probe: name a run directory or checkpoint.", syntax.example);
  }
  options.sets.expand();
  const fs::path directory =
      make_output_directory(options.run.output, "probe", arguments.overwrite);
  write_file_atomically(directory / "config.toml", fields.to_toml());
  outcome.json = probe(arguments.positionals.front(), options, directory);
  outcome.text = fmt::format("top-1 {} ({}); results in {}", top1_text(outcome.json),
                             outcome.json.at("method").get<std::string>(), directory.string());
  return outcome;
}

}  // namespace swath::apps
