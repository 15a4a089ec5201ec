#include "ops/attention.h"

#include <cmath>

#include "core/tensor/torch.h"
#include "ops/fused.h"

namespace swath::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// (B, T, D) -> (B, heads, T, d), a view where possible.
at::Tensor by_head(const at::Tensor& x_BTD, int64_t num_heads) {
  return x_BTD.unflatten(-1, {num_heads, x_BTD.size(-1) / num_heads}).transpose(1, 2);
}

at::Tensor reference_attention(const at::Tensor& q_BHQd, const at::Tensor& k_BHTd,
                               const at::Tensor& v_BHTd) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_BHQd.size(-1)));
  const at::Tensor weights = at::softmax(at::matmul(q_BHQd * scale, k_BHTd.transpose(-2, -1)), -1);
  return at::matmul(weights, v_BHTd);
}

// LibTorch's: on GPUs its flash kernels, on the CPU the one for bfloat16.
at::Tensor library_attention(const at::Tensor& q_BHQd, const at::Tensor& k_BHTd,
                             const at::Tensor& v_BHTd) {
  const at::Tensor out = backend() == Backend::kReference
                             ? reference_attention(q_BHQd, k_BHTd, v_BHTd)
                             : at::scaled_dot_product_attention(q_BHQd, k_BHTd, v_BHTd);
  return out.transpose(1, 2).flatten(2);
}

bool runs_own_kernel(const at::Tensor& x) {
  return runs_fused(x) && x.scalar_type() != at::kBFloat16;
}

// Three (B, T, D) tensors whose rows are contiguous in their last dimension.
struct Operands {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};

HeadShape head_shape(const Operands& in, int64_t num_heads, int64_t out_stride) {
  return {in.q.size(1),   in.k.size(1), in.q.size(2) / num_heads, in.q.stride(1), in.k.stride(1),
          in.v.stride(1), out_stride};
}

// function(sample, first value of the head, its index, scratch) for every head of every sample.
template <class A, class Function>
void for_each_head(const Operands& in, int64_t num_heads, const HeadShape& shape,
                   const Function& function) {
  at::parallel_for(0, in.q.size(0) * num_heads, 1, [&](int64_t begin, int64_t end) {
    // A tensor, for its alignment: a vector that straddles cache lines costs twice.
    const at::Tensor scratch = at::empty({attention_scratch(shape)}, in.q.options());
    for (int64_t index = begin; index < end; ++index) {
      function(index / num_heads, index % num_heads * shape.head_size, index,
               mutable_data_of<A>(scratch));
    }
  });
}

struct Attended {
  at::Tensor out;      // (B, Q, D)
  at::Tensor log_sum;  // (B, heads, Q)
};

Attended attend(const Operands& in, int64_t num_heads) {
  const int64_t batch = in.q.size(0);
  const int64_t width = in.q.size(2);
  const Attended result{at::empty({batch, in.q.size(1), width}, in.q.options()),
                        at::empty({batch, num_heads, in.q.size(1)}, in.q.options())};
  const HeadShape shape = head_shape(in, num_heads, width);
  const double scale = 1.0 / std::sqrt(static_cast<double>(shape.head_size));
  with_arithmetic(in.q, [&]<class A>(A) {
    const auto& kernels = attention_kernels<A>(cpu_kernels());
    const A* q = data_of<A>(in.q);
    const A* k = data_of<A>(in.k);
    const A* v = data_of<A>(in.v);
    A* out = mutable_data_of<A>(result.out);
    A* log_sum = mutable_data_of<A>(result.log_sum);
    for_each_head<A>(
        in, num_heads, shape, [&](int64_t sample, int64_t first, int64_t index, A* scratch) {
          kernels.forward(shape, q + sample * in.q.stride(0) + first,
                          k + sample * in.k.stride(0) + first, v + sample * in.v.stride(0) + first,
                          static_cast<A>(scale), out + sample * shape.queries * width + first,
                          log_sum + index * shape.queries, scratch);
        });
  });
  return result;
}

