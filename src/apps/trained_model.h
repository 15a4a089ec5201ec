// A model that was trained before, with all that it takes to use it: sizes, bands, normalisation.
#pragma once

#include <memory>
#include <string>

#include "apps/pretrain_options.h"
#include "core/json.h"
#include "core/tensor/tensor_io.h"
#include "models/registry.h"

namespace swath::apps {

struct TrainedModel {
  std::string origin;       // the checkpoint's path
  PretrainOptions options;  // of the run that made it: model, bands, normalisation, data
  NamedTensors tensors;     // under the model's own names
  int64_t step = 0;

  data::Normalization normalization() const {
    return {options.normalization.mean, options.normalization.standard_deviation};
  }
};

// Reads the newest complete checkpoint of a run directory, or the one named. `weights` is "model"
// or "ema" (the moving average, when the run kept one). Every checksum is verified.
TrainedModel open_trained_model(const std::string& path, const std::string& weights = "model");

// The options of the model for images of `image_size` pixels (0: as trained), a SwinV2 with windows
// of `window` tokens a side (0: as trained).
models::ModelOptions model_at(const TrainedModel& trained, int64_t image_size, int64_t window = 0);

// The encoder with these weights, for images of `image_size` pixels (0: as trained). Another size
// changes a ViT's position table as `position` says ("resample" or "recompute"), which is logged.
std::shared_ptr<models::Encoder> trained_encoder(const TrainedModel& trained,
                                                 int64_t image_size = 0,
                                                 const std::string& position = "resample");
// The same architecture with fresh weights: what features are worth without training.
std::shared_ptr<models::Encoder> untrained_encoder(const TrainedModel& trained, int64_t image_size,
                                                   uint64_t seed);
// Encoder and decoder.
std::shared_ptr<models::MaskedModel> trained_masked_model(const TrainedModel& trained);

// All settings of the model as text, for what depends on more than its weights.
std::string model_settings(const TrainedModel& trained);

// Throws UsageError when the data names its bands and they are not those of the training data, or
// reads them in another unit.
void check_bands_of(const PretrainOptions& options, const data::Dataset& dataset);
inline void check_bands_of(const TrainedModel& trained, const data::Dataset& dataset) {
  check_bands_of(trained.options, dataset);
}

// What a model card says, as safetensors metadata: bands, normalisation, units, data, step,
// commit.
std::map<std::string, std::string> card_metadata(const TrainedModel& trained);

}  // namespace swath::apps
