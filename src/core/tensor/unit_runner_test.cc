#include "core/tensor/unit_runner.h"

#include <gtest/gtest.h>

#include "core/tensor/memory.h"
#include "core/tensor/torch.h"

namespace swath {
namespace {

// Four layers of tanh(x W), whose gradient needs every activation.
struct Chain {
  std::vector<at::Tensor> weights;
  Chain() {
    torch::manual_seed(5);
    for (int i = 0; i < 4; ++i) {
      weights.push_back((torch::randn({64, 64}) / 8).requires_grad_());
    }
  }
  at::Tensor loss(UnitRunner& runner, at::Tensor x) {
    for (size_t i = 0; i < weights.size(); ++i) {
      const at::Tensor weight = weights[i];
      x = runner.run(
          "layers." + std::to_string(i),
          [weight](const at::Tensor& input) {
            return torch::tanh(torch::mm(input, weight)).sin().cos();
          },
          x);
    }
    return x.square().mean();
  }
};

TEST(UnitRunner, CheckpointingGivesBitIdenticalLossAndGradients) {
  const at::Tensor x = torch::randn({32, 64});
  UnitRunner plain_runner;
  CheckpointingRunner checkpointing_runner;
  Chain plain, recomputed;
  const at::Tensor plain_loss = plain.loss(plain_runner, x);
  const at::Tensor recomputed_loss = recomputed.loss(checkpointing_runner, x);
  EXPECT_EQ(plain_loss.item<float>(), recomputed_loss.item<float>());
  plain_loss.backward();
  recomputed_loss.backward();
  for (size_t i = 0; i < plain.weights.size(); ++i) {
    ASSERT_TRUE(recomputed.weights[i].grad().defined());
    EXPECT_TRUE(at::equal(plain.weights[i].grad(), recomputed.weights[i].grad())) << i;
  }
}

TEST(UnitRunner, CheckpointingPassesTheGradientOfItsInput) {
  UnitRunner plain_runner;
  CheckpointingRunner checkpointing_runner;
  Chain chain;
  at::Tensor a = torch::randn({8, 64}).requires_grad_();
  at::Tensor b = a.detach().clone().requires_grad_();
  chain.loss(plain_runner, a).backward();
  chain.loss(checkpointing_runner, b).backward();
  EXPECT_TRUE(at::equal(a.grad(), b.grad()));
}

TEST(UnitRunner, CheckpointingKeepsOnlyTheInputs) {
  install_memory_counter();
  const at::Tensor x = torch::randn({4096, 64});
  const auto held_by = [&](UnitRunner& runner) {
    Chain chain;
    const int64_t before = memory_stats(c10::kCPU).allocated_bytes;
    const at::Tensor loss = chain.loss(runner, x);
    return memory_stats(c10::kCPU).allocated_bytes - before;
  };
  UnitRunner plain_runner;
  CheckpointingRunner checkpointing_runner;
  EXPECT_LT(2 * held_by(checkpointing_runner), held_by(plain_runner));
}

TEST(UnitRunner, CheckpointingWithoutGradientsJustCalls) {
  at::NoGradGuard no_grad;
  CheckpointingRunner runner;
  Chain chain;
  EXPECT_FALSE(chain.loss(runner, torch::randn({2, 64})).requires_grad());
}

}  // namespace
}  // namespace swath
