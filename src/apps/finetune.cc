#include "eval/finetune.h"

#include <fmt/format.h>

#include "apps/commands.h"
#include "apps/labelled_sets.h"
#include "apps/trained_model.h"
#include "core/error.h"
#include "core/files.h"
#include "core/tensor/device.h"
#include "core/tensor/torch.h"
#include "models/checkpoint_import.h"
#include "ops/backend.h"

namespace swath::apps {
namespace fs = std::filesystem;
namespace {

struct FinetuneCommandOptions {
  RunOptions run;
  std::string weights = "model";
  int64_t image_size = 0;
  int64_t window = 0;
  bool from_scratch = false;
  LabelledOptions sets;
  models::ClassifierOptions classifier;
  eval::FinetuneOptions train;

  void describe(FieldTable& fields) {
    run.describe(fields);
    fields.add("weights", &weights, "which weights of the checkpoint").one_of({"model", "ema"});
    fields.add("image_size", &image_size, "pixels a side; 0: the pretraining size").at_least(0);
    fields.add("window", &window, "of a SwinV2's attention, tokens a side; 0: as pretrained")
        .at_least(0);
    fields.add("from_scratch", &from_scratch, "ignore the weights: the baseline");
    sets.describe(fields);
    fields.section("classifier", classifier);
    fields.section("train", train);
  }
};

}  // namespace

Outcome run_finetune(const CommandSyntax& syntax, const Words& words) {
  FinetuneCommandOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if (arguments.positionals.empty()) {
    throw UsageError("finetune: name a run directory or checkpoint.", syntax.example);
  }
  options.sets.expand();
  // `--skip-bad` is one wish, whichever of the two keys it came by.
  options.sets.data.skip_bad |= options.train.skip_bad;
  options.train.skip_bad = options.sets.data.skip_bad;
  ops::set_backend(options.run.ops);
  if (options.run.threads > 0) at::set_num_threads(static_cast<int>(options.run.threads));
  const TrainedModel trained = open_trained_model(arguments.positionals.front(), options.weights);
  const fs::path directory =
      make_output_directory(options.run.output, "finetune", arguments.overwrite);
  write_file_atomically(directory / "config.toml", fields.to_toml());
  const LabelledSets sets = open_labelled_sets(options.sets, 0, directory);
  check_bands_of(trained, *sets.train);
  check_bands_of(trained, *sets.test);

  // 1. A classifier around the pretrained encoder.
  const models::ModelOptions model = model_at(trained, options.image_size, options.window);
  options.classifier.num_classes = static_cast<int64_t>(sets.train->class_names().size());
  const auto seed = static_cast<uint64_t>(options.run.seed);
  const auto classifier = models::make_classifier(model, options.classifier, seed);
  if (!options.from_scratch) {
    models::load_pretrained(classifier->module(), model, trained.origin, trained.tensors);
  }

  // 2. Train, test, keep the weights.
  eval::FinetuneInputs inputs;
  inputs.classifier = classifier.get();
  inputs.train = sets.train;
  inputs.test = sets.test;
  inputs.normalization = trained.normalization();
  inputs.bands = trained.options.transform.bands;
  inputs.device = select_device(options.run.device);
  inputs.seed = seed;
  options.train.skipped = std::make_shared<data::SkippedList>(directory / "skipped.txt");
  outcome.json = eval::run_finetune(inputs, options.train);
  outcome.json["skipped_samples"] = options.train.skipped->size();
  if (!sets.derived.empty()) outcome.json["derived"] = sets.derived;
  models::ExportOptions card;
  card.metadata = card_metadata(trained);
  card.metadata["classes"] = Json(sets.train->class_names()).dump();
  const fs::path weights = directory / "model.safetensors";
  models::export_encoder(classifier->module(), model, weights, card);
  outcome.json["weights"] = weights.string();
  outcome.json["checkpoint"] = trained.origin;
  outcome.json["output"] = directory.string();
  write_file_atomically(directory / "finetune.json", outcome.json.dump(1));
  outcome.text = fmt::format("top-1 {:.2f} %, macro F1 {:.3f}; results in {}",
                             100 * outcome.json.at("top1").get<double>(),
                             outcome.json.at("macro_f1").get<double>(), directory.string());
  return outcome;
}

}  // namespace swath::apps
