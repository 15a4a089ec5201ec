// For tests: any differentiable function against finite differences, and two versions of one
// against each other.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/tensor/torch.h"
#include "ops/backend.h"

namespace swath::ops {

using TensorFunction = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

// max|a - b| <= tolerance * max|b|, both finite.
inline void expect_close(const at::Tensor& a, const at::Tensor& b, double tolerance,
                         const std::string& what) {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  const at::Tensor wide_a = a.detach().to(at::kDouble);
  const at::Tensor wide_b = b.detach().to(at::kDouble);
  const double difference = (wide_a - wide_b).abs().max().item<double>();
  const double largest = wide_b.abs().max().item<double>();
  EXPECT_LE(difference, tolerance * largest)
      << what << ": largest difference " << difference << " at values up to " << largest
      << ", worst element " << (wide_a - wide_b).abs().argmax().item<int64_t>();
}

struct Evaluation {
  at::Tensor value;
  std::vector<at::Tensor> gradients;
};

// 1/4 to 7/4 in steps of 1/4: exact in every dtype, and sums of them do not cancel.
inline at::Tensor uneven_weights(const at::Tensor& like) {
  return (at::arange(like.numel(), at::TensorOptions(at::kDouble)) * 5 + 3)
      .remainder(7)
      .add(1)
      .div(4)
      .view_as(like);
}

// function(inputs) and the gradients of sum(function * weights) with fixed uneven weights.
inline Evaluation evaluate(const TensorFunction& function, const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.detach().clone().requires_grad_());
  const at::Tensor value = function(leaves);
  const at::Tensor weights = uneven_weights(value);
  (value * weights.to(value.scalar_type())).sum().backward();
  Evaluation result{value.detach(), {}};
  for (const at::Tensor& leaf : leaves) result.gradients.push_back(leaf.grad());
  return result;
}

// Central differences of every element in float64. Truncation and rounding leave about 1e-8 of the
// largest gradient; the tolerance is ten times that.
inline void expect_gradients_by_differences(const TensorFunction& function,
                                            const std::vector<at::Tensor>& inputs) {
  constexpr double kStep = 1e-5;
  constexpr double kTolerance = 1e-7;
  const Evaluation analytic = evaluate(function, inputs);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::vector<at::Tensor> moved;
    for (const at::Tensor& input : inputs) moved.push_back(input.clone().contiguous());
    const auto weighted = [&] {
      const at::Tensor value = function(moved);
      return (value * uneven_weights(value)).sum().item<double>();
    };
    const at::Tensor numeric = at::empty_like(moved[i]);
    double* element = moved[i].mutable_data_ptr<double>();
    for (int64_t e = 0; e < moved[i].numel(); ++e) {
      const double kept = element[e];
      element[e] = kept + kStep;
      const double above = weighted();
      element[e] = kept - kStep;
      const double below = weighted();
      element[e] = kept;
      numeric.mutable_data_ptr<double>()[e] = (above - below) / (2 * kStep);
    }
    expect_close(analytic.gradients[i], numeric, kTolerance, "input " + std::to_string(i));
  }
}

// Both versions: finite differences in float64; then fused against reference in float64, float32
// and bfloat16. The reference of bfloat16 is float64 on the rounded inputs: 8 bits of mantissa give
// 2^-9 per rounding, of which an operator has a handful.
inline void expect_versions_agree(const TensorFunction& function,
                                  const std::vector<at::Tensor>& inputs) {
  for (const char* name : {"reference", "fused"}) {
    SCOPED_TRACE(name);
    set_backend(name);
    expect_gradients_by_differences(function, inputs);
  }
  for (const auto& [type, tolerance] : {std::pair{at::kDouble, 1e-13}, std::pair{at::kFloat, 2e-6},
                                        std::pair{at::kBFloat16, 2e-2}}) {
    SCOPED_TRACE(c10::toString(type));
    std::vector<at::Tensor> typed;
    std::vector<at::Tensor> wide;
    for (const at::Tensor& input : inputs) {
      typed.push_back(input.to(type));
      wide.push_back(typed.back().to(at::kDouble));
    }
    set_backend("reference");
    const Evaluation expected = evaluate(function, wide);
    for (const char* library : {"mkl", "onednn"}) {
      SCOPED_TRACE(library);
      set_product_library(library);
      set_backend("fused");
      const Evaluation found = evaluate(function, typed);
      EXPECT_EQ(found.value.scalar_type(), type);
      expect_close(found.value, expected.value, tolerance, "value");
      for (size_t i = 0; i < inputs.size(); ++i) {
        EXPECT_EQ(found.gradients[i].scalar_type(), type);
        expect_close(found.gradients[i], expected.gradients[i], tolerance,
                     "gradient of input " + std::to_string(i));
      }
    }
  }
  set_product_library("auto");
  set_backend("fused");
}

inline at::Tensor random_tensor(at::IntArrayRef shape, uint64_t seed) {
  torch::manual_seed(seed);
  return at::randn(shape, at::TensorOptions(at::kDouble));
}

}  // namespace swath::ops
