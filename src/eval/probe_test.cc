#include "eval/probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/tensor/torch.h"
#include "data/image.h"
#include "data/subset_dataset.h"
#include "eval/toy_dataset.h"
#include "models/registry.h"

namespace swath::eval {
namespace {
namespace fs = std::filesystem;

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
  std::shared_ptr<models::Encoder> encoder = models::make_encoder(tiny_model(), 1);
  std::shared_ptr<models::Encoder> untrained = models::make_encoder(tiny_model(), 2);
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

// MAE's linear probe in RVSA's setting, the logistic probe of torchgeo-bench, DINO's kNN.
TEST(Probe, DefaultsAreTheProtocols) {
  const ProbeOptions options;
  EXPECT_EQ(options.linear.epochs, 100);
  EXPECT_EQ(options.linear.batch_size, 256);
  EXPECT_EQ(options.linear.base_lr, 0.1);
  EXPECT_EQ(options.linear.lars.momentum, 0.9);
  EXPECT_EQ(options.linear.lars.trust_coefficient, 0.001);
  EXPECT_EQ(options.linear.lars.weight_decay, 0);
  EXPECT_TRUE(options.linear.augment);
  EXPECT_TRUE(options.baselines);
  EXPECT_EQ(options.features.pooling, "cls");
  const data::TransformOptions training = options.transform.for_training(224, {});
  EXPECT_EQ(training.kind, "probe_crop");
  EXPECT_EQ(training.scale_min, 0.08);
  EXPECT_EQ(training.scale_max, 1);
  EXPECT_EQ(training.ratio_min, 3.0 / 4);
  EXPECT_EQ(training.ratio_max, 4.0 / 3);
  EXPECT_TRUE(training.horizontal_flip);
  const data::TransformOptions evaluation = options.transform.for_evaluation(224, {});
  EXPECT_EQ(evaluation.kind, "center_crop");
  EXPECT_EQ(std::floor(224 / evaluation.resize_ratio), 256);
  EXPECT_EQ(std::floor(512 / evaluation.resize_ratio), 585);
  EXPECT_FALSE(evaluation.horizontal_flip || evaluation.dihedral || evaluation.jpeg_fast_scale);
  EXPECT_FALSE(training.jpeg_fast_scale);
  EXPECT_EQ(options.logistic.num_c, 20);
  EXPECT_EQ(options.logistic.c_min, 1e-7);
  EXPECT_EQ(options.logistic.c_max, 1e2);
  EXPECT_EQ(options.knn.majority_k, 5);
  EXPECT_EQ(options.knn.weighted_k, (std::vector<int64_t>{10, 20, 100, 200}));
  EXPECT_EQ(options.knn.temperature, 0.07);
  EXPECT_EQ(FewShotOptions().shots, (std::vector<int64_t>{1, 5, 10, 20}));
  EXPECT_EQ(options.few_shot.episodes, 20);
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
  const std::string before = hash_of_weights(fixture.encoder->module());
  const Json report = run_probe(fixture.inputs, options);
  EXPECT_EQ(hash_of_weights(fixture.encoder->module()), before);
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
  // A class that no test image has needs no name that the training set knows.
  const auto without = std::make_shared<data::SubsetDataset>(
      test, std::vector<int64_t>{0, 2}, std::vector<int64_t>{0, 2},
      std::vector<std::string>{"class_2", "glacier", "class_3"});
  EXPECT_EQ(with_classes_of(without, *train)->sample(1).label, 3);
}

TEST(Probe, BandsMustFitTheCheckpoint) {
  Fixture fixture;
  fixture.inputs.normalization = {{1, 2}, {1, 1}};
  EXPECT_THROW(run_probe(fixture.inputs, quick_options()), UsageError);
  fixture.inputs.normalization = toy_normalization();
  fixture.inputs.bands = {0, 1};
  EXPECT_THROW(run_probe(fixture.inputs, quick_options()), UsageError);
}

Json report_of_split(double top1, double baseline) {
  return {{"top1", top1},
          {"interval", {0.1, 0.2}},
          {"best_epoch", 3},
          {"train_images", 50},
          {"history", {{{"epoch", 1}, {"top1", top1}}}},
          {"knn", {{"weighted", {{{"k", 10}, {"top1", 0.1}}, {{"k", 20}, {"top1", top1}}}}}},
          {"few_shot", {{"shots", {{{"shots", 5}, {"logistic", {{"mean", top1}}}}}}}},
          {"baselines", {{"band_statistics", {{"logistic", {{"raw", {{"top1", baseline}}}}}}}}},
          {"versus", {{"untrained", {{"difference", top1 - baseline}}}}}};
}

TEST(Probe, RepeatsAreSummarizedByPath) {
  Json a = report_of_split(0.5, 0.3);
  a["only_a"] = 1;
  const Json summary = summarize_repeats({a, report_of_split(0.7, 0.3)});
  EXPECT_DOUBLE_EQ(summary["top1"]["mean"].get<double>(), 0.6);
  EXPECT_NEAR(summary["top1"]["sd"].get<double>(), std::sqrt(0.02), 1e-12);
  EXPECT_EQ(summary["top1"]["count"], 2);
  // However deep: this one is the baseline of every report.
  EXPECT_DOUBLE_EQ(summary["baselines.band_statistics.logistic.raw.top1"]["mean"].get<double>(),
                   0.3);
  EXPECT_DOUBLE_EQ(summary["knn.weighted.20.top1"]["mean"].get<double>(), 0.6);
  EXPECT_DOUBLE_EQ(summary["knn.weighted.10.top1"]["sd"].get<double>(), 0);
  EXPECT_DOUBLE_EQ(summary["few_shot.shots.5.logistic.mean"]["mean"].get<double>(), 0.6);
  EXPECT_DOUBLE_EQ(summary["versus.untrained.difference"]["mean"].get<double>(), 0.3);
  EXPECT_FALSE(summary.contains("only_a"));
}

TEST(Probe, MergedRepeatsCompareMeansWithMeans) {
  const Json first = report_of_split(0.5, 0.2);
  const Json merged = merge_repeats({first, report_of_split(0.7, 0.4)});
  EXPECT_DOUBLE_EQ(merged["top1"].get<double>(), 0.6);
  EXPECT_NEAR(merged["baselines"]["band_statistics"]["logistic"]["raw"]["top1"].get<double>(), 0.3,
              1e-12);
  EXPECT_EQ(merged["train_images"], 50);
  EXPECT_NEAR(merged["repeats"]["top1"]["sd"].get<double>(), std::sqrt(0.02), 1e-12);
  EXPECT_EQ(merged["seeds"][0], first);
  // A mean over splits has no interval over the images of one of them.
  for (const char* key : {"interval", "best_epoch", "versus"}) {
    EXPECT_FALSE(merged.contains(key)) << key;
    EXPECT_TRUE(merged["seeds"][1].contains(key)) << key;
  }
  EXPECT_EQ(merge_repeats({first}), first);
}

// Rasters of two classes, left and right, in folders named after the images' four classes.
std::string write_rasters(const char* name, const data::Dataset& images) {
  const fs::path root = fs::path(testing::TempDir()) / name;
  fs::remove_all(root);
  data::Image raster;
  raster.width = raster.height = 16;
  raster.bands = 1;
  raster.type = data::PixelType::kUint8;
  for (int i = 0; i < 16 * 16; ++i) raster.pixels.push_back(std::byte(i % 16 < 8 ? 0 : 1));
  for (int64_t i = 0; i < images.size(); ++i) {
    const fs::path path = root / images.sample(i).name;
    fs::create_directories(path.parent_path());
    data::write_png(path, raster);
  }
  return root.string();
}

TEST(Probe, PixelsHaveClassesOfTheirOwn) {
  Fixture fixture;
  ProbeOptions options = quick_options();
  options.methods = {"knn"};
  options.pixels.train_labels = write_rasters("swath_probe_train_rasters", *fixture.inputs.train);
  options.pixels.test_labels = write_rasters("swath_probe_test_rasters", *fixture.inputs.test);
  options.pixels.most_images = 30;
  // Folders name the classes of the images, not those of the pixels.
  EXPECT_THROW(run_probe(fixture.inputs, options), UsageError);
  options.pixels.class_names = {"west", "east"};
  const Json report = run_probe(fixture.inputs, options)["pixels"];
  EXPECT_EQ(report["train_images"], 30);
  EXPECT_EQ(report["confusion"].size(), 2U);
  EXPECT_EQ(report["pixels"], 30 * 16 * 16);
  // The position table tells a token's place; interpolation blurs the border.
  EXPECT_GT(report["mean_iou"].get<double>(), 0.75);
  // Statistics of a patch do not.
  EXPECT_LT(report["baselines"]["band_statistics"]["mean_iou"].get<double>(), 0.6);
  EXPECT_TRUE(report["baselines"]["untrained"].contains("mean_iou"));
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
