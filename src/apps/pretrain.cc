#include "apps/pretrain.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "apps/commands.h"
#include "apps/labelled_sets.h"
#include "apps/ranks.h"
#include "apps/recipes.h"
#include "apps/reconstruct.h"
#include "apps/trained_model.h"
#include "apps/version.h"
#include "bench/report/report.h"
#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/device_telemetry.h"
#include "core/tensor/torch.h"
#include "data/normalization.h"
#include "ops/backend.h"
#include "train/checkpoint.h"

namespace swath::apps {
namespace fs = std::filesystem;
namespace {

// The checkpoint to go on from, if any.
std::optional<train::Checkpoint> checkpoint_to_resume(const PretrainOptions& options) {
  if (options.resume == "none") return std::nullopt;
  if (options.resume != "auto") return train::find_checkpoint(options.resume);
  if (options.run.output.empty()) return std::nullopt;
  return train::newest_sound_checkpoint(fs::path(options.run.output) / "checkpoints");
}

// Whether the run goes on in the directory of its checkpoint. From an older one that would mix two
// runs.
bool continues_in_place(const train::Checkpoint& checkpoint, const PretrainOptions& options) {
  const fs::path checkpoints = fs::path(options.run.output) / "checkpoints";
  if (options.run.output.empty() || !fs::exists(checkpoints)) return false;
  if (!fs::equivalent(checkpoint.path.parent_path(), checkpoints)) return false;
  const fs::path newest = train::list_checkpoints(checkpoints).back().path;
  if (options.resume != "auto" && !fs::equivalent(newest, checkpoint.path)) {
    throw UsageError(fmt::format("{} is not the newest checkpoint of its run, {} is.",
                                 checkpoint.path.string(), newest.string()),
                     "to branch off from an older one, name another output.");
  }
  return true;
}

// Every setting that differs from the saved ones and matters: {} for the same run.
std::vector<std::string> differences(PretrainOptions& options, PretrainOptions& saved_options) {
  FieldTable saved = make_field_table(saved_options);
  const bool epochs_were_fitted =
      options.train.fit_minutes > 0 && saved_options.train.fit_minutes > 0;
  std::vector<std::string> found;
  const FieldTable current = make_field_table(options);
  for (const Field& field : current.fields()) {
    const std::string& key = field.key();
    if (train::may_change_on_resume(key)) continue;
    if (epochs_were_fitted && (key == "train.epochs" || key == "train.fit_minutes")) continue;
    // Left to the data: the checkpoint's values are taken.
    if (key.starts_with("normalization.") && field.value_text() == "[]") continue;
    if ((key == "data.list_sha256" && options.data.list_sha256.empty()) ||
        (key == "data.exclude_list_sha256" && options.data.exclude_list_sha256.empty()))
      continue;
    if ((key == "model.channels" || key == "model.image_size") && field.value_text() == "0")
      continue;
    const std::string saved_value = saved.find(key)->value_text();
    if (saved_value != field.value_text()) {
      found.push_back(fmt::format("{} was {}, is {}", key, saved_value, field.value_text()));
    }
  }
  return found;
}

// A resumed run must be the same run.
void check_same_run(PretrainOptions& options, const train::Checkpoint& checkpoint) {
  PretrainOptions saved_options;
  make_field_table(saved_options)
      .apply_toml(checkpoint.config, (checkpoint.path / "index.json").string());
  const std::vector<std::string> found = differences(options, saved_options);
  if (!found.empty()) {
    throw UsageError(fmt::format("checkpoint {} belongs to another run: {}.",
                                 checkpoint.path.string(), fmt::join(found, "; ")),
                     "use the settings of its config.toml, or start anew with resume=none and "
                     "another output.");
  }
  options.normalization = saved_options.normalization;
  options.data.list_sha256 = saved_options.data.list_sha256;
  options.data.exclude_list_sha256 = saved_options.data.exclude_list_sha256;
  options.train.epochs = saved_options.train.epochs;
  options.train.fit_minutes = saved_options.train.fit_minutes;
  options.model = saved_options.model;
}

// Whether nothing is lost by starting in `directory`: a run was begun there and ended before its
// first checkpoint. Once it had trained, only for the same run, as a restart makes it.
bool is_unsaved_start(const fs::path& directory, PretrainOptions& options) {
  const fs::path config = directory / "config.toml";
  if (directory.empty() || !fs::exists(config) ||
      train::holds_checkpoints(directory / "checkpoints"))
    return false;
  if (!fs::exists(directory / "log.jsonl")) return true;
  PretrainOptions saved_options;
  make_field_table(saved_options).apply_toml(read_file(config), config.string());
  return differences(options, saved_options).empty();
}

// Where the run writes. config.toml is there from the first moment: it marks the directory as a
// run's.
fs::path choose_output(PretrainOptions& options, const std::optional<train::Checkpoint>& checkpoint,
                       const std::string& command, bool overwrite) {
  if (checkpoint && continues_in_place(*checkpoint, options)) return options.run.output;
  if (!overwrite && options.resume == "auto" && is_unsaved_start(options.run.output, options)) {
    log_info(fmt::format("{} has no checkpoint yet: the run starts again.", options.run.output));
    return options.run.output;
  }
  const fs::path directory = make_output_directory(options.run.output, command, overwrite);
  options.run.output = directory.string();
  write_file_atomically(directory / "config.toml", make_field_table(options).to_toml());
  return directory;
}

// Statistics of one unit mean nothing for values of another.
void check_units(const NormalizationOptions& normalization, const data::Dataset& dataset) {
  const bool are_known = normalization.units != NormalizationOptions().units;
  if (dataset.units().empty() || normalization.mean.empty() || !are_known) return;
  if (normalization.units == dataset.units()) return;
  throw UsageError(fmt::format("normalization: mean and deviation are of {}, {} is read as {}.",
                               normalization.units, dataset.description(), dataset.units()),
                   fmt::format("set data.units={}, or start a new run.", normalization.units));
}

// So that a resumed run, and an evaluation that asks what was seen, notice another list.
void complete_checksums(data::DatasetOptions& data) {
  const auto complete = [](const std::string& list, std::string& sha256) {
    // One that is known was compared when the data were opened.
    if (!list.empty() && sha256.empty()) sha256 = sha256_hex_of_file(list);
  };
  complete(data.list, data.list_sha256);
  complete(data.exclude_list, data.exclude_list_sha256);
}

void complete_normalization(PretrainOptions& options, const data::Dataset& dataset,
                            const std::shared_ptr<data::SkippedList>& skipped) {
  NormalizationOptions& normalization = options.normalization;
  check_units(normalization, dataset);
  if (!dataset.units().empty()) normalization.units = dataset.units();
  if (normalization.mean.empty()) {
    log_info("computing the mean and standard deviation of every band.");
    data::NormalizationOptions how;
    how.bands = options.transform.bands;
    how.skip_bad = options.data.skip_bad;
    how.skipped = skipped;
    const data::BandNormalization computed = data::compute_normalization(dataset, how);
    normalization.mean = computed.normalization().mean;
    normalization.standard_deviation = computed.normalization().standard_deviation;
  }
  const auto count = static_cast<int64_t>(normalization.mean.size());
  if (normalization.bands.empty()) {
    normalization.bands = data::band_names_of(dataset, options.transform.bands, count);
  }
}

void resolve_objective(PretrainOptions& options) {
  const std::string fitting = models::objective_of(options.model);
  if (options.objective == "auto") options.objective = fitting;
  if (options.objective == fitting) return;
  throw UsageError(
      fmt::format("objective {} is not for the model {}.", options.objective, options.model.name),
      fmt::format("it is trained with {}.", fitting));
}

// The model takes what the data gives: its channels and its image size.
void fit_model_to_data(PretrainOptions& options) {
  const auto channels = static_cast<int64_t>(options.normalization.mean.size());
  const auto take = [](int64_t& of_model, int64_t of_data, const char* what) {
    if (of_model == 0) of_model = of_data;
    if (of_model == of_data) return;
    throw UsageError(
        fmt::format("model.{} is {}, the data has {}.", what, of_model, of_data),
        fmt::format("leave model.{} out, or choose bands and size of the transform.", what));
  };
  take(options.model.channels, channels, "channels");
  take(options.model.image_size, options.transform.size, "image_size");
}

// Of equal batches, of which every rank takes a part. Between half of `most` and `most`, so that as
// few samples as can be are left over: the number of ranks should not choose the test set.
int64_t test_batch_size(int64_t samples, int64_t most, int64_t ranks) {
  int64_t best = std::min(samples, most);
  for (int64_t size = best; size >= std::max((most + 1) / 2, ranks); --size) {
    if (samples % size < samples % best) best = size;
  }
  return best;
}

// Of the samples of the test loss, which are seen without random choices; null when there are none.
std::unique_ptr<data::Loader> open_test_loader(const PretrainOptions& options,
                                               const data::Dataset& train,
                                               const data::Normalization& normalization,
                                               c10::Device device, const Ranks& ranks) {
  if (options.test_root.empty() && options.test_list.empty()) return nullptr;
  data::DatasetOptions data = options.data;
  if (!options.test_root.empty()) data.root = options.test_root;
  data.list = options.test_list;
  data.exclude_list.clear();
  data.list_sha256.clear();
  data.limit = options.test_limit;
  const std::shared_ptr<const data::Dataset> dataset = data::open_dataset(data);
  const bool is_same_root =
      options.test_root.empty() || fs::equivalent(options.test_root, options.data.root);
  if (is_same_root) check_disjoint(train, *dataset);
  check_bands_of(options, *dataset);
  const int64_t most = options.train.batch_size / options.train.accumulation;
  data::LoaderOptions loader = options.loader;
  loader.global_batch_size = test_batch_size(dataset->size(), most, ranks.world_size());
  loader.shuffle = false;
  loader.skip_bad = false;
  return std::make_unique<data::Loader>(
      dataset, data::Transform(options.transform.without_random_choices(), normalization), loader,
      static_cast<uint64_t>(options.run.seed), device, ranks.rank(), ranks.world_size());
}

Json run_header(const PretrainOptions& options, const models::Objective& objective,
                const data::Dataset& dataset, c10::Device device, const std::string& command) {
  const ModelSpec& spec = objective.spec();
  return {{"command", command},
          {"commit", commit()},
          {"device", device_description(device)},
          {"precision", c10::toString(select_precision(options.train.precision, device))},
          {"ops", ops::backend_description()},
          {"model",
           {{"name", spec.name},
            {"width", spec.width},
            {"depth", spec.depth},
            {"heads", spec.heads},
            {"patch", spec.patch},
            {"image_size", spec.image_size},
            {"channels", spec.channels},
            {"parameters", spec.parameter_count(true)},
            {"train_gflops_per_image", spec.train_flops / 1e9}}},
          {"data", {{"description", dataset.description()}, {"samples", dataset.size()}}},
          {"batch_size", options.train.batch_size},
          {"epochs", options.train.epochs},
          {"seed", options.run.seed}};
}

}  // namespace

Json pretrain(PretrainOptions options, const std::string& command, bool overwrite) {
  // 1. Where, as which of how many ranks, and whether this continues an earlier run. The lead
  // decides; the others follow.
  if (overwrite && options.resume != "auto" && options.resume != "none") {
    throw UsageError(fmt::format("--overwrite starts anew, resume={} goes on.", options.resume),
                     "give one of the two; to branch off, name another output.");
  }
  resolve_objective(options);
  ops::set_backend(options.run.ops);
  if (options.run.threads > 0) at::set_num_threads(static_cast<int>(options.run.threads));
  const c10::Device device = select_device(options.run.device);
  Ranks ranks(device, options.sharding);
  if (options.sharding.check_ranks) {
    ranks.demand_equal(make_field_table(options).to_toml(), "the settings");
    ranks.demand_equal(commit(), "the programs");
  }
  std::optional<train::Checkpoint> checkpoint;
  fs::path directory;
  ranks.on_lead("choosing the output", [&] {
    checkpoint = overwrite ? std::nullopt : checkpoint_to_resume(options);
    if (checkpoint) check_same_run(options, *checkpoint);
    directory = choose_output(options, checkpoint, command, overwrite);
  });
  directory = ranks.from_lead(directory.string(), "the output");
  const std::string resumed_from =
      ranks.from_lead(checkpoint ? checkpoint->path.string() : "", "the checkpoint");
  if (!ranks.is_lead() && !resumed_from.empty()) {
    checkpoint = train::open_checkpoint(resumed_from);
    check_same_run(options, *checkpoint);
  }
  options.run.output = directory.string();
  if (ranks.groups() != nullptr) ranks.groups()->record_failures_in(directory);

  // 2. Data.
  const std::shared_ptr<const data::Dataset> dataset = data::open_dataset(options.data);
  complete_checksums(options.data);
  const auto skipped = std::make_shared<data::SkippedList>(
      directory / (ranks.is_lead() ? "skipped.txt" : fmt::format("skipped_{}.txt", ranks.rank())));
  ranks.on_lead("computing the normalisation",
                [&] { complete_normalization(options, *dataset, skipped); });
  if (ranks.groups() != nullptr) {
    FieldTable fields = make_field_table(options);
    fields.apply_toml(ranks.from_lead(fields.to_toml(), "the settings"), "rank 0's settings");
    ranks.demand_equal(std::to_string(dataset->size()), "the numbers of samples");
  }
  fit_model_to_data(options);
  const data::Normalization normalization = {options.normalization.mean,
                                             options.normalization.standard_deviation};
  const data::Transform transform(options.transform, normalization);
  data::LoaderOptions loader_options = options.loader;
  loader_options.global_batch_size = options.train.batch_size / options.train.accumulation;
  loader_options.skip_bad = options.data.skip_bad;
  loader_options.skipped = skipped;
  const auto seed = static_cast<uint64_t>(options.run.seed);
  data::Loader loader(dataset, transform, loader_options, seed, device, ranks.rank(),
                      ranks.world_size());
  const std::unique_ptr<data::Loader> test =
      open_test_loader(options, *dataset, normalization, device, ranks);

  // 3. Model and training.
  const std::shared_ptr<models::MaskedModel> objective = models::make_objective(
      options.model, seed,
      ranks.world_size() > 1 ? models::Weights::kLater : models::Weights::kInitialized);
  train::Trainer trainer(*objective, loader, options.train, options.optim, seed, device, directory,
                         {}, ranks.groups(), options.sharding);
  if (test) trainer.measure_on(*test);
  if (checkpoint) {
    trainer.resume(*checkpoint);
    log_info(
        fmt::format("resuming from {} at step {}.", checkpoint->path.string(), checkpoint->step));
  } else if (options.train.fit_minutes > 0) {
    options.train.epochs = trainer.fit_epochs(options.train.fit_minutes);
  }

  // 4. Train. The resolved configuration is saved before the first step and with every checkpoint.
  const std::string config = make_field_table(options).to_toml();
  ranks.on_lead("writing config.toml",
                [&] { write_file_atomically(directory / "config.toml", config); });
  log_info(fmt::format("{}: {} parameters, {} images, {} epochs, {}; {}; results in {}.",
                       objective->spec().name, objective->spec().parameter_count(true),
                       dataset->size(), options.train.epochs, device_description(device),
                       trainer.parallelism(), directory.string()));
  Json header = run_header(options, *objective, *dataset, device, command);
  header["ranks"] = ranks.world_size();
  header["parallelism"] = trainer.parallelism();
  std::optional<DeviceTelemetry> telemetry;
  if (options.telemetry_seconds > 0 && ranks.is_lead()) {
    const int64_t step = checkpoint ? checkpoint->step : 0;
    telemetry.emplace(device, directory / fmt::format("telemetry_from_step_{}.csv", step),
                      std::chrono::milliseconds(
                          static_cast<int64_t>(std::ceil(1e3 * options.telemetry_seconds))));
    trainer.record(*telemetry);
  }
  const train::TrainSummary summary = trainer.run(config, header);
  return {{"steps", summary.steps},
          {"loss", summary.loss},
          {"test_loss", summary.test_loss ? Json(*summary.test_loss) : Json()},
          {"images_per_second", summary.images_per_second},
          {"checkpoint", summary.checkpoint},
          {"peak_memory_bytes", summary.peak_memory_bytes},
          {"resumed_from", checkpoint ? Json(checkpoint->path.string()) : Json()},
          {"output", directory.string()},
          {"seconds", summary.seconds},
          {"checkpoint_stall_seconds", summary.checkpoint_stall_seconds},
          {"checkpoint_write_seconds", summary.checkpoint_write_seconds},
          {"data_wait", summary.data_wait},
          {"telemetry", summary.telemetry},
          {"skipped_steps", summary.skipped_steps},
          {"skipped_samples", skipped->size()},
          {"epochs", options.train.epochs},
          {"reason", summary.reason},
          {"signal", summary.signal},
          {"rank", ranks.rank()},
          {"ranks", ranks.world_size()}};
}

Outcome run_pretrain(const CommandSyntax& syntax, const Words& words) {
  PretrainOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields, [](const std::string& name) {
    const Recipe recipe = find_recipe(name);
    return RecipeText{recipe.toml, recipe.scale_down};
  });
  Outcome outcome;
  if (arguments.help) return outcome;
  for (std::string* path :
       {&options.data.root, &options.data.exclude_list, &options.test_root, &options.test_list}) {
    *path = expand_environment(*path);
  }
  outcome.json = pretrain(options, "pretrain", arguments.overwrite);
  const int signal = outcome.json.at("signal");
  const fs::path directory = outcome.json.at("output").get<std::string>();
  if (signal != 0) {
    // Stopped from outside: the checkpoint is there, but the work is not done.
    outcome.exit_code = 128 + signal;
  } else if (outcome.json.at("rank") == 0) {
    ReconstructCommandOptions pictures;
    pictures.run = options.run;
    pictures.data = options.data;
    reconstruct(open_trained_model(directory.string()), pictures, directory);
    outcome.json["report"] = bench::write_report({directory}, {}).at("report");
  }
  if (outcome.json.at("rank") != 0) {  // the lead speaks for all
    outcome.json = Json();
    return outcome;
  }
  outcome.text = fmt::format(
      "{}{} steps, loss {:.4f}, {:.1f} images/s; checkpoint {}; training waited {:.2f} s "
      "for checkpoints",
      outcome.json.at("reason") == "max_minutes" ? "budget reached: " : "",
      outcome.json.at("steps").get<int64_t>(), outcome.json.at("loss").get<double>(),
      outcome.json.at("images_per_second").get<double>(),
      outcome.json.at("checkpoint").get<std::string>(),
      outcome.json.at("checkpoint_stall_seconds").get<double>());
  return outcome;
}

}  // namespace swath::apps
