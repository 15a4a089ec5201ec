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

std::string objective_of(const ModelOptions& options) {
  return is_swin(options.name) ? "simmim" : "mae";
}

std::shared_ptr<MaskedModel> make_objective(const ModelOptions& options, uint64_t seed,
                                            Weights weights) {
  if (is_swin(options.name)) return make_simmim(options, seed, weights);
  return make_mae(options, seed, weights);
}

std::shared_ptr<Mae> make_mae(const ModelOptions& options, uint64_t seed, Weights weights) {
  auto mae = std::make_shared<Mae>(resolve(options), seed);
  give_weights(*mae, weights);
  return mae;
}

std::shared_ptr<SimMim> make_simmim(const ModelOptions& options, uint64_t seed, Weights weights) {
  auto simmim = std::make_shared<SimMim>(resolve_swin(options), seed);
  give_weights(*simmim, weights);
  return simmim;
}

std::shared_ptr<Encoder> make_encoder(const ModelOptions& options, uint64_t seed) {
  if (is_swin(options.name)) return make_swin(options, seed);
  return make_vit(options, seed);
}

std::shared_ptr<VisionTransformer> make_vit(const ModelOptions& options, uint64_t seed) {
  auto encoder = std::make_shared<VisionTransformer>(resolve(options));
  initialize(*encoder, encoder->dimensions(), seed);
  return encoder;
}

std::shared_ptr<SwinTransformer> make_swin(const ModelOptions& options, uint64_t seed) {
  auto encoder = std::make_shared<SwinTransformer>(resolve_swin(options));
  for (const auto& parameter : encoder->named_parameters()) {
    encoder->initialize(parameter.key(), parameter.value(), seed);
  }
  return encoder;
}

std::shared_ptr<Classifier> make_classifier(const ModelOptions& options,
                                            const ClassifierOptions& classifier_options,
                                            uint64_t seed, Weights weights) {
  auto classifier = std::make_shared<Classifier>(options, classifier_options, seed);
  give_weights(*classifier, weights);
  return classifier;
}

}  // namespace swath::models
