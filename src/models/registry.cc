#include "models/registry.h"

#include "models/initialize.h"

namespace swath::models {

std::shared_ptr<Objective> make_objective(const ModelOptions& options, uint64_t seed) {
  return make_mae(options, seed);
}

std::shared_ptr<Mae> make_mae(const ModelOptions& options, uint64_t seed) {
  auto mae = std::make_shared<Mae>(resolve(options), seed);
  initialize(*mae, mae->dimensions(), seed);
  return mae;
}

std::shared_ptr<VisionTransformer> make_encoder(const ModelOptions& options, uint64_t seed) {
  auto encoder = std::make_shared<VisionTransformer>(resolve(options));
  initialize(*encoder, encoder->dimensions(), seed);
  return encoder;
}

std::shared_ptr<Classifier> make_classifier(const ModelOptions& options,
                                            const ClassifierOptions& classifier_options,
                                            uint64_t seed) {
  auto classifier = std::make_shared<Classifier>(resolve(options), classifier_options, seed);
  initialize(classifier->module(), classifier->model().dimensions(), seed);
  return classifier;
}

}  // namespace swath::models
