#include "sharding/local_parameters.h"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

namespace swath::sharding {

LocalParameters::LocalParameters(torch::nn::Module& module, const Options& options,
                                 const ParameterRules& rules)
    : Parameters(options.accumulation), options_(options) {
  at::NoGradGuard no_grad;
  runner_ = options.activation_checkpointing ? std::make_unique<CheckpointingRunner>()
                                             : std::make_unique<UnitRunner>();
  for (const auto& item : module.named_parameters()) {
    at::Tensor parameter = item.value();
    const at::Tensor master = parameter.detach().to(at::kFloat).contiguous();
    if (has_masters()) {
      parameter.set_data(parameter.detach().to(options.compute_dtype));
    } else {
      parameter.set_data(master);
    }
    if (!parameter.requires_grad()) {
      frozen_.emplace_back(item.key(), master);
      continue;
    }
    names_.push_back(item.key());
    parameters_.push_back(parameter);
    masters_.push_back(has_masters() ? master : parameter.detach());
    const ParameterRule rule = rules(item.key(), parameter.sizes());
    ParamView view;
    view.local = masters_.back().view({-1});
    if (has_masters()) view.compute_copy = parameter.detach().view({-1});
    view.segments.push_back(
        {item.key(), parameter.sizes().vec(), 0, parameter.numel(), rule.decay, rule.lr_scale});
    views_.push_back(std::move(view));
  }
  for (const auto& item : module.named_buffers()) {
    at::Tensor buffer = item.value();
    if (buffer.is_floating_point()) buffer.set_data(buffer.to(options.compute_dtype));
  }
}

void LocalParameters::begin_step() {
  micro_batch_ = 0;
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
  for (ParamView& view : views_) view.grad.reset();
}

void LocalParameters::backward(const at::Tensor& loss) {
  loss.backward();
  const at::NoGradGuard no_grad;
  if (has_masters()) {
    sum_gradients();
  } else if (++micro_batch_ == accumulation()) {
    hand_over_gradients();
  }
}

// Autograd itself has summed into the parameters' float32 gradients.
void LocalParameters::hand_over_gradients() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& grad = parameters_[i].mutable_grad();
    if (!grad.defined()) grad = at::zeros_like(parameters_[i]);
    views_[i].grad = grad.contiguous().view({-1});
  }
}

void LocalParameters::sum_gradients() {
  sums_.resize(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& grad = parameters_[i].mutable_grad();
    const bool is_first = !views_[i].grad.defined();
    if (!sums_[i].defined()) sums_[i] = at::empty_like(masters_[i]);
    if (!grad.defined()) {
      if (is_first) sums_[i].zero_();
    } else if (is_first) {
      sums_[i].copy_(grad);
    } else {
      sums_[i].add_(grad);
    }
    views_[i].grad = sums_[i].view({-1});
    grad.reset();
  }
}

std::vector<std::pair<std::string, at::Tensor>> LocalParameters::named_masters() const {
  std::vector<std::pair<std::string, at::Tensor>> named;
  named.reserve(names_.size());
  for (size_t i = 0; i < names_.size(); ++i) named.emplace_back(names_[i], masters_[i]);
  return named;
}

void LocalParameters::publish() {
  at::NoGradGuard no_grad;
  if (!has_masters()) return;
  for (ParamView& view : views_) view.compute_copy.copy_(view.local);
}

}  // namespace swath::sharding
