#include <fmt/format.h>

#include <filesystem>

#include "apps/commands.h"
#include "apps/trained_model.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/safetensors.h"
#include "core/tensor/torch.h"
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
    fields
        .add("layout", &layout,
             "timm or microsoft (SwinV2): the encoder; mae (ViT) or simmim (SwinV2): encoder and "
             "decoder")
        .one_of({"timm", "microsoft", "mae", "simmim"});
    fields.add("head_classes", &head_classes, "adds a head of zeros for programs that want one")
        .at_least(0);
  }
};

void check_layout(const std::string& layout, const models::ModelOptions& model) {
  const bool is_swin = models::is_swin(model.name);
  if (layout == "timm" || is_swin == (layout != "mae")) return;
  throw UsageError(fmt::format("export: the layout {} is not that of {}.", layout, model.name),
                   is_swin ? "choose timm, microsoft or simmim." : "choose timm or mae.");
}

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
  const auto model = models::make_objective(run.model, static_cast<uint64_t>(run.run.seed));
  run.objective = models::objective_of(run.model);
  run.model.channels = model->spec().channels;
  run.model.image_size = run.transform.size = model->spec().image_size;
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
  outcome.json = models::load_pretrained(model->module(), run.model, file);
  const fs::path directory = make_output_directory(run.run.output, "import", arguments.overwrite);
  run.run.output = directory.string();
  const std::string config = fields.to_toml();
  write_file_atomically(directory / "config.toml", config);
  NamedTensors tensors;
  for (const auto& parameter : model->module().named_parameters()) {
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
  check_layout(options.layout, trained.options.model);
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
  const models::ModelOptions& model = trained.options.model;
  if (options.layout == "timm" || options.layout == "microsoft") {
    card.microsoft_names = options.layout == "microsoft";
    const auto encoder = trained_encoder(trained);
    outcome.json = models::export_encoder(encoder->module(), model, file, card);
  } else {
    const auto masked = trained_masked_model(trained);
    outcome.json = models::export_full(masked->module(), model, file, card);
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
