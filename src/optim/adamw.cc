#include "optim/adamw.h"

#include <ATen/ATen.h>

#include <map>

namespace swath::optim {

void AdamWOptions::describe(FieldTable& fields) {
  fields.add("beta1", &beta1, "decay of the gradient's average").at_least(0).at_most(1);
  fields.add("beta2", &beta2, "decay of the squared gradient's average").at_least(0).at_most(1);
  fields.add("epsilon", &epsilon, "added to the denominator").at_least(0);
  fields.add("weight_decay", &weight_decay, "decoupled; not on biases, norms").at_least(0);
}

bool is_decayed(const std::string& name, at::IntArrayRef shape) {
  return shape.size() != 1 && !name.ends_with(".bias");
}

AdamW::AdamW(std::vector<ParamView>* views, AdamWOptions options)
    : views_(views), options_(options) {
  for (const ParamView& view : *views_) {
    exp_avgs_.push_back(at::zeros_like(view.local));
    exp_avg_sqs_.push_back(at::zeros_like(view.local));
  }
  step_ = at::zeros(
      {}, views_->empty() ? at::TensorOptions(at::kFloat) : views_->front().local.options());
}

struct AdamW::Group {
  std::vector<at::Tensor> locals, grads, exp_avgs, exp_avg_sqs, steps;
};

void AdamW::step(double lr, const at::Tensor& found_inf, const at::Tensor& grad_divisor) {
  at::NoGradGuard no_grad;
  // Segments of one view may differ in decay (a flat shard), so groups are made of segments.
  std::map<std::pair<double, double>, Group> groups;
  for (size_t i = 0; i < views_->size(); ++i) {
    const ParamView& view = (*views_)[i];
    for (const ParamSegment& segment : view.segments) {
      Group& group = groups[{segment.decay ? options_.weight_decay : 0.0, lr * segment.lr_scale}];
      const bool is_whole = segment.offset == 0 && segment.length == view.local.numel();
      const auto part = [&](const at::Tensor& flat) {
        return is_whole ? flat : flat.narrow(0, segment.offset, segment.length);
      };
      group.locals.push_back(part(view.local));
      group.grads.push_back(part(view.grad));
      group.exp_avgs.push_back(part(exp_avgs_[i]));
      group.exp_avg_sqs.push_back(part(exp_avg_sqs_[i]));
      group.steps.push_back(step_);
    }
  }
  step_.add_(1 - found_inf);
  // Counting from the step before an update that does not happen would be 0 and divide by zero.
  const at::Tensor step = step_.clamp_min(1);
  const auto divisor =
      grad_divisor.defined() ? std::optional<at::Tensor>(grad_divisor) : std::nullopt;
  for (auto& [key, group] : groups) {
    const auto [weight_decay, group_lr] = key;
    for (at::Tensor& count : group.steps) count = step;
    at::_fused_adamw_(group.locals, group.grads, group.exp_avgs, group.exp_avg_sqs,
                      /*max_exp_avg_sqs=*/{}, group.steps, group_lr, options_.beta1, options_.beta2,
                      weight_decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false,
                      divisor, found_inf);
  }
  for (ParamView& view : *views_) {
    if (view.compute_copy.defined()) view.compute_copy.copy_(view.local);
  }
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::named_state() const {
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (size_t i = 0; i < views_->size(); ++i) {
    for (const ParamSegment& segment : (*views_)[i].segments) {
      const auto part = [&](const at::Tensor& flat) {
        const at::Tensor values = flat.narrow(0, segment.offset, segment.length);
        int64_t whole = 1;
        for (const int64_t size : segment.shape) whole *= size;
        return whole == segment.length ? values.view(segment.shape) : values;
      };
      named.emplace_back("exp_avg/" + segment.name, part(exp_avgs_[i]));
      named.emplace_back("exp_avg_sq/" + segment.name, part(exp_avg_sqs_[i]));
    }
  }
  named.emplace_back("step", step_);
  return named;
}

}  // namespace swath::optim
