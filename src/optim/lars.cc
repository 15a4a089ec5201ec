#include "optim/lars.h"

#include <ATen/ATen.h>

namespace swath::optim {
namespace {

bool is_scaled(const ParamSegment& segment) { return segment.shape.size() > 1; }

at::Tensor part_of(const at::Tensor& flat, const ParamSegment& segment) {
  return flat.narrow(0, segment.offset, segment.length);
}

}  // namespace

void LarsOptions::describe(FieldTable& fields) {
  fields.add("momentum", &momentum, "decay of the momentum buffer").at_least(0).at_most(1);
  fields.add("trust_coefficient", &trust_coefficient, "eta of the trust ratio").at_least(0);
  fields.add("weight_decay", &weight_decay, "added to the gradient; not for biases").at_least(0);
}

Lars::Lars(std::vector<ParamView>* views, LarsOptions options) : views_(views), options_(options) {
  for (const ParamView& view : *views_) momenta_.push_back(at::zeros_like(view.local));
}

void Lars::step(double lr, const at::Tensor& found_inf) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < views_->size(); ++i) {
    ParamView& view = (*views_)[i];
    if (view.segments.empty()) continue;
    // 1. Directions: the gradient, with decay where it applies.
    std::vector<at::Tensor> directions;
    std::vector<at::Tensor> squares;  // per segment |w|^2 and |g|^2, of this shard
    for (const ParamSegment& segment : view.segments) {
      at::Tensor direction = part_of(view.grad, segment);
      const at::Tensor weight = part_of(view.local, segment);
      if (is_scaled(segment) && segment.decay && options_.weight_decay != 0) {
        direction = direction.add(weight, options_.weight_decay);
      }
      squares.push_back(weight.square().sum());
      squares.push_back(direction.square().sum());
      directions.push_back(direction);
    }
    // 2. Norms of whole parameters: one sum over the shards for all segments of the view.
    at::Tensor sums = at::stack(squares).view({-1, 2});
    if (view.sum_over_shards) view.sum_over_shards(sums);
    const at::Tensor norms = sums.sqrt();
    const at::Tensor weight_norms = norms.select(1, 0);
    const at::Tensor gradient_norms = norms.select(1, 1);
    const at::Tensor ratios = at::where((weight_norms > 0).logical_and(gradient_norms > 0),
                                        options_.trust_coefficient * weight_norms / gradient_norms,
                                        at::ones_like(weight_norms));
    // 3. Momentum and step; a non-finite step leaves both as they were.
    for (size_t s = 0; s < view.segments.size(); ++s) {
      const ParamSegment& segment = view.segments[s];
      at::Tensor direction = directions[s];
      if (is_scaled(segment)) direction = direction * ratios[static_cast<int64_t>(s)];
      at::Tensor momentum = part_of(momenta_[i], segment);
      at::Tensor weight = part_of(view.local, segment);
      const at::Tensor next_momentum = momentum * options_.momentum + direction;
      const at::Tensor next_weight = weight - next_momentum * (lr * segment.lr_scale);
      if (found_inf.defined()) {
        const at::Tensor keep = found_inf > 0;
        momentum.copy_(at::where(keep, momentum, next_momentum));
        weight.copy_(at::where(keep, weight, next_weight));
      } else {
        momentum.copy_(next_momentum);
        weight.copy_(next_weight);
      }
    }
    if (view.compute_copy.defined()) view.compute_copy.copy_(view.local);
  }
}

std::vector<std::pair<std::string, at::Tensor>> Lars::named_state() const {
  std::vector<std::pair<std::string, at::Tensor>> named;
  for (size_t i = 0; i < views_->size(); ++i) {
    for (const ParamSegment& segment : (*views_)[i].segments) {
      const at::Tensor values = part_of(momenta_[i], segment);
      int64_t whole = 1;
      for (const int64_t size : segment.shape) whole *= size;
      named.emplace_back("momentum/" + segment.name,
                         whole == segment.length ? values.view(segment.shape) : values);
    }
  }
  return named;
}

}  // namespace swath::optim
