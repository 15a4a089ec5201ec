#include "ops/linear.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/tensor/onednn.h"
#include "core/tensor/torch.h"
#include "ops/fused.h"

namespace swath::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool runs_onednn(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat && products_use_onednn() && has_onednn() && x.numel() > 0;
}

// x (R, K) times the transpose of weight (M, K), which may be a transposed view. No autograd.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight,
                   const std::optional<at::Tensor>& bias = std::nullopt) {
  if (runs_onednn(x)) return onednn_linear(x, weight, bias);
  return at::linear(x, weight, bias);
}

at::Tensor rows_of(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

std::vector<int64_t> with_last(const at::Tensor& x, int64_t last) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = last;
  return sizes;
}

at::Tensor column_sum(const at::Tensor& x_RM) {
  const int64_t rows = x_RM.size(0);
  const int64_t width = x_RM.size(1);
  const int64_t parts = rows * width < kGrainValues ? 1 : at::get_num_threads();
  const at::Tensor totals =
      at::zeros({parts, width}, x_RM.options().dtype(arithmetic_type(x_RM.scalar_type())));
  with_storage_type(x_RM.scalar_type(), [&]<class T>(T) {
    const auto& kernels = cpu_kernels().of<T>();
    const T* values = data_of<T>(x_RM);
    auto* total = mutable_data_of<Arithmetic<T>>(totals);
    for_each_part(rows, parts, [&](int64_t part, int64_t begin, int64_t end) {
      kernels.column_sum(values + begin * width, total + part * width, end - begin, width);
    });
  });
  return (parts == 1 ? totals.squeeze(0) : totals.sum(0)).to(x_RM.scalar_type());
}

// {the transpose of x (R, M), float32, contiguous; its column sums}: what the gradients of a weight
// and its bias need, in one pass.
std::pair<at::Tensor, at::Tensor> transpose_and_sum(const at::Tensor& x_RM) {
  const int64_t rows = x_RM.size(0);
  const int64_t width = x_RM.size(1);
  const at::Tensor transposed = at::empty({width, rows}, x_RM.options());
  const at::Tensor total = at::zeros({width}, x_RM.options());
  const auto* from = data_of<float>(x_RM);
  auto* to = mutable_data_of<float>(transposed);
  auto* sums = mutable_data_of<float>(total);
  at::parallel_for(0, width, kGrainValues / std::max<int64_t>(rows, 1) + 16,
                   [&](int64_t begin, int64_t end) {
                     cpu_kernels().transpose_and_sum(from, to, sums, rows, width, begin, end);
                   });
  return {transposed, total};
}

struct ProductGradients {
  at::Tensor x;
  at::Tensor weight;
  at::Tensor bias;
};

// The gradients of rows x (R, K) -> (R, M), where asked for.
ProductGradients product_backward(const at::Tensor& grad_RM, const at::Tensor& x_RK,
                                  const at::Tensor& weight_MK, bool needs_x, bool needs_weight,
                                  bool needs_bias) {
  ProductGradients gradients;
  if (needs_x) gradients.x = product(grad_RM, weight_MK.t());
  if (needs_weight && runs_onednn(grad_RM)) {
    const auto [transposed, sum] = transpose_and_sum(grad_RM);
    gradients.weight = product(transposed, x_RK.t());
    if (needs_bias) gradients.bias = sum;
    return gradients;
  }
  if (needs_weight) gradients.weight = at::mm(grad_RM.t(), x_RK);
  if (needs_bias) gradients.bias = column_sum(grad_RM);
  return gradients;
}

struct FusedLinear : torch::autograd::Function<FusedLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    context->save_for_backward({x, weight});
    return product(rows_of(x).contiguous(), weight, bias).view(with_last(x, weight.size(0)));
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    ProductGradients gradients = product_backward(
        rows_of(grads[0]).contiguous(), rows_of(x), saved[1], context->needs_input_grad(0),
        context->needs_input_grad(1), context->needs_input_grad(2));
    if (gradients.x.defined()) gradients.x = gradients.x.view(x.sizes());
    return {gradients.x, gradients.weight, gradients.bias};
  }
};

// y = function over values, cut among threads.
template <class Function>
void for_each_value(int64_t count, const Function& function) {
  at::parallel_for(0, count, kGrainValues,
                   [&](int64_t begin, int64_t end) { function(begin, end - begin); });
}

