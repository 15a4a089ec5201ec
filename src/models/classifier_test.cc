#include "models/classifier.h"

#include "core/error.h"
#include "models/fixture.h"
#include "models/registry.h"
#include "ops/backend.h"

namespace swath::models {
namespace {

TEST(Classifier, MatchesPython) {
  for (const char* backend : {"reference", "fused"}) {
    ops::set_backend(backend);
    for (const char* name : {"classifier_token", "classifier_avg"}) {
      for (const auto& [type, tolerance] :
           {std::pair{at::kDouble, 1e-10}, std::pair{at::kFloat, 1e-5}}) {
        SCOPED_TRACE(std::string(name) + " " + backend + " " + c10::toString(type));
        const Fixture fixture(name);
        ClassifierOptions options;
        options.num_classes = 5;
        options.pool = fixture.config()["pool"];
        options.label_smoothing = 0.1;
        Classifier classifier(fixture.dimensions(), options, 0);
        fixture.fill(classifier.module(), type);
        expect_classifier_near(classifier, fixture, type, tolerance);
      }
    }
  }
  ops::set_backend("fused");
}

ModelOptions small_model() {
  ModelOptions options;
  options.name = "vit_pico";
  options.width = 32;
  options.depth = 3;
  return options;
}

Batch make_batch(const std::vector<uint64_t>& ids) {
  Batch batch;
  torch::manual_seed(3);
  batch.images_BCHW = at::randn({static_cast<int64_t>(ids.size()), 3, 32, 32});
  batch.labels_B = at::arange(static_cast<int64_t>(ids.size())).remainder(4);
  batch.sample_ids = ids;
  return batch;
}

double loss_of(Classifier& classifier, const Batch& batch) {
  UnitRunner runner;
  return classifier.loss(batch, runner).loss.item<double>();
}

// A head as drawn (deviation 2e-5) hides what happens before it.
std::shared_ptr<Classifier> make_loud(const ClassifierOptions& options) {
  auto classifier = make_classifier(small_model(), options, 1);
  const at::NoGradGuard no_grad;
  classifier->module().named_parameters()["head.weight"].mul_(1e5);
  return classifier;
}

TEST(Classifier, DropPathIsReplayedAndOffInEvaluation) {
  ClassifierOptions options;
  options.num_classes = 4;
  const auto plain = make_loud(options);
  options.drop_path = 0.9;
  const auto dropped = make_loud(options);
  const Batch batch = make_batch({1, 2, 3, 4});
  const double first = loss_of(*dropped, batch);
  EXPECT_EQ(first, loss_of(*dropped, batch));
  EXPECT_NE(first, loss_of(*plain, batch));
  Batch other = batch;
  other.epoch = 1;
  EXPECT_NE(first, loss_of(*dropped, other));
  dropped->module().eval();
  plain->module().eval();
  EXPECT_EQ(loss_of(*dropped, batch), loss_of(*plain, batch));
}

// The first block is never dropped, and kept branches are scaled to keep the mean.
TEST(Classifier, DropPathKeepsTheMean) {
  ClassifierOptions options;
  options.num_classes = 4;
  options.drop_path = 0.5;
  const auto dropped = make_loud(options);
  options.drop_path = 0;
  const auto plain = make_loud(options);
  std::vector<uint64_t> ids(512);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = i;
  Batch batch = make_batch(ids);
  batch.images_BCHW = batch.images_BCHW.slice(0, 0, 1).expand({512, -1, -1, -1}).contiguous();
  batch.labels_B.zero_();
  const double mean = loss_of(*dropped, batch);
  EXPECT_NEAR(mean, loss_of(*plain, batch), 0.15 * std::abs(mean));
}

TEST(Classifier, MixupBlendsImagesAndTargets) {
  ClassifierOptions options;
  options.num_classes = 4;
  options.mixup = 0.8;
  const auto mixed = make_loud(options);
  options.mixup = 0;
  const auto plain = make_loud(options);
  const Batch batch = make_batch({1, 2, 3, 4});
  EXPECT_EQ(loss_of(*mixed, batch), loss_of(*mixed, batch));
  EXPECT_NE(loss_of(*mixed, batch), loss_of(*plain, batch));
  mixed->module().eval();
  EXPECT_EQ(loss_of(*mixed, batch), loss_of(*plain, batch));
}

TEST(Classifier, SoftTargetsAreUsedAsTheyAre) {
  ClassifierOptions options;
  options.num_classes = 4;
  const auto classifier = make_loud(options);
  const Batch batch = make_batch({1, 2});
  UnitRunner runner;
  const at::Tensor even = at::full({2, 4}, 0.25);
  const double loss = classifier->loss(batch, even, runner).loss.item<double>();
  const at::Tensor logits = classifier->logits(batch.images_BCHW, runner);
  EXPECT_NEAR(loss, -at::log_softmax(logits, -1).mean().item<double>(), 1e-6 * loss);
}

TEST(Classifier, RefusesDataWithoutLabels) {
  ClassifierOptions options;
  EXPECT_THROW(make_classifier(small_model(), options, 1), UsageError);
  options.num_classes = 4;
  const auto classifier = make_classifier(small_model(), options, 1);
  Batch batch = make_batch({1});
  batch.labels_B = at::Tensor();
  UnitRunner runner;
  EXPECT_THROW(classifier->loss(batch, runner), Error);
}

}  // namespace
}  // namespace swath::models
