#include "sharding/local_parameters.h"

namespace swath::sharding {

LocalParameters::LocalParameters(torch::nn::Module& module, at::ScalarType compute_dtype,
                                 const ParameterRules& rules)
    : compute_dtype_(compute_dtype) {
  at::NoGradGuard no_grad;
  for (const auto& item : module.named_parameters()) {
    at::Tensor parameter = item.value();
    const at::Tensor master = parameter.detach().to(at::kFloat).contiguous();
    if (has_masters()) {
      parameter.set_data(parameter.detach().to(compute_dtype));
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
    if (buffer.is_floating_point()) buffer.set_data(buffer.to(compute_dtype));
  }
}

void LocalParameters::clear_gradients() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
  for (ParamView& view : views_) view.grad.reset();
}

void LocalParameters::collect_gradients(bool is_last) {
  at::NoGradGuard no_grad;
  if (!has_masters()) {
    // Autograd itself sums into the parameter's float32 gradient.
    if (!is_last) return;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      at::Tensor& grad = parameters_[i].mutable_grad();
      if (!grad.defined()) grad = at::zeros_like(parameters_[i]);
      views_[i].grad = grad.contiguous().view({-1});
    }
    return;
  }
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
