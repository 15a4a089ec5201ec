#include "models/classifier.h"

#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/random.h"
#include "core/tensor/convert.h"
#include "core/tensor/torch.h"
#include "models/drop_path.h"
#include "models/swin.h"
#include "models/vit.h"

namespace swath::models {
namespace {

// Gamma(shape, 1) (Marsaglia and Tsang, 2000); shapes below 1 by the boost of the same paper.
double gamma_variate(Random& random, double shape) {
  if (shape < 1) {
    const double boost = std::pow(1 - random.uniform(), 1 / shape);
    return gamma_variate(random, shape + 1) * boost;
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal();
    const double v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

double beta_variate(Random& random, double alpha) {
  const double a = gamma_variate(random, alpha);
  const double b = gamma_variate(random, alpha);
  return a / (a + b);
}

}  // namespace

void ClassifierOptions::describe(FieldTable& fields) {
  fields.add("pool", &pool, "what the head sees: mean of the patch tokens, or the CLS token")
      .one_of({"avg", "token"});
  fields.add("drop_path", &drop_path, "chance that a sample skips the last block's branches")
      .at_least(0)
      .at_most(0.99);
  fields.add("label_smoothing", &label_smoothing, "share of a target spread over all classes")
      .at_least(0)
      .at_most(1);
  fields.add("mixup", &mixup, "alpha of mixup's Beta distribution; 0: off").at_least(0);
}

Classifier::Classifier(const ModelOptions& model, ClassifierOptions options, uint64_t seed)
    : options_(std::move(options)), seed_(seed) {
  check_options();
  if (!is_swin(model.name)) {
    hold(std::make_shared<VisionTransformer>(resolve(model), options_.num_classes,
                                             options_.pool == "avg"));
    return;
  }
  if (options_.pool != "avg") {
    throw UsageError(fmt::format("{} has no CLS token to classify by.", model.name),
                     "use classifier.pool=avg: the mean of its tokens.");
  }
  hold(std::make_shared<SwinTransformer>(resolve_swin(model), options_.num_classes));
}

Classifier::Classifier(VitDimensions dimensions, ClassifierOptions options, uint64_t seed)
    : options_(std::move(options)), seed_(seed) {
  check_options();
  hold(std::make_shared<VisionTransformer>(std::move(dimensions), options_.num_classes,
                                           options_.pool == "avg"));
}

Classifier::Classifier(SwinDimensions dimensions, ClassifierOptions options, uint64_t seed)
    : options_(std::move(options)), seed_(seed) {
  check_options();
  hold(std::make_shared<SwinTransformer>(std::move(dimensions), options_.num_classes));
}

void Classifier::check_options() const {
  if (options_.num_classes >= 1) return;
  throw UsageError(fmt::format("a classifier with {} classes.", options_.num_classes),
                   "give it data with labels.");
}

void Classifier::initialize(const std::string& name, const at::Tensor& values) const {
  model_->initialize(name, values, seed_);
}

bool Classifier::never_decays(const std::string& name) const { return model_->never_decays(name); }

int64_t Classifier::layer_of(const std::string& name) const { return model_->layer_of(name); }

std::vector<at::Tensor> Classifier::drop_path_scales(const Batch& batch) const {
  if (!module_->is_training()) return {};
  return models::drop_path_scales(batch, options_.drop_path, spec().depth, seed_,
                                  module_->parameters().front().scalar_type());
}

LossResult Classifier::loss(const Batch& batch, UnitRunner& runner) {
  if (!batch.labels_B.defined()) {
    throw Error("classification: the data has no labels.",
                "use a folder per class, a list file with class indices, or labelled shards.");
  }
  const int64_t classes = options_.num_classes;
  const bool is_double = batch.images_BCHW.scalar_type() == at::kDouble;
  at::Tensor targets =
      at::one_hot(batch.labels_B, classes).to(is_double ? at::kDouble : at::kFloat);
  targets = targets * (1 - options_.label_smoothing) +
            options_.label_smoothing / static_cast<double>(classes);
  if (options_.mixup == 0 || !module_->is_training()) return loss(batch, targets, runner);

  Random random(seed_, RandomPurpose::kMixup, batch.epoch, batch.sample_ids.front());
  const double share = beta_variate(random, options_.mixup);
  Batch mixed = batch;
  mixed.images_BCHW = batch.images_BCHW * share + batch.images_BCHW.flip({0}) * (1 - share);
  return loss(mixed, targets * share + targets.flip({0}) * (1 - share), runner);
}

LossResult Classifier::loss(const Batch& batch, const at::Tensor& targets_BK, UnitRunner& runner) {
  const at::Tensor logits =
      at_least_float(model_->forward_logits(batch.images_BCHW, drop_path_scales(batch), runner));
  const at::Tensor targets = targets_BK.to(logits.scalar_type());
  const at::Tensor loss = -(targets * at::log_softmax(logits, -1)).sum(-1).mean();
  const at::Tensor top1 = (logits.detach().argmax(-1) == targets.argmax(-1)).to(at::kFloat).mean();
  return {loss, {{"top1", top1}}};
}

at::Tensor Classifier::logits(const at::Tensor& images_BCHW, UnitRunner& runner) {
  return model_->forward_logits(images_BCHW, {}, runner).to(at::kFloat);
}

}  // namespace swath::models
