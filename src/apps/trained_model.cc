#include "apps/trained_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/version.h"
#include "core/error.h"
#include "data/normalization.h"
#include "models/checkpoint_import.h"
#include "train/checkpoint.h"

namespace swath::apps {

TrainedModel open_trained_model(const std::string& path, const std::string& weights) {
  const train::Checkpoint checkpoint = train::find_checkpoint(path);
  TrainedModel trained;
  trained.origin = checkpoint.path.string();
  trained.step = checkpoint.step;
  FieldTable fields = make_field_table(trained.options);
  fields.apply_toml(checkpoint.config, trained.origin + "/index.json");
  const std::string prefix = weights + "/";
  // The moving average covers trained parameters only; fixed tables come from the model.
  for (const auto& [name, entry] : checkpoint.tensors) {
    if (name.starts_with(prefix)) {
      trained.tensors.emplace_back(name.substr(prefix.size()),
                                   train::read_checkpoint_tensor(checkpoint, name));
    }
  }
  if (trained.tensors.empty()) {
    throw UsageError(fmt::format("checkpoint {} holds no `{}` weights.", trained.origin, weights),
                     "train with train.ema_decay to keep a moving average, or use weights=model.");
  }
  return trained;
}

models::ModelOptions model_at(const TrainedModel& trained, int64_t image_size, int64_t window) {
  const models::ModelOptions& model = trained.options.model;
  const int64_t side = image_size == 0 ? model.image_size : image_size;
  if (side == model.image_size && window == 0) return model;
  models::ModelOptions changed = models::resized(model, side);
  if (window == 0) return changed;
  if (!models::is_swin(model.name)) {
    throw UsageError(fmt::format("{} has no windows.", model.name), "leave --window out.");
  }
  changed.swin.window = window;
  return changed;
}

std::shared_ptr<models::Encoder> untrained_encoder(const TrainedModel& trained, int64_t image_size,
                                                   uint64_t seed) {
  return models::make_encoder(model_at(trained, image_size), seed);
}

std::shared_ptr<models::Encoder> trained_encoder(const TrainedModel& trained, int64_t image_size,
                                                 const std::string& position) {
  auto encoder = untrained_encoder(trained, image_size, 0);
  models::ImportOptions options;
  options.position = position;
  models::load_pretrained(encoder->module(), model_at(trained, image_size), trained.origin,
                          trained.tensors, options);
  return encoder;
}

std::shared_ptr<models::MaskedModel> trained_masked_model(const TrainedModel& trained) {
  auto model = models::make_objective(trained.options.model,
                                      static_cast<uint64_t>(trained.options.run.seed));
  models::load_pretrained(model->module(), trained.options.model, trained.origin, trained.tensors);
  return model;
}

std::string model_settings(const TrainedModel& trained) {
  models::ModelOptions model = trained.options.model;
  return make_field_table(model).to_toml();
}

void check_bands_of(const PretrainOptions& options, const data::Dataset& dataset) {
  const std::string& units = options.normalization.units;
  if (!dataset.units().empty() && units != dataset.units()) {
    throw UsageError(fmt::format("the model was trained on {}; {} is read as {}.", units,
                                 dataset.description(), dataset.units()),
                     fmt::format("read it as {} too (data.units), or train a model on {}.", units,
                                 dataset.units()));
  }
  const std::vector<std::string> all = dataset.band_names();
  const std::vector<std::string>& expected = options.normalization.bands;
  if (all.empty() || expected.empty()) return;
  const std::vector<std::string> found =
      data::band_names_of(dataset, options.transform.bands, static_cast<int64_t>(expected.size()));
  if (found == expected) return;
  throw UsageError(
      fmt::format("the model was trained on the bands {}; {} has {}.", fmt::join(expected, ", "),
                  dataset.description(), fmt::join(found, ", ")),
      "write the data with the model's bands in the model's order (`swath data pack --bands`).");
}

std::map<std::string, std::string> card_metadata(const TrainedModel& trained) {
  const PretrainOptions& options = trained.options;
  return {{"bands", Json(options.normalization.bands).dump()},
          {"band_selection", Json(options.transform.bands).dump()},
          {"units", options.normalization.units},
          {"mean", Json(options.normalization.mean).dump()},
          {"standard_deviation", Json(options.normalization.standard_deviation).dump()},
          {"input", "(stored pixel - mean) / standard_deviation per band"},
          {"data", options.data.root},
          {"step", std::to_string(trained.step)},
          {"commit", commit()}};
}

}  // namespace swath::apps
