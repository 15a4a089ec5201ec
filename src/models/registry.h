// Models by name, ready to train: built on the CPU in float32 and initialised from the seed.
#pragma once

#include <cstdint>
#include <memory>

#include "models/classifier.h"
#include "models/mae.h"
#include "models/model_options.h"
#include "models/objective.h"
#include "models/vit.h"

namespace swath::models {

enum class Weights {
  kInitialized,
  // What is trained has shapes but no memory: for sharding, where each rank holds a part and the
  // whole may fit nowhere. Objective::initialize gives the values.
  kLater,
};

// What `pretrain` trains. Throws UsageError for options that do not fit together.
std::shared_ptr<Objective> make_objective(const ModelOptions& options, uint64_t seed,
                                          Weights weights = Weights::kInitialized);
// The same where MAE's own functions (reconstruct) are needed.
std::shared_ptr<Mae> make_mae(const ModelOptions& options, uint64_t seed,
                              Weights weights = Weights::kInitialized);

// The part that probes freeze; load_pretrained (checkpoint_import.h) fills it.
std::shared_ptr<VisionTransformer> make_encoder(const ModelOptions& options, uint64_t seed);

std::shared_ptr<Classifier> make_classifier(const ModelOptions& options,
                                            const ClassifierOptions& classifier_options,
                                            uint64_t seed, Weights weights = Weights::kInitialized);

}  // namespace swath::models
