#include "ops/attention.h"

#include "ops/gradient_check.h"

namespace swath::ops {
namespace {

using Inputs = std::vector<at::Tensor>;

TEST(Attention, EqualKeysAverageTheValues) {
  for (const char* name : {"reference", "fused"}) {
    set_backend(name);
    const at::Tensor v = torch::tensor({{{1.0, 2.0}, {3.0, 6.0}}}, at::kDouble);
    const at::Tensor out = attention(at::ones_like(v), at::zeros_like(v), v, 1);
    expect_close(out, torch::tensor({{{2.0, 4.0}, {2.0, 4.0}}}, at::kDouble), 1e-15, name);
  }
  set_backend("fused");
}

TEST(Attention, AgreesInBothVersions) {
  // The paper's 15B model has heads of 105.
  for (const auto& [heads, head_size] : {std::pair<int64_t, int64_t>{1, 3}, {2, 5}, {1, 105}}) {
    SCOPED_TRACE(head_size);
    const int64_t width = heads * head_size;
    expect_versions_agree(
        [heads = heads](const Inputs& in) { return attention(in[0], in[1], in[2], heads); },
        {random_tensor({2, 3, width}, 1), random_tensor({2, 4, width}, 2),
         random_tensor({2, 4, width}, 3)});
  }
}

TEST(Attention, SelfAttentionAgreesInBothVersions) {
  expect_versions_agree([](const Inputs& in) { return self_attention(in[0], 2); },
                        {random_tensor({2, 5, int64_t{3} * 14}, 1)});
}

// q | k | v, each head-major.
TEST(Attention, SelfAttentionSplitsItsInputInOrder) {
  const at::Tensor qkv = random_tensor({2, 5, int64_t{3} * 12}, 1);
  const auto parts = qkv.chunk(3, -1);
  for (const char* name : {"reference", "fused"}) {
    set_backend(name);
    expect_close(self_attention(qkv, 3), attention(parts[0], parts[1], parts[2], 3), 1e-14, name);
  }
  set_backend("fused");
}

// Longer than any block of queries or keys a kernel works in.
TEST(Attention, LongSequencesAgree) {
  for (const int64_t tokens : {1, 50, 197, 600}) {
    SCOPED_TRACE(tokens);
    const Inputs inputs = {random_tensor({2, tokens, int64_t{3} * 64}, 1)};
    const auto function = [](const Inputs& in) { return self_attention(in[0], 2); };
    set_backend("reference");
    const Evaluation expected = evaluate(function, inputs);
    set_backend("fused");
    const Evaluation found = evaluate(function, {inputs[0].to(at::kFloat)});
    expect_close(found.value, expected.value, 2e-6, "value");
    expect_close(found.gradients[0], expected.gradients[0], 1e-5, "gradient");
  }
}

// Scores of several hundred must not overflow.
TEST(Attention, LargeScoresStayFinite) {
  set_backend("fused");
  const at::Tensor q = at::full({1, 4, 8}, 40.0F);
  const at::Tensor out = attention(q, q, q, 1);
  expect_close(out, q, 1e-6, "equal tokens");
}

}  // namespace
}  // namespace swath::ops
