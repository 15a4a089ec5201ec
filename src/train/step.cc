#include "train/step.h"

#include <ATen/ATen.h>

#include "optim/gradient_norm.h"

namespace swath::train {

TrainStep::TrainStep(models::Objective& objective, sharding::LocalParameters& parameters,
                     optim::AdamW& optimizer, UnitRunner& runner, Options options)
    : objective_(objective),
      parameters_(parameters),
      optimizer_(optimizer),
      runner_(runner),
      options_(options) {
  if (options_.ema_decay > 0) {
    for (const auto& [name, master] : parameters_.named_masters()) {
      averages_.push_back(master.clone());
    }
  }
}

StepResult TrainStep::run(const std::function<Batch()>& next_batch, double lr) {
  StepResult result;
  parameters_.clear_gradients();

  // 1. Losses and gradients, summed over the micro-batches.
  at::Tensor loss;
  for (int64_t micro = 0; micro < options_.accumulation; ++micro) {
    const bool is_last = micro + 1 == options_.accumulation;
    const at::Tensor micro_loss = forward_backward(next_batch(), is_last, &result);
    loss = loss.defined() ? loss + micro_loss : micro_loss;
  }

  // 2. One norm serves clipping, the log and the gate: a non-finite step changes nothing.
  const optim::GradientNorm gradient =
      optim::measure_gradients(parameters_.views(), loss, options_.clip_norm);

  // 3. Weights and moments.
  optimizer_.step(lr, gradient.found_inf, gradient.divisor);
  update_averages(gradient.found_inf);

  // 4. Three numbers for whoever asks later.
  result.measured = at::stack({loss, gradient.norm, gradient.found_inf});
  return result;
}

at::Tensor TrainStep::forward_backward(const Batch& batch, bool is_last, StepResult* result) {
  models::LossResult outcome = objective_.loss(batch, runner_);
  // Micro-batches have equal sizes, so the mean of means is the mean over the step.
  const at::Tensor loss = outcome.loss / static_cast<double>(options_.accumulation);
  loss.backward();
  parameters_.collect_gradients(is_last);
  result->metrics = std::move(outcome.metrics);
  result->sample_ids.insert(result->sample_ids.end(), batch.sample_ids.begin(),
                            batch.sample_ids.end());
  return loss.detach();
}

void TrainStep::rehearse(const Batch& batch) {
  StepResult ignored;
  parameters_.clear_gradients();
  forward_backward(batch, true, &ignored);
  parameters_.clear_gradients();
}

void TrainStep::update_averages(const at::Tensor& found_inf) {
  if (averages_.empty()) return;
  at::NoGradGuard no_grad;
  const at::Tensor weight = (1 - found_inf) * (1 - options_.ema_decay);
  const auto masters = parameters_.named_masters();
  for (size_t i = 0; i < averages_.size(); ++i) averages_[i].lerp_(masters[i].second, weight);
}

std::vector<std::pair<std::string, at::Tensor>> TrainStep::named_averages() const {
  std::vector<std::pair<std::string, at::Tensor>> named;
  const auto masters = parameters_.named_masters();
  for (size_t i = 0; i < averages_.size(); ++i) named.emplace_back(masters[i].first, averages_[i]);
  return named;
}

}  // namespace swath::train
