#include "ops/layer_norm.h"

#include "ops/gradient_check.h"

namespace swath::ops {
namespace {

using Inputs = std::vector<at::Tensor>;
constexpr double kEpsilon = 1e-6;

TEST(LayerNorm, HandWorkedRow) {
  for (const char* name : {"reference", "fused"}) {
    set_backend(name);
    // Mean 2, biased variance 2/3.
    const at::Tensor y =
        layer_norm(torch::tensor({{1.0, 2.0, 3.0}}), torch::tensor({2.0, 2.0, 2.0}),
                   torch::tensor({0.5, 0.5, 0.5}), 0);
    expect_close(
        y, torch::tensor({{0.5 - 2 * std::sqrt(1.5), 0.5, 0.5 + 2 * std::sqrt(1.5)}}, at::kDouble),
        1e-6, name);
  }
  set_backend("fused");
}

TEST(LayerNorm, AgreesInBothVersions) {
  for (const int64_t width : {3, 17, 40}) {
    SCOPED_TRACE(width);
    expect_versions_agree(
        [](const Inputs& in) { return layer_norm(in[0], in[1], in[2], kEpsilon); },
        {random_tensor({2, 3, width}, 1), random_tensor({width}, 2), random_tensor({width}, 3)});
  }
}

TEST(LayerNorm, AddLayerNormAgreesInBothVersions) {
  expect_versions_agree(
      [](const Inputs& in) {
        const auto [sum, normed] = add_layer_norm(in[0], in[1], in[2], in[3], kEpsilon);
        return at::cat({sum, normed * 0.5}, -1);
      },
      {random_tensor({2, 3, 19}, 1), random_tensor({2, 3, 19}, 2), random_tensor({19}, 3),
       random_tensor({19}, 4)});
}

TEST(LayerNorm, AddNormedAgreesInBothVersions) {
  expect_versions_agree(
      [](const Inputs& in) { return add_normed(in[0], in[1], in[2], in[3], kEpsilon); },
      {random_tensor({2, 21, 19}, 1), random_tensor({2, 21, 19}, 2), random_tensor({19}, 3),
       random_tensor({19}, 4)});
}

TEST(LayerNorm, AddNormedIsTheSumWithTheNorm) {
  const at::Tensor x = random_tensor({40, 16}, 1);
  const at::Tensor branch = random_tensor({40, 16}, 2);
  const at::Tensor weight = random_tensor({16}, 3);
  const at::Tensor bias = random_tensor({16}, 4);
  expect_close(add_normed(x, branch, weight, bias, kEpsilon),
               x + at::layer_norm(branch, {16}, weight, bias, kEpsilon), 1e-13, "sum");
}

TEST(LayerNorm, EitherResultMayBeUnused) {
  for (const bool use_sum : {false, true}) {
    SCOPED_TRACE(use_sum);
    expect_versions_agree(
        [use_sum](const Inputs& in) {
          const auto [sum, normed] = add_layer_norm(in[0], in[1], in[2], in[3], kEpsilon);
          // All inputs stay part of the graph.
          return (use_sum ? sum : normed) + (in[2] + in[3]);
        },
        {random_tensor({4, 11}, 1), random_tensor({4, 11}, 2), random_tensor({11}, 3),
         random_tensor({11}, 4)});
  }
}

// Many rows: the gradients of weight and bias are summed over threads.
TEST(LayerNorm, ManyRowsAgree) {
  const Inputs inputs = {random_tensor({900, 131}, 1), random_tensor({131}, 2),
                         random_tensor({131}, 3)};
  const auto function = [](const Inputs& in) { return layer_norm(in[0], in[1], in[2], kEpsilon); };
  set_backend("reference");
  const Evaluation expected = evaluate(function, inputs);
  set_backend("fused");
  const Evaluation found = evaluate(function, inputs);
  for (size_t i = 0; i < 3; ++i) {
    expect_close(found.gradients[i], expected.gradients[i], 1e-12, "gradient");
  }
}

}  // namespace
}  // namespace swath::ops
