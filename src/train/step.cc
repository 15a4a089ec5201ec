#include "train/step.h"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include "optim/gradient_norm.h"

namespace swath::train {
namespace {

// Without one valid value the loss and the gradients are 0, not 0 / 0.
constexpr double kLeastWeight = 1e-20;

}  // namespace

TrainStep::TrainStep(models::Objective& objective, sharding::Parameters& parameters,
                     optim::AdamW& optimizer, Options options)
    : objective_(objective), parameters_(parameters), optimizer_(optimizer), options_(options) {
  if (options_.ema_decay <= 0) return;
  for (const ParamView& view : parameters_.views()) averages_.push_back(view.local.clone());
}

StepResult TrainStep::run(const std::function<Batch()>& next_batch, double lr,
                          const std::vector<float>& votes) {
  StepResult result;
  parameters_.begin_step();

  // 1. Losses and gradients, summed over the micro-batches and the ranks.
  Sums sums;
  for (int64_t micro = 0; micro < parameters_.accumulation(); ++micro) {
    forward_backward(next_batch(), &sums, &result);
  }
  const at::Tensor summed = sum_over_ranks(sums, votes);
  const at::Tensor weight =
      sums.weight.defined() ? summed[1].clamp_min(kLeastWeight) : at::Tensor();
  const at::Tensor loss = weight.defined() ? summed[0] / weight : summed[0];

  // 2. One norm serves clipping, the log and the gate: a non-finite step changes nothing.
  const optim::GradientNorm gradient =
      optim::measure_gradients(parameters_.views(), loss, options_.clip_norm, weight);

  // 3. Weights and moments.
  optimizer_.step(lr, gradient.found_inf, gradient.divisor);
  update_averages(gradient.found_inf);

  // 4. A few numbers for whoever asks later.
  result.measured =
      at::cat({at::stack({loss, gradient.norm, gradient.found_inf}), summed.slice(0, 2)});
  return result;
}

void TrainStep::forward_backward(const Batch& batch, Sums* sums, StepResult* result) {
  parameters_.begin_forward();
  models::LossResult outcome = objective_.loss(batch, parameters_.runner());
  // Means over micro-batches become the mean over the step when each counts by its samples.
  const double share =
      options_.batch_size > 0
          ? static_cast<double>(batch.size()) / static_cast<double>(options_.batch_size)
          : 1.0 / static_cast<double>(parameters_.accumulation() * parameters_.world_size());
  at::Tensor loss = outcome.loss * share;
  if (outcome.weight.defined()) {
    const at::Tensor weight = outcome.weight.detach() * share;
    loss = outcome.loss * weight;
    sums->weight = sums->weight.defined() ? sums->weight + weight : weight;
  }
  parameters_.backward(loss);
  sums->loss = sums->loss.defined() ? sums->loss + loss.detach() : loss.detach();
  result->metrics = std::move(outcome.metrics);
  result->sample_ids.insert(result->sample_ids.end(), batch.sample_ids.begin(),
                            batch.sample_ids.end());
}

// Loss and weight, a flag for every rank, the votes: in one sum.
at::Tensor TrainStep::sum_over_ranks(const Sums& sums, const std::vector<float>& votes) {
  const at::NoGradGuard no_grad;
  const at::Tensor loss = sums.loss.to(at::kFloat).squeeze();
  const at::Tensor weight = sums.weight.defined() ? sums.weight.to(at::kFloat).squeeze() : loss;
  const at::Tensor gradients = parameters_.local_gradient_check();
  const at::Tensor all = gradients.defined() ? loss + gradients : loss;
  at::Tensor flags = at::zeros({parameters_.world_size()}, loss.options());
  flags[parameters_.rank()].copy_(at::isfinite(all).logical_not());
  at::Tensor summed = at::cat({at::stack({loss, weight}), flags});
  if (!votes.empty()) {
    summed = at::cat({summed, at::tensor(votes).to(loss.device(), /*non_blocking=*/true)});
  }
  parameters_.sum_over_ranks(summed);
  return summed;
}

void TrainStep::rehearse(const Batch& batch) {
  StepResult ignored;
  Sums sums;
  parameters_.begin_step();
  forward_backward(batch, &sums, &ignored);
  parameters_.begin_step();
}

at::Tensor TrainStep::mean_loss(const std::function<Batch()>& next_batch, int64_t batches) {
  torch::nn::Module& module = objective_.module();
  module.eval();
  at::Tensor sums;  // loss and weight
  for (int64_t i = 0; i < batches; ++i) {
    const Batch batch = next_batch();
    parameters_.begin_step();
    parameters_.begin_forward();
    // With its graph: sharded units are gathered for a forward pass that a backward may follow.
    const models::LossResult outcome = objective_.loss(batch, parameters_.runner());
    const at::NoGradGuard no_grad;
    const at::Tensor loss = outcome.loss.detach().to(at::kFloat).squeeze();
    at::Tensor weight = at::full_like(loss, static_cast<double>(batch.size()));
    if (outcome.weight.defined()) weight.mul_(outcome.weight.detach().squeeze());
    const at::Tensor part = at::stack({loss * weight, weight});
    sums = sums.defined() ? sums.add_(part) : part;
  }
  parameters_.begin_step();  // gives the last forward pass up
  module.train();
  parameters_.sum_over_ranks(sums);
  return sums[0] / sums[1].clamp_min(kLeastWeight);
}

void TrainStep::update_averages(const at::Tensor& found_inf) {
  if (averages_.empty()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor weight = (1 - found_inf) * (1 - options_.ema_decay);
  const std::vector<ParamView>& views = parameters_.views();
  for (size_t i = 0; i < averages_.size(); ++i) averages_[i].lerp_(views[i].local, weight);
}

}  // namespace swath::train
