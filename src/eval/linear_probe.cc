#include "eval/linear_probe.h"

#include <chrono>
#include <cmath>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/random.h"
#include "core/tensor/torch.h"
#include "eval/features.h"
#include "optim/schedule.h"

namespace swath::eval {
namespace {

constexpr double kBaseBatch = 256;
constexpr double kBatchNormEpsilon = 1e-6;
constexpr double kBatchNormMomentum = 0.1;
constexpr double kInitialDeviation = 0.01;
// Epoch number of the stream that initialises the head; resamples of intervals count from 0.
constexpr uint64_t kInitializeStream = uint64_t{1} << 32;

// The head's parameters, as the optimizer sees them.
std::vector<ParamView> views_of(ProbeHead& head) {
  std::vector<ParamView> views;
  for (const auto& item : head.named_parameters()) {
    const at::Tensor parameter = item.value();
    ParamView view;
    view.local = parameter.detach().view({-1});
    view.segments.push_back({item.key(), parameter.sizes().vec(), 0, parameter.numel()});
    views.push_back(std::move(view));
  }
  return views;
}

struct TestScores {
  at::Tensor logits_NK;  // float32, CPU
  double loss = 0;
};

TestScores score(ProbeHead& head, const at::Tensor& features, const at::Tensor& labels) {
  at::NoGradGuard no_grad;
  head.eval();
  const at::Tensor logits = head.forward(features);
  TestScores scores;
  scores.loss = at::cross_entropy_loss(logits, labels).item<double>();
  scores.logits_NK = logits.to(at::kCPU).contiguous();
  head.train();
  return scores;
}

}  // namespace

void LinearProbeOptions::describe(FieldTable& fields) {
  fields.add("epochs", &epochs, "passes over the training list").at_least(1).flag("epochs");
  fields.add("warmup_epochs", &warmup_epochs,
             "epochs of linear warm-up; below 0: 10, or a fifth of fewer than 50 epochs");
  fields.add("batch_size", &batch_size, "images per step (the papers: 256; MillionAID 1024)")
      .at_least(2);
  fields.add("base_lr", &base_lr, "learning rate at 256 images per step").at_least(0);
  fields.section("lars", lars);
  fields.add("augment", &augment,
             "random crops and flips in training, as MAE; false: features are computed once");
  fields.add("max_minutes", &max_minutes, "ends after the epoch that passes this time; 0: no limit")
      .at_least(0);
}

double LinearProbeOptions::resolved_warmup_epochs() const {
  if (warmup_epochs >= 0) return warmup_epochs;
  return epochs >= 50 ? 10 : static_cast<double>(epochs) / 5;
}

AugmentedFeatures::AugmentedFeatures(models::Encoder& encoder, data::Loader& loader,
                                     std::string pooling)
    : encoder_(encoder), loader_(loader), pooling_(std::move(pooling)) {}

FeatureBatch AugmentedFeatures::next() {
  at::NoGradGuard no_grad;
  // MAE's script leaves the model in training mode, which changes nothing without dropout; here the
  // encoder is in evaluation mode, so that one with dropout is frozen too.
  const EvaluationMode evaluation(encoder_.module());
  const Batch batch = loader_.next();
  if (!batch.labels_B.defined()) throw Error("linear probe: the training data has no labels.");
  return {pool_tokens(encoder_.forward_features(batch.images_BCHW, runner_), pooling_),
          batch.labels_B};
}

CachedFeatures::CachedFeatures(const FeatureSet& features, int64_t batch_size, uint64_t seed,
                               c10::Device device)
    : features_ND_(features.features_ND.to(device)),
      labels_N_(features.labels_N.to(device)),
      batch_size_(batch_size),
      seed_(seed) {
  const int64_t n = features.size();
  batches_per_epoch_ =
      drops_last_batch(n, batch_size) ? n / batch_size : (n + batch_size - 1) / batch_size;
}

FeatureBatch CachedFeatures::next() {
  at::NoGradGuard no_grad;
  const int64_t n = features_ND_.size(0);
  const int64_t batch = next_batch_ % batches_per_epoch_;
  if (batch == 0) {
    const auto epoch = static_cast<uint64_t>(next_batch_ / batches_per_epoch_);
    const Permutation permutation(static_cast<uint64_t>(n), seed_, epoch);
    std::vector<int64_t> order;
    for (int64_t i = 0; i < n; ++i) {
      order.push_back(static_cast<int64_t>(permutation(static_cast<uint64_t>(i))));
    }
    order_N_ = at::tensor(order, at::kLong).to(features_ND_.device());
  }
  ++next_batch_;
  const at::Tensor chosen = order_N_.slice(0, batch * batch_size_, (batch + 1) * batch_size_);
  return {features_ND_.index_select(0, chosen), labels_N_.index_select(0, chosen)};
}

bool drops_last_batch(int64_t num_train, int64_t batch_size) {
  if (num_train < 2 || batch_size < 2) {
    throw UsageError(fmt::format("linear probe: {} training images at batch size {}: batch "
                                 "normalisation needs two of each.",
                                 num_train, batch_size),
                     "give it more training images.");
  }
  return num_train >= batch_size;
}

ProbeHead::ProbeHead(int64_t width, int64_t num_classes, uint64_t seed) {
  at::Tensor initial = at::empty({num_classes, width}, at::kFloat);
  Random random(seed, RandomPurpose::kProbe, kInitializeStream);
  float* values = initial.mutable_data_ptr<float>();
  for (int64_t i = 0; i < initial.numel(); ++i) {
    // timm's trunc_normal_ cuts at +-2, two hundred deviations away.
    values[i] = static_cast<float>(kInitialDeviation * random.normal());
  }
  weight = register_parameter("weight", initial);
  bias = register_parameter("bias", at::zeros({num_classes}, at::kFloat));
  running_mean = register_buffer("running_mean", at::zeros({width}, at::kFloat));
  running_var = register_buffer("running_var", at::ones({width}, at::kFloat));
}

at::Tensor ProbeHead::forward(const at::Tensor& features_BD) {
  const at::Tensor normalized =
      at::batch_norm(features_BD, /*weight=*/{}, /*bias=*/{}, running_mean, running_var,
                     is_training(), kBatchNormMomentum, kBatchNormEpsilon, /*cudnn=*/false);
  return at::linear(normalized, weight, bias);
}

ProbeTrainer::ProbeTrainer(ProbeHead& head, const optim::LarsOptions& options)
    : head_(head), views_(views_of(head)), lars_(&views_, options) {}

at::Tensor ProbeTrainer::step(const FeatureBatch& batch, double lr) {
  head_.train();
  head_.zero_grad();
  const at::Tensor loss = at::cross_entropy_loss(head_.forward(batch.features_BD), batch.labels_B);
  loss.backward();
  const std::vector<at::Tensor> parameters = head_.parameters();
  for (size_t i = 0; i < views_.size(); ++i) {
    views_[i].grad = parameters[i].grad().contiguous().view({-1});
  }
  lars_.step(lr);
  return loss.detach();
}

LinearProbeResult train_linear_probe(TrainingFeatures& train, const FeatureSet& test,
                                     int64_t num_classes, const LinearProbeOptions& options,
                                     uint64_t seed, c10::Device device) {
  const int64_t steps_per_epoch = train.batches_per_epoch();
  const double warmup_epochs = options.resolved_warmup_epochs();
  if (steps_per_epoch < 1 || options.epochs < 1) {
    throw UsageError(fmt::format("linear probe: {} epochs of {} steps: nothing would be trained.",
                                 options.epochs, steps_per_epoch),
                     "lower the batch size or give it more training images.");
  }
  if (warmup_epochs >= static_cast<double>(options.epochs)) {
    throw UsageError(fmt::format("linear probe: {} epochs of warm-up in a run of {} epochs.",
                                 warmup_epochs, options.epochs));
  }
  optim::ScheduleOptions schedule;
  schedule.base_lr = options.base_lr;
  schedule.base_batch = kBaseBatch;
  schedule.warmup_epochs = warmup_epochs;
  const double peak = optim::peak_learning_rate(schedule, static_cast<double>(options.batch_size));
  log_info(
      fmt::format("linear probe: {} epochs of {} steps at batch size {}, learning rate {:g}, "
                  "warm-up {:g} epochs.",
                  options.epochs, steps_per_epoch, options.batch_size, peak, warmup_epochs));

  ProbeHead head(test.features_ND.size(1), num_classes, seed);
  head.to(device);
  ProbeTrainer trainer(head, options.lars);
  const at::Tensor test_features = test.features_ND.to(device);
  const at::Tensor test_labels = test.labels_N.to(device);

  LinearProbeResult result;
  result.steps_per_epoch = steps_per_epoch;
  const auto start = std::chrono::steady_clock::now();
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    ProbeEpoch record;
    record.epoch = epoch + 1;
    at::Tensor loss_sum = at::zeros({}, at::TensorOptions(at::kFloat).device(device));
    for (int64_t step = 0; step < steps_per_epoch; ++step) {
      stop_if_interrupted("linear probe");
      record.lr = optim::learning_rate_at(
          schedule, peak,
          static_cast<double>(epoch) +
              static_cast<double>(step) / static_cast<double>(steps_per_epoch),
          static_cast<double>(options.epochs));
      loss_sum += trainer.step(train.next(), record.lr);
    }
    record.train_loss = loss_sum.item<double>() / static_cast<double>(steps_per_epoch);
    const TestScores scores = score(head, test_features, test_labels);
    if (!std::isfinite(record.train_loss) || !std::isfinite(scores.loss)) {
      throw Error(fmt::format("linear probe: loss {} in training and {} in the test of epoch {}.",
                              record.train_loss, scores.loss, record.epoch),
                  "lower base_lr, or look at the encoder: its features may not be finite.");
    }
    record.test_loss = scores.loss;
    const auto labels = as_integers(test.labels_N);
    result.last = measure_accuracy(as_floats(scores.logits_NK), labels, num_classes);
    record.top1 = result.last.top1;
    record.top5 = result.last.top5;
    if (record.top1 > result.best_top1 || epoch == 0) {
      result.best_top1 = record.top1;
      result.best_epoch = record.epoch;
    }
    result.history.push_back(record);
    show_progress(fmt::format("linear probe: epoch {} of {}, loss {:.4f}, top-1 {:.4f}",
                              record.epoch, options.epochs, record.train_loss, record.top1));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    result.ended_early = options.max_minutes > 0 && elapsed.count() > 60 * options.max_minutes &&
                         record.epoch < options.epochs;
    if (record.epoch == options.epochs || result.ended_early) {
      result.confusion = ConfusionMatrix(num_classes);
      result.confusion.add(labels, predict_classes(as_floats(scores.logits_NK), num_classes));
      break;
    }
  }
  end_progress();
  return result;
}

Json to_json(const LinearProbeResult& result, uint64_t seed) {
  Json history = Json::array();
  for (const ProbeEpoch& record : result.history) {
    Json line{{"epoch", record.epoch}, {"train_loss", record.train_loss}, {"lr", record.lr}};
    if (record.is_tested) {
      line.update({{"top1", record.top1}, {"top5", record.top5}, {"test_loss", record.test_loss}});
    }
    history.push_back(std::move(line));
  }
  Json json{{"top1", result.last.top1},
            {"top5", result.last.top5},
            {"best_top1", result.best_top1},
            {"best_epoch", result.best_epoch},
            {"interval", to_json(bootstrap_interval(result.last.is_correct, seed))},
            {"balanced_accuracy", result.confusion.balanced_accuracy()},
            {"macro_f1", result.confusion.macro_f1()},
            {"steps_per_epoch", result.steps_per_epoch},
            {"history", std::move(history)},
            {"confusion", result.confusion.to_json()}};
  if (result.ended_early) json["ended"] = "max_minutes";
  return json;
}

}  // namespace swath::eval
