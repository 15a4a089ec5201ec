#include "ops/layer_norm.h"

#include <algorithm>

#include "core/tensor/torch.h"
#include "ops/fused.h"

namespace swath::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Normalized {
  at::Tensor sum;
  at::Tensor y;
  at::Tensor mean;
  at::Tensor inverse_deviation;
};

// `branch` may be undefined: sum is x itself then.
Normalized normalize(const at::Tensor& x, const at::Tensor& branch, const at::Tensor& weight,
                     const at::Tensor& bias, double epsilon) {
  const int64_t width = x.size(-1);
  const int64_t rows = x.numel() / std::max<int64_t>(width, 1);
  const at::TensorOptions statistics = x.options().dtype(arithmetic_type(x.scalar_type()));
  Normalized result{branch.defined() ? at::empty_like(x) : x, at::empty_like(x),
                    at::empty({rows}, statistics), at::empty({rows}, statistics)};
  with_storage_type(x.scalar_type(), [&]<class T>(T) {
    using A = Arithmetic<T>;
    const auto& kernels = cpu_kernels().of<T>();
    const T* from = data_of<T>(x);
    const T* added = data_of<T>(branch);
    const T* weights = data_of<T>(weight);
    const T* biases = data_of<T>(bias);
    T* sums = branch.defined() ? mutable_data_of<T>(result.sum) : nullptr;
    T* to = mutable_data_of<T>(result.y);
    A* mean = mutable_data_of<A>(result.mean);
    A* deviation = mutable_data_of<A>(result.inverse_deviation);
    at::parallel_for(0, rows, kGrainValues / width + 1, [&](int64_t begin, int64_t end) {
      const int64_t offset = begin * width;
      kernels.layer_norm(from + offset, added == nullptr ? nullptr : added + offset, weights,
                         biases, sums == nullptr ? nullptr : sums + offset, to + offset,
                         mean + begin, deviation + begin, end - begin, width,
                         static_cast<A>(epsilon));
    });
  });
  return result;
}

struct NormGradients {
  at::Tensor x;
  at::Tensor weight;
  at::Tensor bias;
};

// `grad_sum`, the gradient that reaches the sum by itself, may be undefined.
NormGradients normalize_backward(const at::Tensor& grad_y, const at::Tensor& grad_sum,
                                 const at::Tensor& sum, const at::Tensor& weight,
                                 const at::Tensor& mean, const at::Tensor& inverse_deviation) {
  const int64_t width = sum.size(-1);
  const int64_t rows = mean.size(0);
  const int64_t parts = rows * width < kGrainValues ? 1 : at::get_num_threads();
  const at::Tensor totals = at::zeros({2, parts, width}, mean.options());
  const at::Tensor grad_x = at::empty_like(sum);
  with_storage_type(sum.scalar_type(), [&]<class T>(T) {
    using A = Arithmetic<T>;
    const auto& kernels = cpu_kernels().of<T>();
    const T* from_y = data_of<T>(grad_y);
    const T* from_sum = data_of<T>(grad_sum);
    const T* sums = data_of<T>(sum);
    const T* weights = data_of<T>(weight);
    const A* means = data_of<A>(mean);
    const A* deviations = data_of<A>(inverse_deviation);
    T* to = mutable_data_of<T>(grad_x);
    A* weight_totals = mutable_data_of<A>(totals);
    A* bias_totals = weight_totals + parts * width;
    for_each_part(rows, parts, [&](int64_t part, int64_t begin, int64_t end) {
      const int64_t offset = begin * width;
      kernels.layer_norm_backward(
          from_y + offset, from_sum == nullptr ? nullptr : from_sum + offset, sums + offset,
          weights, means + begin, deviations + begin, to + offset, weight_totals + part * width,
          bias_totals + part * width, end - begin, width);
    });
  });
  const at::Tensor summed = totals.sum(1).to(sum.scalar_type());
  return {grad_x, summed[0], summed[1]};
}

struct FusedLayerNorm : torch::autograd::Function<FusedLayerNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_any,
                            const at::Tensor& weight, const at::Tensor& bias, double epsilon) {
    const at::Tensor x = x_any.contiguous();
    const Normalized result =
        normalize(x, at::Tensor(), weight.contiguous(), bias.contiguous(), epsilon);
    context->save_for_backward({x, weight, result.mean, result.inverse_deviation});
    return result.y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const NormGradients gradients = normalize_backward(
        grads[0].contiguous(), at::Tensor(), saved[0], saved[1].contiguous(), saved[2], saved[3]);
    return {gradients.x, gradients.weight, gradients.bias, at::Tensor()};
  }
};

