// A ViT or SwinV2 with a head, trained on labels: fine-tuning.
//
// B samples, K classes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "models/model_options.h"
#include "models/objective.h"

namespace swath::models {

struct ClassifierOptions {
  int64_t num_classes = 0;
  // "avg": the mean of the patch tokens, in a ViT through fc_norm (MAE's fine-tuning); "token":
  // CLS.
  std::string pool = "avg";
  double drop_path = 0;        // of the last block; the first has 0, in between it is linear
  double label_smoothing = 0;  // share of the target spread over all classes
  double mixup = 0;            // alpha of the Beta distribution; 0: off

  // num_classes comes from the data, not from the user.
  void describe(FieldTable& fields);
};

// In training (module().is_training()) drop path is a function of (seed, epoch, sample id), mixup's
// share of (seed, epoch, first sample id); sample i is mixed with sample B - 1 - i. In evaluation
// neither happens.
class Classifier : public Objective {
 public:
  Classifier(const ModelOptions& model, ClassifierOptions options, uint64_t seed);
  Classifier(VitDimensions dimensions, ClassifierOptions options, uint64_t seed);
  Classifier(SwinDimensions dimensions, ClassifierOptions options, uint64_t seed);

  // Cross-entropy. Metrics: "top1", the share of right answers (against the heavier label under
  // mixup). Needs batch.labels_B.
  LossResult loss(const Batch& batch, UnitRunner& runner) override;
  // With soft targets (B, K) that sum to 1 per row, used as they are.
  LossResult loss(const Batch& batch, const at::Tensor& targets_BK, UnitRunner& runner);

  // (B, K) float32.
  at::Tensor logits(const at::Tensor& images_BCHW, UnitRunner& runner);

  torch::nn::Module& module() override { return *module_; }
  const ModelSpec& spec() const override { return model_->spec(); }
  void initialize(const std::string& name, const at::Tensor& values) const override;
  bool never_decays(const std::string& name) const override;
  // As ClassifyingEncoder's.
  int64_t layer_of(const std::string& name) const;
  ClassifyingEncoder& model() { return *model_; }
  const ClassifierOptions& options() const { return options_; }

 private:
  template <class Model>
  void hold(std::shared_ptr<Model> model) {
    module_ = model;
    model_ = std::move(model);
  }
  void check_options() const;
  std::vector<at::Tensor> drop_path_scales(const Batch& batch) const;
  ClassifierOptions options_;
  uint64_t seed_;
  std::shared_ptr<torch::nn::Module> module_;
  std::shared_ptr<ClassifyingEncoder> model_;  // the same object
};

}  // namespace swath::models