struct FusedGeluLinear : torch::autograd::Function<FusedGeluLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_any,
                            const at::Tensor& weight, const at::Tensor& bias) {
    const at::Tensor x = x_any.contiguous();
    context->save_for_backward({x, weight});
    const at::Tensor activated = at::empty_like(x);
    with_storage_type(x.scalar_type(), [&]<class T>(T) {
      const auto& kernels = cpu_kernels().of<T>();
      const T* from = data_of<T>(x);
      T* to = mutable_data_of<T>(activated);
      for_each_value(x.numel(), [&](int64_t begin, int64_t count) {
        kernels.gelu(from + begin, to + begin, count);
      });
    });
    return product(rows_of(activated), weight, bias).view(with_last(x, weight.size(0)));
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor grad = rows_of(grads[0]).contiguous();
    // The activation's gradient becomes x's in place.
    const at::Tensor grad_x = product(grad, weight.t());
    const at::Tensor activated = at::empty_like(x);
    with_storage_type(x.scalar_type(), [&]<class T>(T) {
      const auto& kernels = cpu_kernels().of<T>();
      const T* from = data_of<T>(x);
      T* gradient = mutable_data_of<T>(grad_x);
      T* to = mutable_data_of<T>(activated);
      for_each_value(x.numel(), [&](int64_t begin, int64_t count) {
        kernels.gelu_backward(from + begin, gradient + begin, gradient + begin, to + begin, count);
      });
    });
    const ProductGradients gradients =
        product_backward(grad, rows_of(activated), weight, false, context->needs_input_grad(1),
                         context->needs_input_grad(2));
    return {grad_x.view(x.sizes()), gradients.weight, gradients.bias};
  }
};

struct FusedGatedGeluLinear : torch::autograd::Function<FusedGatedGeluLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_any,
                            const at::Tensor& up_any, const at::Tensor& weight,
                            const at::Tensor& bias) {
    const at::Tensor gate = gate_any.contiguous();
    const at::Tensor up = up_any.contiguous();
    context->save_for_backward({gate, up, weight});
    const at::Tensor activated = at::empty_like(gate);
    with_storage_type(gate.scalar_type(), [&]<class T>(T) {
      const auto& kernels = cpu_kernels().of<T>();
      const T* gates = data_of<T>(gate);
      const T* ups = data_of<T>(up);
      T* to = mutable_data_of<T>(activated);
      for_each_value(gate.numel(), [&](int64_t begin, int64_t count) {
        kernels.gated_gelu(gates + begin, ups + begin, to + begin, count);
      });
    });
    return product(rows_of(activated), weight, bias).view(with_last(gate, weight.size(0)));
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& gate = saved[0];
    const at::Tensor& up = saved[1];
    const at::Tensor& weight = saved[2];
    const at::Tensor grad = rows_of(grads[0]).contiguous();
    const at::Tensor grad_gate = product(grad, weight.t());
    const at::Tensor grad_up = at::empty_like(gate);
    const at::Tensor activated = at::empty_like(gate);
    with_storage_type(gate.scalar_type(), [&]<class T>(T) {
      const auto& kernels = cpu_kernels().of<T>();
      const T* gates = data_of<T>(gate);
      const T* ups = data_of<T>(up);
      T* gate_gradient = mutable_data_of<T>(grad_gate);
      T* up_gradient = mutable_data_of<T>(grad_up);
      T* to = mutable_data_of<T>(activated);
      for_each_value(gate.numel(), [&](int64_t begin, int64_t count) {
        kernels.gated_gelu_backward(gates + begin, ups + begin, gate_gradient + begin,
                                    gate_gradient + begin, up_gradient + begin, to + begin, count);
      });
    });
    const ProductGradients gradients =
        product_backward(grad, rows_of(activated), weight, false, context->needs_input_grad(2),
                         context->needs_input_grad(3));
    return {grad_gate.view(gate.sizes()), grad_up, gradients.weight, gradients.bias};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!runs_fused(x)) return at::linear(x, weight, bias);
  return FusedLinear::apply(x, weight, bias);
}

at::Tensor gelu_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!runs_fused(x)) return at::linear(at::gelu(x), weight, bias);
  return FusedGeluLinear::apply(x, weight, bias);
}

at::Tensor gated_gelu_linear(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& weight,
                             const at::Tensor& bias) {
  if (!runs_fused(gate)) return at::linear(at::gelu(gate) * up, weight, bias);
  return FusedGatedGeluLinear::apply(gate, up, weight, bias);
}

}  // namespace swath::ops
