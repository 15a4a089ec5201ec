#include "bench/measured_step.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "bench/spread.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/tensor/device.h"
#include "core/tensor/memory.h"
#include "core/tensor/torch.h"
#include "models/model_options.h"
#include "models/registry.h"
#include "ops/backend.h"
#include "sharding/sharded_parameters.h"
#include "train/hold_parameters.h"

namespace swath::bench {

std::string workload_of(const StepBenchOptions& options) {
  std::string fitting = models::objective_of(options.model);
  if (options.workload.empty()) return fitting;
  if (options.workload == "vit" || options.workload == fitting) return options.workload;
  throw UsageError(fmt::format("bench: the workload {} is not for the model {}.", options.workload,
                               options.model.name),
                   fmt::format("leave it out, or take {} or vit.", fitting));
}

std::shared_ptr<models::Objective> make_workload(const StepBenchOptions& options,
                                                 models::Weights weights) {
  if (workload_of(options) != "vit") {
    return models::make_objective(options.model, seed_of(options), weights);
  }
  models::ClassifierOptions classifier;
  classifier.num_classes = kBenchClasses;
  return models::make_classifier(options.model, classifier, seed_of(options), weights);
}

ModelSpec spec_of(const StepBenchOptions& options) {
  return workload_of(options) == "vit" ? models::classifier_spec(options.model, kBenchClasses)
                                       : models::pretrain_spec(options.model);
}

Subject::Subject(const StepBenchOptions& options, c10::Device device,
                 sharding::ProcessGroups* groups)
    : objective(make_workload(options, train::is_sharded(groups) ? models::Weights::kLater
                                                                 : models::Weights::kInitialized)) {
  objective->module().train();
  parameters = train::hold_parameters(
      *objective,
      {select_precision(options.precision, device), device, 1, options.activation_checkpointing},
      options.sharding, groups);
  optimizer = std::make_unique<optim::AdamW>(&parameters->views(), optim::AdamWOptions{});
  step = std::make_unique<train::TrainStep>(*objective, *parameters, *optimizer,
                                            train::TrainStep::Options{});
}

sharding::Trace* Subject::trace() {
  auto* sharded = dynamic_cast<sharding::ShardedParameters*>(parameters.get());
  return sharded != nullptr ? sharded->trace() : nullptr;
}

Batch random_batch(const StepBenchOptions& options, const ModelSpec& spec, c10::Device device,
                   int64_t rank) {
  const int64_t size = options.batch_size;
  torch::manual_seed(seed_of(options) + static_cast<uint64_t>(rank));
  Batch batch;
  batch.images_BCHW = torch::randn({size, spec.channels, spec.image_size, spec.image_size});
  batch.images_BCHW = batch.images_BCHW.to(device);
  if (options.workload == "vit") batch.labels_B = torch::randint(kBenchClasses, {size}).to(device);
  for (int64_t i = 0; i < size; ++i) {
    batch.sample_ids.push_back(static_cast<uint64_t>(rank * size + i));
  }
  return batch;
}

bool begins_at_one(const std::string& parameter) {
  return parameter.starts_with("layers.") &&
         (parameter.ends_with(".norm1.weight") || parameter.ends_with(".norm2.weight"));
}

void check_backends_agree(StepBenchOptions options, const Batch& batch, c10::Device device) {
  const at::NoGradGuard no_grad;
  if (models::is_swin(options.model.name)) {
    std::vector<int64_t> depths;
    for (const models::SwinStage& stage : models::resolve_swin(options.model).stages) {
      depths.push_back(std::min<int64_t>(stage.depth, 2));
    }
    options.model.swin.depths = depths;
  } else {
    const models::VitDimensions whole = models::resolve(options.model);
    options.model.depth = std::min<int64_t>(whole.depth, 2);
    options.model.decoder_depth = std::min<int64_t>(whole.decoder_depth, 2);
  }
  const std::shared_ptr<models::Objective> objective = make_workload(options);
  objective->module().to(device);
  objective->module().eval();
  for (const auto& parameter : objective->module().named_parameters()) {
    if (begins_at_one(parameter.key())) parameter.value().fill_(1);
  }
  const std::string chosen = ops::backend() == ops::Backend::kFused ? "fused" : "reference";
  double losses[2] = {};
  UnitRunner runner;
  for (const auto& [index, name] : {std::pair{0, "reference"}, std::pair{1, "fused"}}) {
    ops::set_backend(name);
    losses[index] = objective->loss(batch, runner).loss.item<double>();
  }
  ops::set_backend(chosen);
  if (!(std::abs(losses[0] - losses[1]) <= 1e-4 * std::abs(losses[0]))) {
    throw Error(fmt::format("bench: the fused operators give loss {}, the reference {}.", losses[1],
                            losses[0]));
  }
}

Block run_block(Subject& subject, const std::function<Batch()>& next_batch, int64_t steps,
                c10::Device device) {
  Block block;
  std::vector<at::Tensor> measured;
  for (int64_t i = 0; i < steps; ++i) {
    stop_if_interrupted("bench");
    const auto start = Clock::now();
    measured.push_back(subject.step->run(next_batch, kBenchLearningRate).measured);
    synchronize(device);
    block.seconds.push_back(seconds_since(start));
  }
  for (const at::Tensor& step : measured) {
    block.losses.push_back(step[0].item<double>());
    if (step[2].item<float>() != 0) throw Error("bench: a loss or gradient is not finite.");
  }
  return block;
}

double rate_of(const std::vector<double>& seconds, int64_t batch_size) {
  return static_cast<double>(batch_size) / spread_of(seconds).median;
}

PeakFlops::PeakFlops(c10::Device device, at::ScalarType precision)
    : device_(device), precision_(precision), published_(published_peak_flops(device, precision)) {}

void PeakFlops::before_block() {
  if (!published_) measured_ = std::max(measured_, measured_matmul_flops(device_, precision_));
}

void PeakMemory::begin_block() { reset_peak_memory(device_); }

void PeakMemory::end_block() { bytes_ = std::max(bytes_, memory_stats(device_).peak_bytes); }

Json summary(const StepBenchOptions& options, const Subject& subject, c10::Device device,
             const std::vector<double>& rates, const PeakFlops& peak, const PeakMemory& memory) {
  const Spread spread = spread_of(rates);
  const at::ScalarType precision = select_precision(options.precision, device);
  const ModelSpec& spec = subject.spec();
  const auto ranks = static_cast<double>(subject.parameters->world_size());
  return {{"model", spec.name},
          {"workload", workload_of(options)},
          {"image_size", spec.image_size},
          {"batch_size", options.batch_size},
          {"device", device_description(device)},
          {"precision", c10::toString(precision)},
          {"ops", ops::backend_description()},
          {"threads", at::get_num_threads()},
          {"ranks", subject.parameters->world_size()},
          {"images_per_second", to_json(spread)},
          {"step_seconds", static_cast<double>(options.batch_size) * ranks / spread.median},
          {"train_gflops_per_image", spec.train_flops / 1e9},
          {"mfu", spec.train_flops * spread.median / (peak.value() * ranks)},
          {"peak_flops", peak.value()},
          {"peak_flops_are", peak.origin()},
          {"peak_memory_bytes", memory.bytes()}};
}

}  // namespace swath::bench
