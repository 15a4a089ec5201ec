#include "train/step.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "core/tensor/unit_runner.h"
#include "train/line_objective.h"

namespace swath::train {
namespace {

Batch batch_of(const at::Tensor& x) {
  Batch batch;
  batch.images_BCHW = x.view({x.size(0), 2, 1, 1});
  for (int64_t i = 0; i < x.size(0); ++i) batch.sample_ids.push_back(static_cast<uint64_t>(i));
  return batch;
}

struct Fixture {
  explicit Fixture(TrainStep::Options options)
      : parameters(objective.module(), at::kFloat,
                   [](const std::string&, at::IntArrayRef) { return sharding::ParameterRule{}; }),
        optimizer(&parameters.views(), {}),
        step(objective, parameters, optimizer, runner, options) {}
  LineObjective objective;
  sharding::LocalParameters parameters;
  optim::AdamW optimizer;
  UnitRunner runner;
  TrainStep step;
};

TEST(Step, AccumulatedMicroBatchesEqualOneBatch) {
  torch::manual_seed(3);
  Fixture whole({1, 0.5, 0});
  Fixture parts({4, 0.5, 0});
  for (int i = 0; i < 20; ++i) {
    const at::Tensor x = torch::randn({8, 2});
    const StepResult a = whole.step.run([&] { return batch_of(x); }, 1e-2);
    int64_t micro = 0;
    const StepResult b = parts.step.run(
        [&] {
          const int64_t begin = 2 * micro++;
          return batch_of(x.slice(0, begin, begin + 2));
        },
        1e-2);
    EXPECT_TRUE(at::allclose(a.measured, b.measured, 1e-5, 1e-6)) << i;
    EXPECT_EQ(b.sample_ids.size(), 8u);
  }
  EXPECT_TRUE(at::allclose(whole.objective.weight(), parts.objective.weight(), 1e-5, 1e-6));
  EXPECT_FALSE(at::allclose(whole.objective.weight(), torch::ones({1, 2}), 1e-2, 1e-2));
}

TEST(Step, ANonFiniteBatchChangesNeitherWeightsNorMomentsNorAverages) {
  Fixture fixture({1, 0, 0.9});
  fixture.step.run([] { return batch_of(torch::ones({2, 2})); }, 1e-2);
  std::vector<at::Tensor> before;
  for (const auto& [name, tensor] : fixture.optimizer.named_state())
    before.push_back(tensor.clone());
  for (const auto& [name, tensor] : fixture.step.named_averages()) before.push_back(tensor.clone());
  before.push_back(fixture.objective.weight().detach().clone());

  const StepResult result =
      fixture.step.run([] { return batch_of(torch::full({2, 2}, std::nanf(""))); }, 1e-2);
  EXPECT_EQ(result.measured[2].item<float>(), 1);

  std::vector<at::Tensor> after;
  for (const auto& [name, tensor] : fixture.optimizer.named_state()) after.push_back(tensor);
  for (const auto& [name, tensor] : fixture.step.named_averages()) after.push_back(tensor);
  after.push_back(fixture.objective.weight().detach());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(before[i], after[i])) << i;
}

TEST(Step, AveragesFollowTheWeights) {
  Fixture fixture({1, 0, 0.5});
  fixture.step.run([] { return batch_of(torch::ones({2, 2})); }, 1e-1);
  const at::Tensor expected = (torch::ones({1, 2}) + fixture.objective.weight().detach()) / 2;
  EXPECT_TRUE(at::allclose(fixture.step.named_averages()[0].second, expected));
}

TEST(Step, RehearsalLeavesNoTrace) {
  Fixture rehearsed({1, 0, 0});
  Fixture plain({1, 0, 0});
  const Batch batch = batch_of(torch::ones({2, 2}));
  rehearsed.step.rehearse(batch);
  rehearsed.step.run([&] { return batch; }, 1e-2);
  plain.step.run([&] { return batch; }, 1e-2);
  EXPECT_TRUE(at::equal(rehearsed.objective.weight(), plain.objective.weight()));
}

TEST(Step, ReportsLossNormAndMetrics) {
  Fixture fixture({1, 0, 0});
  // x = (1, 1), w = (1, 1): error 1, loss 1, gradient 2 * error * x = (2, 2).
  const StepResult result = fixture.step.run([] { return batch_of(torch::ones({2, 2})); }, 0);
  EXPECT_FLOAT_EQ(result.measured[0].item<float>(), 1);
  EXPECT_FLOAT_EQ(result.measured[1].item<float>(), std::sqrt(8.0F));
  EXPECT_EQ(result.metrics.at(0).first, "largest");
}

}  // namespace
}  // namespace swath::train
