#include "ops/window_attention.h"

#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"
#include "ops/gradient_check.h"

namespace swath::ops {
namespace {

// qkv, scales around 10, bias.
std::vector<at::Tensor> inputs_of(const WindowGrid& g, int64_t batch, int64_t heads, int64_t size,
                                  uint64_t seed = 1) {
  return {random_tensor({batch, g.tokens(), 3 * heads * size}, seed),
          random_tensor({heads}, seed + 1).abs() + 2,
          random_tensor({heads, g.offsets()}, seed + 2)};
}

TensorFunction attention_over(const WindowGrid& g) {
  return
      [g](const std::vector<at::Tensor>& in) { return window_attention(in[0], in[1], in[2], g); };
}

// Query-key matrix of a window of 2 x 2, as the paper's code numbers it.
TEST(WindowAttention, PositionIndexOfTwoByTwo) {
  const at::Tensor expected =
      at::tensor({4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4}, at::kLong).view({4, 4});
  EXPECT_TRUE(at::equal(relative_position_index({4, 4, 2, 2, 0, 0}), expected));
}

// The stride is the columns' 2 w - 1, whatever the rows'.
TEST(WindowAttention, PositionIndexOfARectangle) {
  const at::Tensor index = relative_position_index({2, 3, 2, 3, 0, 0});
  EXPECT_EQ(index[0][0].item<int64_t>(), 7);
  EXPECT_EQ(index[5][0].item<int64_t>(), 14);
  EXPECT_EQ(index[0][3].item<int64_t>(), 2);
}

// Two tokens, one head of one value: cosines are signs, so weights can be worked out by hand.
TEST(WindowAttention, ValuesByHand) {
  for (const char* name : {"reference", "fused"}) {
    set_backend(name);
    // q = (2, -3), k = (0.5, 4), v = (1, 5); scale 2, bias by offset (-1, 0, 1).
    const at::Tensor qkv = at::tensor({2.0, 0.5, 1.0, -3.0, 4.0, 5.0}, at::kDouble).view({1, 2, 3});
    const at::Tensor bias = at::tensor({0.3, 0.1, -0.2}, at::kDouble).view({1, 3});
    const at::Tensor out =
        window_attention(qkv, at::full({1}, 2.0, at::kDouble), bias, {1, 2, 1, 2, 0, 0});
    const auto mix = [](double to_first, double to_second) {
      const double a = std::exp(to_first);
      const double b = std::exp(to_second);
      return (a * 1 + b * 5) / (a + b);
    };
    EXPECT_NEAR(out[0][0][0].item<double>(), mix(2 + 0.1, 2 + 0.3), 1e-12) << name;
    EXPECT_NEAR(out[0][1][0].item<double>(), mix(-2 - 0.2, -2 + 0.1), 1e-12) << name;
  }
}

// The seeds give scales a gradient that is no difference of large sums.
TEST(WindowAttention, VersionsAgree) {
  const std::pair<WindowGrid, uint64_t> cases[] = {
      {{4, 4, 2, 2, 0, 0}, 1},  // windows in rows and columns
      {{4, 6, 2, 3, 1, 1}, 1},  // rectangular, shifted
      {{2, 6, 2, 3, 0, 1}, 1},  // shifted on one axis only
      {{3, 3, 3, 3, 0, 0}, 7},  // one window
      {{2, 2, 1, 1, 0, 0}, 1},  // windows of a token
  };
  for (const auto& [grid, seed] : cases) {
    SCOPED_TRACE(fmt::format("{} x {} in {} x {}", grid.rows, grid.columns, grid.window_rows,
                             grid.window_columns));
    expect_versions_agree(attention_over(grid), inputs_of(grid, 2, 2, 3, seed));
  }
}

// More tokens than are handled at once, and head sizes that fill vectors or not.
TEST(WindowAttention, LargeWindowsAgree) {
  const WindowGrid grid = {18, 9, 9, 9, 4, 0};
  for (const int64_t head_size : {8, 21, 32}) {
    const std::vector<at::Tensor> inputs = inputs_of(grid, 1, 2, head_size);
    set_backend("reference");
    const Evaluation expected = evaluate(attention_over(grid), inputs);
    set_backend("fused");
    for (const auto& [type, tolerance] :
         {std::pair{at::kDouble, 1e-12}, std::pair{at::kFloat, 3e-6}}) {
      std::vector<at::Tensor> typed;
      for (const at::Tensor& input : inputs) typed.push_back(input.to(type));
      const Evaluation found = evaluate(attention_over(grid), typed);
      expect_close(found.value, expected.value, tolerance, "value");
      for (size_t i = 0; i < 3; ++i) {
        expect_close(found.gradients[i], expected.gradients[i], tolerance, "gradient");
      }
    }
  }
}

// A token in a far corner of the rolled map must not see those rolled to its side.
TEST(WindowAttention, ShiftedWindowsDoNotLookAcrossTheEdge) {
  for (const char* name : {"reference", "fused"}) {
    set_backend(name);
    const WindowGrid grid = {4, 4, 2, 2, 1, 1};
    std::vector<at::Tensor> in = inputs_of(grid, 1, 1, 2);
    const at::Tensor before = window_attention(in[0], in[1], in[2], grid);
    in[0] = in[0].clone();
    in[0][0][15] += 1;  // the last token shares its shifted window with the other three corners
    const at::Tensor moved = (window_attention(in[0], in[1], in[2], grid) - before).abs().sum(-1);
    EXPECT_GT(moved[0][15].item<double>(), 1e-3);
    EXPECT_LT(moved[0].slice(0, 0, 15).max().item<double>(), 1e-30) << name;
    // Token 5 stands in the middle of four that were neighbours.
    in[0][0][5] += 1;
    const at::Tensor inner = (window_attention(in[0], in[1], in[2], grid) - before).abs().sum(-1);
    EXPECT_GT(inner[0][10].item<double>(), 1e-6) << name;
    EXPECT_EQ(inner[0][0].item<double>(), moved[0][0].item<double>()) << name;
  }
}

// A vector of length 0 has no direction; nothing becomes NaN.
TEST(WindowAttention, ZeroVectorsAreFinite) {
  for (const char* name : {"reference", "fused"}) {
    set_backend(name);
    const WindowGrid grid = {2, 2, 2, 2, 0, 0};
    std::vector<at::Tensor> in = inputs_of(grid, 1, 1, 2);
    in[0].zero_();
    const Evaluation result = evaluate(attention_over(grid), in);
    EXPECT_TRUE(result.value.isfinite().all().item<bool>()) << name;
    for (const at::Tensor& gradient : result.gradients) {
      EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << name;
    }
  }
  set_backend("fused");
}

TEST(WindowAttention, RefusesWindowsThatDoNotTile) {
  const std::vector<at::Tensor> in = inputs_of({4, 4, 2, 2, 0, 0}, 1, 1, 2);
  EXPECT_THROW(window_attention(in[0], in[1], in[2], {4, 4, 3, 2, 0, 0}), Error);
  EXPECT_THROW(window_attention(in[0], in[1], in[2], {4, 8, 2, 2, 0, 0}), Error);
}

}  // namespace
}  // namespace swath::ops