struct FusedAddLayerNorm : torch::autograd::Function<FusedAddLayerNorm> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const at::Tensor& branch, const at::Tensor& weight,
                               const at::Tensor& bias, double epsilon) {
    const Normalized result = normalize(x.contiguous(), branch.contiguous(), weight.contiguous(),
                                        bias.contiguous(), epsilon);
    context->save_for_backward({result.sum, weight, result.mean, result.inverse_deviation});
    return {result.sum, result.y};
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor grad_sum = grads[0].defined() ? grads[0].contiguous() : at::Tensor();
    if (!grads[1].defined()) {
      return {grad_sum, grad_sum, at::Tensor(), at::Tensor(), at::Tensor()};
    }
    const NormGradients gradients = normalize_backward(grads[1].contiguous(), grad_sum, saved[0],
                                                       saved[1].contiguous(), saved[2], saved[3]);
    return {gradients.x, gradients.x, gradients.weight, gradients.bias, at::Tensor()};
  }
};

// Rows of the sum that are made while the norm's are still in the cache.
constexpr int64_t kRowsTogether = 16;

// y += x, where y is a fresh LayerNorm: {y, mean, inverse deviation} of the branch.
Normalized normalize_and_add(const at::Tensor& x, const at::Tensor& branch,
                             const at::Tensor& weight, const at::Tensor& bias, double epsilon) {
  const int64_t width = branch.size(-1);
  const int64_t rows = branch.numel() / std::max<int64_t>(width, 1);
  const at::TensorOptions statistics = x.options().dtype(arithmetic_type(x.scalar_type()));
  Normalized result{branch, at::empty_like(x), at::empty({rows}, statistics),
                    at::empty({rows}, statistics)};
  with_storage_type(x.scalar_type(), [&]<class T>(T) {
    using A = Arithmetic<T>;
    const auto& kernels = cpu_kernels().of<T>();
    const T* added = data_of<T>(x);
    const T* from = data_of<T>(branch);
    const T* weights = data_of<T>(weight);
    const T* biases = data_of<T>(bias);
    T* to = mutable_data_of<T>(result.y);
    A* mean = mutable_data_of<A>(result.mean);
    A* deviation = mutable_data_of<A>(result.inverse_deviation);
    at::parallel_for(0, rows, kGrainValues / width + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row += kRowsTogether) {
        const int64_t count = std::min(kRowsTogether, end - row);
        const int64_t offset = row * width;
        kernels.layer_norm(from + offset, nullptr, weights, biases, nullptr, to + offset,
                           mean + row, deviation + row, count, width, static_cast<A>(epsilon));
        kernels.add(added + offset, to + offset, to + offset, count * width);
      }
    });
  });
  return result;
}

struct FusedAddNormed : torch::autograd::Function<FusedAddNormed> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& branch,
                            const at::Tensor& weight, const at::Tensor& bias, double epsilon) {
    const Normalized result = normalize_and_add(x.contiguous(), branch.contiguous(),
                                                weight.contiguous(), bias.contiguous(), epsilon);
    context->save_for_backward({result.sum, weight, result.mean, result.inverse_deviation});
    return result.y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const NormGradients gradients = normalize_backward(
        grads[0].contiguous(), at::Tensor(), saved[0], saved[1].contiguous(), saved[2], saved[3]);
    return {grads[0], gradients.x, gradients.weight, gradients.bias, at::Tensor()};
  }
};

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      double epsilon) {
  if (!runs_fused(x)) return at::layer_norm(x, {x.size(-1)}, weight, bias, epsilon);
  return FusedLayerNorm::apply(x, weight, bias, epsilon);
}

std::pair<at::Tensor, at::Tensor> add_layer_norm(const at::Tensor& x, const at::Tensor& branch,
                                                 const at::Tensor& weight, const at::Tensor& bias,
                                                 double epsilon) {
  if (!runs_fused(x)) {
    const at::Tensor sum = x + branch;
    return {sum, at::layer_norm(sum, {x.size(-1)}, weight, bias, epsilon)};
  }
  const variable_list results = FusedAddLayerNorm::apply(x, branch, weight, bias, epsilon);
  return {results[0], results[1]};
}

at::Tensor add_normed(const at::Tensor& x, const at::Tensor& branch, const at::Tensor& weight,
                      const at::Tensor& bias, double epsilon) {
  if (!runs_fused(x)) return x + at::layer_norm(branch, {branch.size(-1)}, weight, bias, epsilon);
  return FusedAddNormed::apply(x, branch, weight, bias, epsilon);
}

}  // namespace swath::ops
