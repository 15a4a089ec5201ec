#include "core/tensor/onednn.h"

#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <string_view>

namespace swath {
namespace {

// As LibTorch registers it for its compiler; absent in a build without oneDNN.
using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                             std::string_view, c10::List<std::optional<at::Scalar>>,
                             std::optional<std::string_view>);

const std::optional<c10::TypedOperatorHandle<Signature>>& linear_pointwise() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<Signature>> {
    const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!schema) return std::nullopt;
    return schema->typed<Signature>();
  }();
  return handle;
}

}  // namespace

bool has_onednn() { return linear_pointwise().has_value(); }

at::Tensor onednn_linear(const at::Tensor& x_RK, const at::Tensor& weight_MK,
                         const std::optional<at::Tensor>& bias_M) {
  return linear_pointwise()->call(x_RK, weight_MK, bias_M, "none",
                                  c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

}  // namespace swath
