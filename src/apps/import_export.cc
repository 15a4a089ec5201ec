#include <fmt/format.h>
#include <torch/torch.h>

#include <filesystem>

#include "apps/commands.h"
#include "apps/trained_model.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/safetensors.h"
#include "models/checkpoint_import.h"
#include "train/checkpoint.h"

namespace swath::apps {
namespace fs = std::filesystem;
namespace {

struct ExportCommandOptions {
  std::string output;
  std::string weights = "model";
  std::string layout = "timm";
  int64_t head_classes = 0;

  void describe(FieldTable& fields) {
    fields.add("output", &output, "file to write; empty: model.safetensors in the run directory");
    fields.add("weights", &weights, "which weights of the checkpoint").one_of({"model", "ema"});
    fields.add("layout", &layout, "timm: the encoder; mae: encoder and decoder")
        .one_of({"timm", "mae"});
    fields.add("head_classes", &head_classes, "adds a head of zeros for programs that want one")
        .at_least(0);
  }
};

// What our own exports say in their metadata; other files say nothing.
void take_normalization(const fs::path& file, PretrainOptions* run) {
  if (file.extension() != ".safetensors" || !fs::exists(file)) return;
  const auto metadata = SafetensorsFile(file).metadata();
  const auto take = [&](const char* key, auto* target) {
    const auto found = metadata.find(key);
    if (found != metadata.end()) Json::parse(found->second).get_to(*target);
  };
  take("mean", &run->normalization.mean);
  take("standard_deviation", &run->normalization.standard_deviation);
  take("bands", &run->normalization.bands);
  take("band_selection", &run->transform.bands);
  if (metadata.contains("units")) run->normalization.units = metadata.at("units");
}

}  // namespace

Outcome run_import(const CommandSyntax& syntax, const Words& words) {
  // An imported model is a run like any other: its config.toml says what it is.
  PretrainOptions run;
  FieldTable fields = make_field_table(run);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if (arguments.positionals.empty()) {
    throw UsageError("import: name a safetensors file.", syntax.example);
  }
  const auto mae = models::make_mae(run.model, static_cast<uint64_t>(run.run.seed));
  run.model.channels = mae->dimensions().channels;
  run.model.image_size = run.transform.size = mae->dimensions().image_size;
  const fs::path file = arguments.positionals.front();
  if (run.normalization.mean.empty()) take_normalization(file, &run);
  if (run.normalization.mean.empty()) {
    if (run.model.channels != 3) {
      throw UsageError(
          fmt::format("import: the file does not say how its {} bands were normalised.",
                      run.model.channels),
          "give --normalization.mean and --normalization.standard_deviation in stored units.");
    }
    log_info("import: the file names no normalisation; taking ImageNet's, as public weights do.");
    run.normalization.mean = {123.675, 116.28, 103.53};
    run.normalization.standard_deviation = {58.395, 57.12, 57.375};
    run.normalization.bands = {"red", "green", "blue"};
  }
  outcome.json = models::load_pretrained(*mae, mae->dimensions(), file);
  const fs::path directory = make_output_directory(run.run.output, "import", arguments.overwrite);
  run.run.output = directory.string();
  const std::string config = fields.to_toml();
  write_file_atomically(directory / "config.toml", config);
  NamedTensors tensors;
  for (const auto& parameter : mae->named_parameters()) {
    tensors.emplace_back("model/" + parameter.key(), parameter.value());
  }
  const fs::path checkpoint =
      train::save_checkpoint(directory / "checkpoints", 0, train::pieces_of(tensors),
                             {{"imported_from", file.string()}}, config);
  outcome.json["checkpoint"] = checkpoint.string();
  outcome.json["output"] = directory.string();
  outcome.text = fmt::format("{} tensors; checkpoint {}", outcome.json.at("tensors").get<int64_t>(),
                             checkpoint.string());
  return outcome;
}

Outcome run_export(const CommandSyntax& syntax, const Words& words) {
  ExportCommandOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if (arguments.positionals.empty()) {
    throw UsageError("export: name a run directory or checkpoint.", syntax.example);
  }
  const TrainedModel trained = open_trained_model(arguments.positionals.front(), options.weights);
  const fs::path file =
      options.output.empty()
          ? fs::path(trained.origin).parent_path().parent_path() / "model.safetensors"
          : fs::path(options.output);
  const fs::path card_file = fs::path(file).replace_extension(".md");
  for (const fs::path& written : {file, card_file}) {
    if (!fs::exists(written) || arguments.overwrite) continue;
    throw UsageError(fmt::format("{} is there already.", written.string()),
                     "choose another --output, or replace it with --overwrite.");
  }
  models::ExportOptions card;
  card.head_classes = options.head_classes;
  card.metadata = card_metadata(trained);
  if (options.layout == "timm") {
    const auto encoder = trained_encoder(trained);
    outcome.json = models::export_encoder(*encoder, encoder->dimensions(), file, card);
  } else {
    const auto mae = trained_mae(trained);
    outcome.json = models::export_full(*mae, mae->dimensions(), file, card);
  }
  outcome.json["unmatched"] = Json::array();
  std::string text = fmt::format("# {}\n\n", trained.options.model.name);
  for (const auto& [key, value] : card.metadata) text += fmt::format("- {}: {}\n", key, value);
  write_file_atomically(card_file, text);
  outcome.json["card"] = card_file.string();
  outcome.text = fmt::format("{} ({} tensors), card {}", file.string(),
                             outcome.json.at("tensors").get<int64_t>(), card_file.string());
  return outcome;
}

}  // namespace swath::apps
