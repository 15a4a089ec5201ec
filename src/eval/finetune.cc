#include "eval/finetune.h"

#include <algorithm>
#include <cmath>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/torch.h"
#include "data/loader.h"
#include "eval/features.h"
#include "train/step.h"

namespace swath::eval {
namespace {

struct TestScores {
  at::Tensor logits_NK;
  at::Tensor labels_N;
  double loss = 0;
};

TestScores score(models::Classifier& classifier, const std::shared_ptr<const data::Dataset>& test,
                 const data::Transform& transform, const FinetuneOptions& options,
                 c10::Device device) {
  at::NoGradGuard no_grad;
  const EvaluationMode evaluation(classifier.module());
  data::LoaderOptions loader_options;
  loader_options.batch_size = options.batch_size;
  loader_options.workers = options.workers;
  loader_options.skip_bad = options.skip_bad;
  loader_options.skipped = options.skipped;
  loader_options.shuffle = false;
  loader_options.drop_last = false;
  data::Loader loader(test, transform, loader_options, /*seed=*/0, device);
  std::vector<at::Tensor> logits;
  std::vector<at::Tensor> labels;
  UnitRunner runner;
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    stop_if_interrupted("finetune");
    const Batch batch = loader.next();
    if (batch.size() == 0) continue;
    logits.push_back(classifier.logits(batch.images_BCHW, runner).to(at::kCPU));
    labels.push_back(batch.labels_B.to(at::kCPU));
  }
  if (logits.empty()) throw Error(fmt::format("{}: no usable image.", test->description()));
  TestScores scores{at::cat(logits).contiguous(), at::cat(labels).contiguous(), 0};
  scores.loss = at::cross_entropy_loss(scores.logits_NK, scores.labels_N).item<double>();
  return scores;
}

}  // namespace

FinetuneOptions::FinetuneOptions() {
  schedule.base_lr = 5e-4;
  schedule.warmup_epochs = 5;
  schedule.min_lr = 1e-6;
  adamw.beta2 = 0.999;
}

void FinetuneOptions::describe(FieldTable& fields) {
  fields.add("epochs", &epochs, "passes over the training list").at_least(1).flag("epochs");
  fields.add("test_epochs", &test_epochs, "epochs between two tests; 0: after the last only")
      .at_least(0);
  fields.add("batch_size", &batch_size, "images per step").at_least(1);
  fields.add("last_blocks", &last_blocks,
             "trains the last so many blocks, norm and head; below 0: everything");
  fields
      .add("layer_decay", &layer_decay, "factor of the learning rate from a block to the one below")
      .at_least(0)
      .at_most(1);
  fields.add("clip_norm", &clip_norm, "largest gradient norm; 0: no clipping").at_least(0);
  fields.add("max_minutes", &max_minutes, "ends after the epoch that passes this time; 0: no limit")
      .at_least(0);
  fields.add("precision", &precision, "of forward and backward").one_of({"auto", "fp32", "bf16"});
  fields.add("workers", &workers, "decode threads; 0: one per two processor cores").at_least(0);
  fields.add("skip_bad", &skip_bad, "leave unusable images out instead of stopping")
      .flag("skip-bad");
  fields.section("transform", transform);
  fields.section("optim", schedule);
  fields.section("adamw", adamw);
}

sharding::ParameterRules finetune_rules(const models::Classifier& classifier, double layer_decay) {
  return [&classifier, layer_decay](const std::string& name, at::IntArrayRef shape) {
    const int64_t last = classifier.spec().depth + 1;
    sharding::ParameterRule rule;
    rule.decay = optim::is_decayed(name, shape) && !classifier.never_decays(name);
    rule.lr_scale = std::pow(layer_decay, static_cast<double>(last - classifier.layer_of(name)));
    return rule;
  };
}

void freeze_below(models::Classifier& classifier, int64_t last_blocks) {
  const int64_t depth = classifier.spec().depth;
  if (last_blocks < 0) return;
  if (last_blocks > depth) {
    throw UsageError(
        fmt::format("finetune: the last {} blocks of a model with {}.", last_blocks, depth));
  }
  // Layers up to depth - last_blocks lie below the first trained block.
  for (const auto& item : classifier.module().named_parameters()) {
    if (classifier.layer_of(item.key()) <= depth - last_blocks) {
      at::Tensor parameter = item.value();
      parameter.set_requires_grad(false);
    }
  }
}

