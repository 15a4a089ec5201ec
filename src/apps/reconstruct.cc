#include "apps/reconstruct.h"

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "core/tensor/device.h"
#include "core/tensor/torch.h"
#include "ops/backend.h"

namespace swath::apps {

void ReconstructCommandOptions::describe(FieldTable& fields) {
  run.describe(fields);
  fields.add("weights", &weights, "which weights of the checkpoint").one_of({"model", "ema"});
  fields.section("data", data);
  fields.section("pictures", pictures);
}

Json reconstruct(const TrainedModel& trained, const ReconstructCommandOptions& options,
                 const std::filesystem::path& directory) {
  const c10::Device device = select_device(options.run.device);
  const auto model = trained_masked_model(trained);
  model->module().to(device);
  eval::ReconstructInputs inputs;
  inputs.model = model.get();
  inputs.dataset = data::open_dataset(options.data);
  check_bands_of(trained, *inputs.dataset);
  inputs.skip_bad = options.data.skip_bad;
  inputs.skipped = options.skipped;
  inputs.normalization = trained.normalization();
  inputs.transform = trained.options.transform.without_random_choices();
  inputs.device = device;
  inputs.seed = static_cast<uint64_t>(options.run.seed);
  return eval::run_reconstruct(inputs, options.pictures, directory / "reconstruct.png");
}

Outcome run_reconstruct(const CommandSyntax& syntax, const Words& words) {
  ReconstructCommandOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if (arguments.positionals.empty()) {
    throw UsageError("reconstruct: name a run directory or checkpoint.", syntax.example);
  }
  ops::set_backend(options.run.ops);
  if (options.run.threads > 0) at::set_num_threads(static_cast<int>(options.run.threads));
  const TrainedModel trained = open_trained_model(arguments.positionals.front(), options.weights);
  if (options.data.root.empty()) options.data = trained.options.data;
  options.data.root = expand_environment(options.data.root);
  const auto directory =
      make_output_directory(options.run.output, "reconstruct", arguments.overwrite);
  write_file_atomically(directory / "config.toml", fields.to_toml());
  options.skipped = std::make_shared<data::SkippedList>(directory / "skipped.txt");
  outcome.json = reconstruct(trained, options, directory);
  outcome.json["skipped_samples"] = options.skipped->size();
  outcome.json["output"] = directory.string();
  outcome.text = (directory / "reconstruct.png").string();
  return outcome;
}

}  // namespace swath::apps
