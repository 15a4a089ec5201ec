// Models by name, ready to train: built on the CPU in float32 and initialised from the seed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/classifier.h"
#include "models/mae.h"
#include "models/model_list.h"
#include "models/model_options.h"
#include "models/objective.h"
#include "models/simmim.h"

namespace swath::models {

enum class Weights {
  kInitialized,
  // What is trained has shapes but no memory: for sharding, where each rank holds a part and the
  // whole may fit nowhere. Objective::initialize gives the values.
  kLater,
};

// What `pretrain` trains: "mae" around a ViT, "simmim" around a SwinV2.
std::string objective_of(const ModelOptions& options);

// Throws UsageError for options that do not fit together.
std::shared_ptr<MaskedModel> make_objective(const ModelOptions& options, uint64_t seed,
                                            Weights weights = Weights::kInitialized);
// The same by its own type.
std::shared_ptr<Mae> make_mae(const ModelOptions& options, uint64_t seed,
                              Weights weights = Weights::kInitialized);
std::shared_ptr<SimMim> make_simmim(const ModelOptions& options, uint64_t seed,
                                    Weights weights = Weights::kInitialized);

// The part that probes freeze; load_pretrained (checkpoint_import.h) fills it.
std::shared_ptr<Encoder> make_encoder(const ModelOptions& options, uint64_t seed);
// The same of a ViT, by its own type.
std::shared_ptr<VisionTransformer> make_vit(const ModelOptions& options, uint64_t seed);
std::shared_ptr<SwinTransformer> make_swin(const ModelOptions& options, uint64_t seed);

std::shared_ptr<Classifier> make_classifier(const ModelOptions& options,
                                            const ClassifierOptions& classifier_options,
                                            uint64_t seed, Weights weights = Weights::kInitialized);

}  // namespace swath::models