Json run_finetune(const FinetuneInputs& inputs, const FinetuneOptions& options) {
  // 1. What and on what.
  models::Classifier& classifier = *inputs.classifier;
  const ModelSpec& spec = classifier.spec();
  check_bands(spec, inputs.normalization, inputs.bands);
  const std::vector<std::string>& class_names = inputs.train->class_names();
  const auto num_classes = static_cast<int64_t>(class_names.size());
  if (num_classes != classifier.options().num_classes) {
    throw UsageError(fmt::format("finetune: a classifier of {} classes, training data of {}.",
                                 classifier.options().num_classes, num_classes));
  }
  const std::shared_ptr<const data::Dataset> test = with_classes_of(inputs.test, *inputs.train);
  const data::Transform training(options.transform.for_training(spec.image_size, inputs.bands),
                                 inputs.normalization);
  const data::Transform evaluation(options.transform.for_evaluation(spec.image_size, inputs.bands),
                                   inputs.normalization);
  data::LoaderOptions loader_options;
  loader_options.batch_size = options.batch_size;
  loader_options.workers = options.workers;
  loader_options.skip_bad = options.skip_bad;
  loader_options.skipped = options.skipped;
  loader_options.drop_last = inputs.train->size() >= options.batch_size;
  data::Loader loader(inputs.train, training, loader_options, inputs.seed, inputs.device);
  const int64_t steps_per_epoch = loader.batches_per_epoch();
  if (steps_per_epoch < 1) throw UsageError("finetune: there is not one step in an epoch.");

  // 2. Parameters, their groups, the schedule.
  freeze_below(classifier, options.last_blocks);
  classifier.module().to(inputs.device);
  sharding::LocalParameters::Options held;
  held.compute_dtype = select_precision(options.precision, inputs.device);
  sharding::LocalParameters parameters(classifier.module(), held,
                                       finetune_rules(classifier, options.layer_decay));
  int64_t trained_parameters = 0;
  for (const ParamView& view : parameters.views()) trained_parameters += view.local.numel();
  optim::AdamW optimizer(&parameters.views(), options.adamw);
  train::TrainStep::Options step_options;
  step_options.clip_norm = options.clip_norm;
  train::TrainStep step(classifier, parameters, optimizer, step_options);
  optim::ScheduleOptions schedule = options.schedule;
  schedule.warmup_epochs =
      std::min(schedule.warmup_epochs, static_cast<double>(options.epochs) / 5);
  const double peak = optim::peak_learning_rate(schedule, static_cast<double>(options.batch_size));
  log_info(fmt::format(
      "finetune: {} of {} parameters, {} training and {} test images of {} "
      "classes, {} epochs of {} steps, learning rate {:g}, warm-up {:g} epochs.",
      trained_parameters, spec.parameter_count(false), inputs.train->size(), test->size(),
      num_classes, options.epochs, steps_per_epoch, peak, schedule.warmup_epochs));

  // 3. Epochs, the last of them with a test.
  LinearProbeResult result;
  result.steps_per_epoch = steps_per_epoch;
  int64_t steps = 0;
  const auto start = Clock::now();
  classifier.module().train();
  for (int64_t epoch = 0; epoch < options.epochs && !result.ended_early; ++epoch) {
    ProbeEpoch record;
    record.epoch = epoch + 1;
    at::Tensor measured_sum = at::zeros({3}, at::TensorOptions(at::kFloat).device(inputs.device));
    for (int64_t i = 0; i < steps_per_epoch; ++i) {
      stop_if_interrupted("finetune");
      const double position = static_cast<double>(epoch) +
                              static_cast<double>(i) / static_cast<double>(steps_per_epoch);
      record.lr =
          optim::learning_rate_at(schedule, peak, position, static_cast<double>(options.epochs));
      measured_sum += step.run([&] { return loader.next(); }, record.lr).measured.slice(0, 0, 3);
      ++steps;
      show_progress(fmt::format("finetune: epoch {} of {}, step {} of {}", record.epoch,
                                options.epochs, i + 1, steps_per_epoch));
    }
    const at::Tensor measured = measured_sum.to(at::kCPU) / static_cast<double>(steps_per_epoch);
    record.train_loss = measured[0].item<double>();
    if (measured[2].item<double>() > 0 || !std::isfinite(record.train_loss)) {
      throw Error(fmt::format("finetune: loss or gradient not finite in epoch {}.", record.epoch),
                  "lower optim.base_lr, or set clip_norm.");
    }
    result.ended_early = options.max_minutes > 0 &&
                         seconds_since(start) > 60 * options.max_minutes &&
                         record.epoch < options.epochs;
    const bool is_last = record.epoch == options.epochs || result.ended_early;
    record.is_tested =
        is_last || (options.test_epochs > 0 && record.epoch % options.test_epochs == 0);
    if (!record.is_tested) {
      result.history.push_back(record);
      continue;
    }
    const TestScores scores = score(classifier, test, evaluation, options, inputs.device);
    record.test_loss = scores.loss;
    const auto labels = as_integers(scores.labels_N);
    result.last = measure_accuracy(as_floats(scores.logits_NK), labels, num_classes);
    record.top1 = result.last.top1;
    record.top5 = result.last.top5;
    if (result.best_epoch == 0 || record.top1 > result.best_top1) {
      result.best_top1 = record.top1;
      result.best_epoch = record.epoch;
    }
    result.history.push_back(record);
    result.confusion = ConfusionMatrix(num_classes);
    result.confusion.add(labels, predict_classes(as_floats(scores.logits_NK), num_classes));
    if (!progress_is_interactive()) {
      log_info(fmt::format("finetune: epoch {} of {}: loss {:.4f}, test top-1 {:.4f}.",
                           record.epoch, options.epochs, record.train_loss, record.top1));
    }
  }
  end_progress();

  // 4. Report.
  Json report = to_json(result, inputs.seed);
  report["method"] = "finetune";
  report["train_images"] = inputs.train->size();
  report["test_images"] = result.last.is_correct.size();
  report["classes"] = num_classes;
  report["class_names"] = class_names;
  report["trained_parameters"] = trained_parameters;
  report["steps"] = steps;
  report["seconds"] = seconds_since(start);
  return report;
}

}  // namespace swath::eval
