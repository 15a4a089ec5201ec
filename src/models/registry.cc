#include "models/registry.h"

#include "core/tensor/memory.h"
#include "models/initialize.h"

namespace swath::models {
namespace {

void give_weights(Objective& objective, Weights weights) {
  const at::NoGradGuard no_grad;
  for (const auto& parameter : objective.module().named_parameters()) {
    if (weights == Weights::kLater && parameter.value().requires_grad()) {
      release_memory(parameter.value());
    } else {
      objective.initialize(parameter.key(), parameter.value());
    }
  }
}

}  // namespace

std::shared_ptr<Objective> make_objective(const ModelOptions& options, uint64_t seed,
                                          Weights weights) {
  return make_mae(options, seed, weights);
}

std::shared_ptr<Mae> make_mae(const ModelOptions& options, uint64_t seed, Weights weights) {
  auto mae = std::make_shared<Mae>(resolve(options), seed);
  give_weights(*mae, weights);
  return mae;
}

std::shared_ptr<VisionTransformer> make_encoder(const ModelOptions& options, uint64_t seed) {
  auto encoder = std::make_shared<VisionTransformer>(resolve(options));
  initialize(*encoder, encoder->dimensions(), seed);
  return encoder;
}

std::shared_ptr<Classifier> make_classifier(const ModelOptions& options,
                                            const ClassifierOptions& classifier_options,
                                            uint64_t seed, Weights weights) {
  auto classifier = std::make_shared<Classifier>(resolve(options), classifier_options, seed);
  give_weights(*classifier, weights);
  return classifier;
}

}  // namespace swath::models
