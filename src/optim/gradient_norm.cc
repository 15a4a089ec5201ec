#include "optim/gradient_norm.h"

#include <ATen/ATen.h>

namespace swath::optim {

GradientNorm measure_gradients(const std::vector<ParamView>& views, const at::Tensor& loss,
                               double max_norm, const at::Tensor& weight) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> grads;
  grads.reserve(views.size());
  for (const ParamView& view : views) grads.push_back(view.grad);
  at::Tensor sum = at::stack(at::_foreach_norm(grads)).square().sum();
  // All views of a run are sharded over the same group, or none is.
  if (!views.empty() && views.front().sum_over_shards) views.front().sum_over_shards(sum);
  GradientNorm result;
  result.norm = weight.defined() ? sum.sqrt() / weight : sum.sqrt();
  result.found_inf =
      at::isfinite(result.norm + loss.detach().to(at::kFloat)).logical_not().to(at::kFloat);
  // torch.nn.utils.clip_grad_norm_: min(1, max_norm / (norm + 1e-6)), as a divisor.
  if (max_norm > 0) result.divisor = ((result.norm + 1e-6) / max_norm).clamp_min(1);
  if (weight.defined())
    result.divisor = result.divisor.defined() ? result.divisor * weight : weight;
  return result;
}

}  // namespace swath::optim
