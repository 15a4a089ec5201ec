#include "train/step.h"

#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <utility>

#include "core/tensor/torch.h"
#include "sharding/local_parameters.h"
#include "train/line_objective.h"

namespace swath::train {
namespace {

Batch batch_of(const at::Tensor& x) {
  Batch batch;
  batch.images_BCHW = x.view({x.size(0), 2, 1, 1});
  for (int64_t i = 0; i < x.size(0); ++i) batch.sample_ids.push_back(static_cast<uint64_t>(i));
  return batch;
}

struct Settings {
  int64_t accumulation = 1;
  double clip_norm = 0;
  double ema_decay = 0;
  int64_t batch_size = 0;
};

struct Fixture {
  explicit Fixture(Settings settings, at::ScalarType precision = at::kFloat)
      : parameters(objective.module(), {precision, settings.accumulation, false},
                   [](const std::string&, at::IntArrayRef) { return sharding::ParameterRule{}; }),
        optimizer(&parameters.views(), {}),
        step(objective, parameters, optimizer,
             {settings.batch_size, settings.clip_norm, settings.ema_decay}) {}
  LineObjective objective;
  sharding::LocalParameters parameters;
  optim::AdamW optimizer;
  TrainStep step;
};

// Micro-batches of unequal size count by their samples, and a mean over valid pixels by those.
TEST(Step, UnequalPartsEqualOneBatch) {
  torch::manual_seed(4);
  for (const bool has_weights : {false, true}) {
    Fixture whole({1, 0.5, 0});
    Fixture parts({2, 0.5, 0, 8});
    for (int i = 0; i < 20; ++i) {
      const at::Tensor x = torch::randn({8, 2});
      const at::Tensor valid = (torch::rand({8}) < 0.6).to(at::kFloat);
      whole.objective.valid = has_weights ? valid : at::Tensor();
      const StepResult a = whole.step.run([&] { return batch_of(x); }, 1e-2);
      int64_t begin = 0;
      const StepResult b = parts.step.run(
          [&] {
            const int64_t end = begin == 0 ? 3 : 8;
            if (has_weights) parts.objective.valid = valid.slice(0, begin, end);
            const Batch batch = batch_of(x.slice(0, begin, end));
            begin = end;
            return batch;
          },
          1e-2);
      EXPECT_TRUE(at::allclose(a.measured, b.measured, 1e-5, 1e-6)) << i;
    }
    EXPECT_TRUE(at::allclose(whole.objective.weight(), parts.objective.weight(), 1e-5, 1e-6));
  }
}

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

// Adam hides a factor in the gradient; its first moment does not.
TEST(Step, ClippedGradientsReachTheMoments) {
  for (const int64_t accumulation : {1, 2}) {
    Fixture fixture({accumulation, 0.5, 0});
    const StepResult result = fixture.step.run([] { return batch_of(torch::ones({2, 2})); }, 1e-2);
    EXPECT_FLOAT_EQ(result.measured[1].item<float>(), std::sqrt(8.0F));  // before clipping
    const at::Tensor moment = fixture.optimizer.named_state()[0].second;
    EXPECT_NEAR(moment.norm().item<double>(), (1 - 0.9) * 0.5, 1e-6);
  }
}

// Steps that bfloat16 (spacing 2^-8 below 1) cannot show add up in the float32 masters.
TEST(Step, SmallUpdatesAddUpUnderBfloat16) {
  Fixture fixture({2, 0, 0}, at::kBFloat16);
  const at::Tensor master = fixture.parameters.named_masters()[0].second;
  for (int i = 0; i < 20; ++i) {
    const float before = master.max().item<float>();
    fixture.step.run([] { return batch_of(torch::ones({2, 2})); }, 4e-4);
    const float moved = before - master.max().item<float>();
    EXPECT_GT(moved, 2e-4) << i;
    EXPECT_LT(moved, 1e-3) << i;
  }
  EXPECT_EQ(fixture.objective.weight().scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(fixture.objective.weight().detach(), master.to(at::kBFloat16)));
}

// On a GPU each of these operators would make the host wait for the device. AdamW's kernel for the
// CPU reads its step count; the one for GPUs takes it as a tensor.
TEST(Step, ReadsNoTensorOnTheHost) {
  static std::atomic<int64_t> reads;
  static std::atomic<int64_t> open_updates;
  reads = open_updates = 0;
  Fixture fixture({2, 0.5, 0.9});
  constexpr auto kUpdate = "aten::_fused_adamw_";
  const auto handle = at::addGlobalCallback(at::RecordFunctionCallback(
      [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
        const std::string name = function.name();
        if (name == kUpdate) ++open_updates;
        for (const char* reading : {"aten::item", "aten::_local_scalar_dense", "aten::nonzero",
                                    "aten::is_nonzero", "aten::equal", "aten::masked_select"}) {
          if (name == reading && open_updates == 0) ++reads;
        }
        return nullptr;
      },
      [](const at::RecordFunction& function, at::ObserverContext*) {
        if (std::string(function.name()) == kUpdate) --open_updates;
      }));
  for (int i = 0; i < 3; ++i) {
    fixture.step.run([] { return batch_of(torch::ones({2, 2})); }, 1e-2);
  }
  EXPECT_EQ(reads, 0);
  torch::ones({1}).item<float>();
  EXPECT_GT(reads, 0);  // the callback sees a read
  at::removeCallback(handle);
}

TEST(Step, ANonFiniteBatchChangesNeitherWeightsNorMomentsNorAverages) {
  Fixture fixture({1, 0, 0.9});
  fixture.step.run([] { return batch_of(torch::ones({2, 2})); }, 1e-2);
  std::vector<at::Tensor> before;
  for (const auto& [name, tensor] : fixture.optimizer.named_state())
    before.push_back(tensor.clone());
  for (const at::Tensor& tensor : fixture.step.averages()) before.push_back(tensor.clone());
  before.push_back(fixture.objective.weight().detach().clone());

  const StepResult result =
      fixture.step.run([] { return batch_of(torch::full({2, 2}, std::nanf(""))); }, 1e-2);
  EXPECT_EQ(result.measured[2].item<float>(), 1);

  std::vector<at::Tensor> after;
  for (const auto& [name, tensor] : fixture.optimizer.named_state()) after.push_back(tensor);
  for (const at::Tensor& tensor : fixture.step.averages()) after.push_back(tensor);
  after.push_back(fixture.objective.weight().detach());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(before[i], after[i])) << i;
}

TEST(Step, AveragesFollowTheWeights) {
  Fixture fixture({1, 0, 0.5});
  fixture.step.run([] { return batch_of(torch::ones({2, 2})); }, 1e-1);
  const at::Tensor expected = (torch::ones({1, 2}) + fixture.objective.weight().detach()) / 2;
  EXPECT_TRUE(at::allclose(fixture.step.averages()[0], expected.flatten()));
}

TEST(Step, RehearsalLeavesNoTrace) {
  Fixture rehearsed({1, 0, 0});
  Fixture plain({1, 0, 0});
  Batch batch = batch_of(torch::ones({2, 2}));
  rehearsed.step.rehearse(batch);
  rehearsed.step.run([&] { return batch; }, 1e-2);
  plain.step.run([&] { return batch; }, 1e-2);
  EXPECT_TRUE(at::equal(rehearsed.objective.weight(), plain.objective.weight()));
}

// Batches of 2 and 6 samples: each sample, or its valid part, counts alike; nothing is learned.
TEST(Step, MeanLossIsOverSamplesAndLearnsNothing) {
  torch::manual_seed(9);
  const at::Tensor x = torch::randn({8, 2});
  const at::Tensor valid = torch::tensor({1, 0, 1, 1, 0, 1, 1, 1}, at::kFloat);
  const at::Tensor errors = (x.sum(1) - 1).square();  // weights (1, 1)
  for (const bool has_weights : {false, true}) {
    Fixture fixture({1, 0, 0});
    int64_t begin = 0;
    const auto next_batch = [&] {
      const int64_t end = begin == 0 ? 2 : 8;
      if (has_weights) fixture.objective.valid = valid.slice(0, begin, end);
      return batch_of(x.slice(0, std::exchange(begin, end), end));
    };
    const at::Tensor loss = fixture.step.mean_loss(next_batch, 2);
    const at::Tensor expected = has_weights ? (errors * valid).sum() / 6 : errors.mean();
    EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-6) << has_weights;
    EXPECT_TRUE(fixture.objective.module().is_training());
    EXPECT_TRUE(at::equal(fixture.objective.weight(), torch::ones({1, 2})));
  }
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
