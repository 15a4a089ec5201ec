#include "eval/linear_probe.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "core/tensor/tensor_io.h"
#include "core/tensor/torch.h"
#include "optim/schedule.h"

namespace swath::eval {
namespace {

// testdata/eval/make_linear_probe.py: PyTorch's BatchNorm1d and Linear, LARS written out.
TEST(LinearProbe, FollowsTheReferenceStepByStep) {
  const SafetensorsFile fixture(SWATH_TESTDATA "/eval/linear_probe.safetensors");
  const at::Tensor features = read_tensor(fixture, "features");
  const at::Tensor labels = read_tensor(fixture, "labels");
  const at::Tensor losses = read_tensor(fixture, "losses");
  const at::Tensor rates = read_tensor(fixture, "rates");
  ProbeHead head(6, 3, 0);
  {
    at::NoGradGuard no_grad;
    head.weight.copy_(read_tensor(fixture, "initial_weight"));
  }
  ProbeTrainer trainer(head, {});
  optim::ScheduleOptions schedule;
  schedule.base_lr = 5;
  schedule.warmup_epochs = 2;
  const double peak = optim::peak_learning_rate(schedule, 16);
  for (int64_t step = 0; step < losses.size(0); ++step) {
    const double lr = optim::learning_rate_at(schedule, peak, static_cast<double>(step) / 4, 10);
    EXPECT_NEAR(lr, rates[step].item<double>(), 1e-15);
    const int64_t begin = step % 4 * 16;
    const at::Tensor loss = trainer.step(
        {features.slice(0, begin, begin + 16), labels.slice(0, begin, begin + 16)}, lr);
    EXPECT_NEAR(loss.item<double>(), losses[step].item<double>(), 2e-6) << step;
  }
  const auto expect_close = [&](const at::Tensor& found, const char* name) {
    const at::Tensor expected = read_tensor(fixture, name);
    EXPECT_LT((found - expected).abs().max().item<double>(),
              2e-6 * std::max(1.0, expected.abs().max().item<double>()))
        << name;
  };
  expect_close(head.weight, "weight");
  expect_close(head.bias, "bias");
  expect_close(head.running_mean, "running_mean");
  expect_close(head.running_var, "running_var");
  head.eval();
  expect_close(head.forward(read_tensor(fixture, "test")), "test_logits");
}

TEST(LinearProbe, BatchNormalisationTrainsOnBatchesAndTestsOnRunningStatistics) {
  ProbeHead head(2, 2, 1);
  {
    at::NoGradGuard no_grad;
    head.weight.copy_(torch::eye(2));
  }
  const at::Tensor batch = torch::tensor({{10.0F, 0.0F}, {14.0F, 8.0F}});
  head.train();
  const at::Tensor trained = head.forward(batch);
  EXPECT_NEAR(trained[0][0].item<double>(), -1, 1e-5);
  EXPECT_NEAR(trained[1][1].item<double>(), 1, 1e-5);
  // Momentum 0.1, unbiased variance: 8 and 32.
  EXPECT_NEAR(head.running_mean[0].item<double>(), 1.2, 1e-6);
  EXPECT_NEAR(head.running_var[1].item<double>(), 0.9 + 3.2, 1e-5);
  head.eval();
  const at::Tensor evaluated = head.forward(batch);
  EXPECT_NEAR(evaluated[0][0].item<double>(), (10 - 1.2) / std::sqrt(0.9 + 0.8), 1e-4);
  EXPECT_NEAR(head.running_mean[0].item<double>(), 1.2, 1e-6);  // unchanged
  // Nothing but the linear layer is trained.
  EXPECT_EQ(head.parameters().size(), 2U);
}

FeatureSet clusters(int64_t per_class, double separation, uint64_t seed) {
  torch::manual_seed(seed);
  FeatureSet set;
  set.labels_N = torch::arange(4).repeat({per_class});
  set.features_ND =
      torch::eye(4, 16).repeat({per_class, 1}) * separation + torch::randn({per_class * 4, 16}) + 3;
  return set;
}

TEST(LinearProbe, LearnsClustersAndReportsLastAndBest) {
  const FeatureSet train = clusters(64, 4, 1);
  const FeatureSet test = clusters(50, 4, 2);
  LinearProbeOptions options;
  options.epochs = 60;
  options.batch_size = 128;
  // The trust ratio lets a weight grow by about eta * lr * 10 per step: 120 steps need a large
  // rate.
  options.base_lr = 50;
  CachedFeatures source(train, options.batch_size, 3, at::kCPU);
  const LinearProbeResult result = train_linear_probe(source, test, 4, options, 3, at::kCPU);
  ASSERT_EQ(result.history.size(), 60U);
  EXPECT_EQ(result.steps_per_epoch, 2);
  EXPECT_GT(result.last.top1, 0.9);
  EXPECT_EQ(result.last.top1, result.history.back().top1);
  double best = 0;
  for (const ProbeEpoch& record : result.history) best = std::max(best, record.top1);
  EXPECT_EQ(result.best_top1, best);
  EXPECT_EQ(result.history[static_cast<size_t>(result.best_epoch - 1)].top1, best);
  EXPECT_LT(result.history.back().train_loss, result.history.front().train_loss);
  // The peak is 50 * 128 / 256, reached after ten epochs.
  EXPECT_NEAR(result.history[10].lr, 25, 0.05);
  EXPECT_NEAR(result.history[0].lr, 25 * 0.5 / 10, 1e-12);
  EXPECT_EQ(result.confusion.total(), 200);
  EXPECT_NEAR(result.confusion.accuracy(), result.last.top1, 1e-12);

  const Json json = to_json(result, 0);
  EXPECT_EQ(json["history"].size(), 60U);
  EXPECT_LE(json["interval"][0].get<double>(), result.last.top1);

  CachedFeatures again(train, options.batch_size, 3, at::kCPU);
  EXPECT_EQ(train_linear_probe(again, test, 4, options, 3, at::kCPU).history.back().train_loss,
            result.history.back().train_loss);
}

TEST(LinearProbe, ShuffledLabelsGiveChance) {
  FeatureSet train = clusters(64, 4, 1);
  const FeatureSet test = clusters(100, 4, 2);
  torch::manual_seed(9);
  train.labels_N = train.labels_N.index_select(0, torch::randperm(256)).contiguous();
  LinearProbeOptions options;
  options.epochs = 20;
  options.batch_size = 64;
  options.base_lr = 50;
  CachedFeatures source(train, 64, 0, at::kCPU);
  const LinearProbeResult result = train_linear_probe(source, test, 4, options, 0, at::kCPU);
  // Four clusters fall to classes as wholes, so the spread is that of clusters, not of images.
  EXPECT_LT(result.last.top1, 0.6);
}

TEST(LinearProbe, SmallTrainingSetsKeepTheirOnlyBatch) {
  EXPECT_TRUE(drops_last_batch(1050, 256));  // four steps, as the reference lists for UCM
  EXPECT_TRUE(drops_last_batch(256, 256));
  EXPECT_FALSE(drops_last_batch(1000, 1024));
  EXPECT_THROW(drops_last_batch(1, 256), UsageError);
  const FeatureSet train = clusters(10, 4, 1);
  EXPECT_EQ(CachedFeatures(train, 256, 0, at::kCPU).batches_per_epoch(), 1);
  EXPECT_EQ(CachedFeatures(train, 16, 0, at::kCPU).batches_per_epoch(), 2);
  CachedFeatures source(train, 256, 0, at::kCPU);
  EXPECT_EQ(source.next().labels_B.size(0), 40);
}

TEST(LinearProbe, AnEpochSeesEverySampleOnceInANewOrder) {
  const FeatureSet train = clusters(8, 1, 1);
  CachedFeatures source(train, 16, 5, at::kCPU);
  std::vector<at::Tensor> epochs;
  for (int epoch = 0; epoch < 2; ++epoch) {
    const at::Tensor first = source.next().features_BD;
    epochs.push_back(torch::cat({first, source.next().features_BD}));
  }
  EXPECT_FALSE(torch::equal(epochs[0], epochs[1]));
  const auto sorted = [](const at::Tensor& rows) { return std::get<0>(rows.flatten().sort()); };
  EXPECT_TRUE(torch::equal(sorted(epochs[0]), sorted(train.features_ND)));
  EXPECT_TRUE(torch::equal(sorted(epochs[1]), sorted(train.features_ND)));
}

class NoSteps : public TrainingFeatures {
 public:
  FeatureBatch next() override { return {}; }
  int64_t batches_per_epoch() const override { return 0; }
};

TEST(LinearProbe, RefusesARunWithoutSteps) {
  NoSteps source;
  EXPECT_THROW(train_linear_probe(source, clusters(2, 1, 1), 4, {}, 0, at::kCPU), UsageError);
  LinearProbeOptions options;
  options.epochs = 5;
  options.warmup_epochs = 10;
  const FeatureSet train = clusters(8, 1, 1);
  CachedFeatures cached(train, 16, 0, at::kCPU);
  EXPECT_THROW(train_linear_probe(cached, train, 4, options, 0, at::kCPU), UsageError);
}

TEST(LinearProbe, WarmUpOfShortRuns) {
  LinearProbeOptions options;
  EXPECT_EQ(options.resolved_warmup_epochs(), 10);
  options.epochs = 90;
  EXPECT_EQ(options.resolved_warmup_epochs(), 10);
  options.epochs = 10;
  EXPECT_EQ(options.resolved_warmup_epochs(), 2);
  options.warmup_epochs = 0;
  EXPECT_EQ(options.resolved_warmup_epochs(), 0);
}

TEST(LinearProbe, ADivergedProbeIsAnError) {
  FeatureSet train = clusters(8, 1, 1);
  const FeatureSet test = train;
  train.features_ND = train.features_ND.clone();
  train.features_ND[3][2] = NAN;
  CachedFeatures source(train, 32, 0, at::kCPU);
  EXPECT_THROW(train_linear_probe(source, test, 4, {}, 0, at::kCPU), Error);
}

}  // namespace
}  // namespace swath::eval
