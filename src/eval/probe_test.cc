#include "eval/probe.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "core/error.h"
#include "eval/toy_dataset.h"
#include "models/registry.h"

namespace swath::eval {
namespace {

models::ModelOptions tiny_model() {
  models::ModelOptions options;
  options.name = "vit_pico";
  options.width = 32;
  options.depth = 2;
  options.heads = 2;
  options.mlp = 64;
  options.patch = 4;
  options.image_size = 16;
  options.channels = 3;
  return options;
}

struct Fixture {
  std::shared_ptr<models::VisionTransformer> encoder = models::make_encoder(tiny_model(), 1);
  std::shared_ptr<models::VisionTransformer> untrained = models::make_encoder(tiny_model(), 2);
  ProbeInputs inputs;

  Fixture() {
    inputs.encoder = encoder.get();
    inputs.untrained = untrained.get();
    inputs.train = std::make_shared<ToyDataset>(24, 4, 16, 1);
    inputs.test = std::make_shared<ToyDataset>(10, 4, 16, 2);
    inputs.normalization = toy_normalization();
  }
};

ProbeOptions quick_options() {
  ProbeOptions options;
  options.transform.evaluation = "none";
  options.linear.epochs = 10;
  options.linear.batch_size = 32;
  options.logistic.num_c = 3;
  options.logistic.c_min = 1e-2;
  options.few_shot.episodes = 3;
  options.features.pooling = "both";
  return options;
}

TEST(Probe, LinearReportHasTheContractsKeysAndBaselines) {
  Fixture fixture;
  ProbeOptions options = quick_options();
  options.linear.epochs = 3;
  const Json report = run_probe(fixture.inputs, options);
  for (const char* key : {"top1", "top5", "best_top1", "train_images", "test_images", "classes",
                          "history", "baselines", "versus", "interval", "balanced_accuracy"}) {
    EXPECT_TRUE(report.contains(key)) << key;
  }
  EXPECT_EQ(report["method"], "linear");
  EXPECT_EQ(report["train_images"], 96);
  EXPECT_EQ(report["test_images"], 40);
  EXPECT_EQ(report["classes"], 4);
  EXPECT_EQ(report["history"].size(), 3U);
  EXPECT_EQ(report["augment"], true);
  for (const char* key : {"epoch", "train_loss", "lr", "top1", "top5", "test_loss"}) {
    EXPECT_TRUE(report["history"][0].contains(key)) << key;
  }
  EXPECT_EQ(report["baselines"]["untrained"]["history"].size(), 3U);
  const Json& statistics = report["baselines"]["band_statistics"];
  EXPECT_EQ(statistics["method"], "linear");
  EXPECT_EQ(statistics["history"].size(), 3U);
  EXPECT_TRUE(statistics["logistic"]["raw"]["top1"].is_number());
  for (const char* baseline : {"untrained", "band_statistics"}) {
    EXPECT_NEAR(report["versus"][baseline]["linear"]["difference"].get<double>(),
                report["top1"].get<double>() - report["baselines"][baseline]["top1"].get<double>(),
                1e-12);
  }
  EXPECT_DOUBLE_EQ(report["baselines"]["majority_class"].get<double>(), 0.25);
  EXPECT_NEAR(report["versus"]["untrained"]["difference"].get<double>(),
              report["top1"].get<double>() - report["baselines"]["untrained"]["top1"].get<double>(),
              1e-12);
}

TEST(Probe, AllMethodsOnCachedFeatures) {
  Fixture fixture;
  ProbeOptions options = quick_options();
  options.methods = {"all"};
  options.linear.augment = false;
  options.few_shot.shots = {1, 5};
  const std::string before = hash_of_weights(*fixture.encoder);
  const Json report = run_probe(fixture.inputs, options);
  EXPECT_EQ(hash_of_weights(*fixture.encoder), before);
  EXPECT_EQ(report["method"], "linear");
  EXPECT_TRUE(report["logistic"]["raw"].contains("c"));
  EXPECT_TRUE(report["knn"]["majority"].contains("top1"));
  EXPECT_EQ(report["few_shot"]["shots"].size(), 2U);
  // Waves of four directions: random features of the pixels tell them apart, statistics of a band
  // do not, except for the class with a colour.
  const double trained = report["logistic"]["raw"]["top1"];
  const double statistics = report["baselines"]["band_statistics"]["top1"];
  EXPECT_GT(trained, 0.7);
  EXPECT_LT(statistics, 0.65);
  EXPECT_TRUE(report["baselines"]["untrained"]["few_shot"].contains("full"));
  EXPECT_TRUE(report["baselines"]["band_statistics"]["few_shot"].contains("full"));
}

TEST(Probe, TheFirstMethodGivesTheMainNumber) {
  Fixture fixture;
  ProbeOptions options = quick_options();
  options.baselines = false;
  options.methods = {"knn"};
  const Json knn = run_probe(fixture.inputs, options);
  EXPECT_EQ(knn["method"], "knn");
  EXPECT_EQ(knn["top1"], knn["knn"]["weighted"][1]["top1"]);  // k = 20
  EXPECT_FALSE(knn.contains("baselines"));
  EXPECT_EQ(knn["history"].size(), 0U);
  options.methods = {"logistic"};
  options.few_shot.shots = {1};
  const Json logistic = run_probe(fixture.inputs, options);
  EXPECT_EQ(logistic["top1"], logistic["logistic"]["raw"]["top1"]);
  EXPECT_EQ(logistic["few_shot"]["shots"].size(), 1U);
}

TEST(Probe, ClassesGoByName) {
  const auto train = std::make_shared<ToyDataset>(2, 4, 16, 1);
  auto test = std::make_shared<ToyDataset>(2, 3, 16, 2);
  test->rename_classes({"class_2", "class_0", "class_3"});
  const auto matched = with_classes_of(test, *train);
  EXPECT_EQ(matched->class_names(), train->class_names());
  EXPECT_EQ(matched->sample(0).label, 2);
  EXPECT_EQ(matched->sample(1).label, 0);
  EXPECT_EQ(matched->sample(2).label, 3);
  test->rename_classes({"class_2", "glacier", "class_3"});
  try {
    with_classes_of(test, *train);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("glacier"), std::string::npos);
  }
}

TEST(Probe, BandsMustFitTheCheckpoint) {
  Fixture fixture;
  fixture.inputs.normalization = {{1, 2}, {1, 1}};
  EXPECT_THROW(run_probe(fixture.inputs, quick_options()), UsageError);
  fixture.inputs.normalization = toy_normalization();
  fixture.inputs.bands = {0, 1};
  EXPECT_THROW(run_probe(fixture.inputs, quick_options()), UsageError);
}

TEST(Probe, RepeatsAreSummarizedByPath) {
  const Json a{{"top1", 0.5}, {"logistic", {{"raw", {{"top1", 0.6}}}}}, {"only_a", 1}};
  const Json b{{"top1", 0.7}, {"logistic", {{"raw", {{"top1", 0.6}}}}}};
  const Json summary = summarize_repeats({a, b});
  EXPECT_DOUBLE_EQ(summary["top1"]["mean"].get<double>(), 0.6);
  EXPECT_NEAR(summary["top1"]["sd"].get<double>(), std::sqrt(0.02), 1e-12);
  EXPECT_EQ(summary["top1"]["count"], 2);
  EXPECT_DOUBLE_EQ(summary["logistic.raw.top1"]["sd"].get<double>(), 0);
  EXPECT_FALSE(summary.contains("only_a"));
}

TEST(Probe, EveryKeyOfTheTableIsUnique) {
  ProbeOptions options;
  const FieldTable fields = make_field_table(options);
  std::set<std::string> keys;
  for (const Field& field : fields.fields())
    EXPECT_TRUE(keys.insert(field.key()).second) << field.key();
}

}  // namespace
}  // namespace swath::eval