void attend_backward(const Operands& in, const Attended& attended, const at::Tensor& grad_out,
                     int64_t num_heads, const Operands& grads) {
  const int64_t width = in.q.size(2);
  const HeadShape shape = head_shape(in, num_heads, width);
  const HeadShape grad_shape = head_shape(grads, num_heads, width);
  const double scale = 1.0 / std::sqrt(static_cast<double>(shape.head_size));
  with_arithmetic(in.q, [&]<class A>(A) {
    const auto& kernels = attention_kernels<A>(cpu_kernels());
    const A* q = data_of<A>(in.q);
    const A* k = data_of<A>(in.k);
    const A* v = data_of<A>(in.v);
    const A* out = data_of<A>(attended.out);
    const A* from = data_of<A>(grad_out);
    const A* log_sum = data_of<A>(attended.log_sum);
    A* grad_q = mutable_data_of<A>(grads.q);
    A* grad_k = mutable_data_of<A>(grads.k);
    A* grad_v = mutable_data_of<A>(grads.v);
    for_each_head<A>(
        in, num_heads, shape, [&](int64_t sample, int64_t first, int64_t index, A* scratch) {
          const int64_t row = sample * shape.queries * width + first;
          kernels.backward(shape, grad_shape, q + sample * in.q.stride(0) + first,
                           k + sample * in.k.stride(0) + first, v + sample * in.v.stride(0) + first,
                           out + row, from + row, log_sum + index * shape.queries,
                           static_cast<A>(scale), grad_q + sample * grads.q.stride(0) + first,
                           grad_k + sample * grads.k.stride(0) + first,
                           grad_v + sample * grads.v.stride(0) + first, scratch);
        });
  });
}

Operands thirds(const at::Tensor& qkv_BTE) {
  const int64_t width = qkv_BTE.size(2) / 3;
  return {qkv_BTE.narrow(2, 0, width), qkv_BTE.narrow(2, width, width),
          qkv_BTE.narrow(2, 2 * width, width)};
}

at::Tensor with_contiguous_rows(const at::Tensor& x) {
  return x.stride(-1) == 1 ? x : x.contiguous();
}

struct FusedSelfAttention : torch::autograd::Function<FusedSelfAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& qkv_any,
                            int64_t num_heads) {
    const at::Tensor qkv = qkv_any.contiguous();
    const Attended attended = attend(thirds(qkv), num_heads);
    context->save_for_backward({qkv, attended.out, attended.log_sum});
    context->saved_data["num_heads"] = num_heads;
    return attended.out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor grad_qkv = at::empty_like(saved[0]);
    attend_backward(thirds(saved[0]), {saved[1], saved[2]}, grads[0].contiguous(),
                    context->saved_data["num_heads"].toInt(), thirds(grad_qkv));
    return {grad_qkv, at::Tensor()};
  }
};

struct FusedAttention : torch::autograd::Function<FusedAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q_any,
                            const at::Tensor& k_any, const at::Tensor& v_any, int64_t num_heads) {
    const Operands in = {with_contiguous_rows(q_any), with_contiguous_rows(k_any),
                         with_contiguous_rows(v_any)};
    const Attended attended = attend(in, num_heads);
    context->save_for_backward({in.q, in.k, in.v, attended.out, attended.log_sum});
    context->saved_data["num_heads"] = num_heads;
    return attended.out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const Operands in = {saved[0], saved[1], saved[2]};
    const auto empty = [](const at::Tensor& x) { return at::empty(x.sizes(), x.options()); };
    const Operands out = {empty(in.q), empty(in.k), empty(in.v)};
    attend_backward(in, {saved[3], saved[4]}, grads[0].contiguous(),
                    context->saved_data["num_heads"].toInt(), out);
    return {out.q, out.k, out.v, at::Tensor()};
  }
};

}  // namespace

at::Tensor attention(const at::Tensor& q_BQD, const at::Tensor& k_BTD, const at::Tensor& v_BTD,
                     int64_t num_heads) {
  if (runs_own_kernel(q_BQD)) return FusedAttention::apply(q_BQD, k_BTD, v_BTD, num_heads);
  return library_attention(by_head(q_BQD, num_heads), by_head(k_BTD, num_heads),
                           by_head(v_BTD, num_heads));
}

at::Tensor self_attention(const at::Tensor& qkv_BTE, int64_t num_heads) {
  if (runs_own_kernel(qkv_BTE)) return FusedSelfAttention::apply(qkv_BTE, num_heads);
  const int64_t head_size = qkv_BTE.size(-1) / (3 * num_heads);
  // One unbind, so that backward writes the three gradients into one tensor in a single pass.
  const auto parts =
      qkv_BTE.unflatten(-1, {3, num_heads, head_size}).permute({2, 0, 3, 1, 4}).unbind(0);
  return library_attention(parts[0], parts[1], parts[2]);
}

}  // namespace swath::ops
