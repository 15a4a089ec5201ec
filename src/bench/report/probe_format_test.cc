#include "bench/report/probe_format.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bench/report/json_fields.h"

namespace swath::bench {
namespace {

// What swath probe writes, as src/eval/probe.h describes it.
Json probe_report(double top1) {
  const Json few_shot = {
      {"shots", {{{"shots", 5}, {"logistic", {{"mean", 0.5}, {"interval", {0.4, 0.6}}}}}}}};
  return {
      {"top1", top1},
      {"top5", 0.95},
      {"best_top1", top1 + 0.01},
      {"best_epoch", 3},
      {"interval", {top1 - 0.02, top1 + 0.02}},
      {"balanced_accuracy", 0.7},
      {"history", {{{"epoch", 1}, {"top1", top1}, {"train_loss", 1.0}}}},
      {"confusion", {{8, 2}, {1, 9}}},
      {"logistic", {{"raw", {{"top1", 0.81}}}, {"standardized", {{"top1", 0.82}}}}},
      {"knn",
       {{"weighted",
         {{{"k", 10}, {"top1", 0.7}}, {{"k", 20}, {"top1", 0.71}}, {{"k", 100}, {"top1", 0.6}}}}}},
      {"few_shot", few_shot},
      {"method", "linear"},
      {"class_names", {"a", "b"}},
      {"classes", 2},
      {"test_images", 20},
      {"baselines",
       {{"untrained",
         {{"method", "linear"},
          {"top1", 0.6},
          {"logistic", {{"raw", {{"top1", 0.65}}}}},
          {"few_shot", few_shot}}},
        {"majority_class", 0.25},
        {"band_statistics",
         {{"method", "logistic"}, {"top1", 0.5}, {"logistic", {{"raw", {{"top1", 0.5}}}}}}}}},
      {"versus",
       {{"untrained",
         {{"difference", 0.2},
          {"interval", {0.15, 0.25}},
          {"balanced", {{"difference", 0.3}, {"interval", {0.1, 0.4}}}}}},
        {"band_statistics", nullptr}}},
      {"pixels",
       {{"mean_iou", 0.4},
        {"pixel_accuracy", 0.6},
        {"iou", {{"a", 0.5}}},
        {"baselines", {{"untrained", {{"mean_iou", 0.3}}}}}}},
      {"dataset", "/data/chips/train"}};
}

Json method_called(const Json& probe, const std::string& name) {
  for (const Json& method : probe["methods"]) {
    if (method["name"].get<std::string>() == name) return method;
  }
  return nullptr;
}

TEST(ProbeFormat, ReportOfProbeIsRead) {
  const Json probe = normalized_probe(probe_report(0.8));
  EXPECT_EQ(probe["dataset"], "chips");
  ASSERT_EQ(probe["methods"].size(), 7U) << probe["methods"];
  const Json linear = method_called(probe, "linear probe");
  EXPECT_EQ(linear["top1"], 0.8);
  EXPECT_EQ(linear["low"], 0.78);
  EXPECT_EQ(linear["best_epoch"], 3);
  EXPECT_TRUE(linear["main"]);
  EXPECT_EQ(method_called(probe, "logistic probe")["top1"], 0.81);
  EXPECT_FALSE(method_called(probe, "logistic probe")["main"]);
  EXPECT_EQ(method_called(probe, "nearest neighbours")["top1"], 0.71);
  const Json untrained = method_called(probe, "untrained encoder");
  EXPECT_TRUE(untrained["baseline"]);
  EXPECT_TRUE(untrained["main"]);
  EXPECT_EQ(method_called(probe, "untrained encoder, logistic probe")["top1"], 0.65);
  EXPECT_EQ(method_called(probe, "most frequent class")["top1"], 0.25);
  EXPECT_EQ(method_called(probe, "mean and deviation of each band")["top1"], 0.5);
  ASSERT_EQ(probe["few_shot"].size(), 2U);
  EXPECT_EQ(probe["few_shot"][0]["name"], "");
  EXPECT_EQ(probe["few_shot"][0]["low"], 0.4);
  EXPECT_EQ(probe["few_shot"][1]["name"], "untrained encoder");
  EXPECT_EQ(probe["confusion"]["classes"], Json({"a", "b"}));
  ASSERT_EQ(probe["versus"].size(), 1U);
  EXPECT_EQ(probe["versus"][0]["high"], 0.25);
  EXPECT_EQ(probe["versus"][0]["balanced"]["difference"], 0.3);
  EXPECT_EQ(probe["versus"][0]["balanced"]["low"], 0.1);
  EXPECT_EQ(probe["pixels"]["methods"].size(), 2U);
  EXPECT_EQ(probe["pixels"]["iou"][0]["iou"], 0.5);
}

TEST(ProbeFormat, DerivedLabelsAreNamedWithTheirData) {
  Json report = probe_report(0.8);
  EXPECT_EQ(normalized_probe(report)["dataset"], "chips");
  report["derived"] = "cloud phase of MOD06";
  EXPECT_EQ(normalized_probe(report)["dataset"], "chips, derived labels");
  const Json repeats = {{"dataset", "/data/chips"},
                        {"derived", "cloud phase of MOD06"},
                        {"seeds", {probe_report(0.7), probe_report(0.9)}}};
  EXPECT_EQ(normalized_probe(repeats)["dataset"], "chips, derived labels");
}

TEST(ProbeFormat, RepeatsAreAveragedAndCountsAdded) {
  Json report = probe_report(0.8);
  report["seeds"] = {probe_report(0.78), probe_report(0.82)};
  const Json probe = normalized_probe(report);
  EXPECT_EQ(probe["repeats"], 2);
  const Json linear = method_called(probe, "linear probe");
  EXPECT_NEAR(linear["top1"].get<double>(), 0.8, 1e-12);
  EXPECT_NEAR(linear["top1_std"].get<double>(), std::sqrt(0.0008), 1e-12);
  EXPECT_FALSE(linear.contains("low"));
  EXPECT_EQ(probe["confusion"]["matrix"][0][0], 16);
  EXPECT_NEAR(probe["history"][0]["top1"].get<double>(), 0.8, 1e-12);
  EXPECT_EQ(probe["history"].size(), 1U);
  EXPECT_EQ(probe["few_shot"].size(), 2U);
}

TEST(ProbeFormat, PlainTablesAreRead) {
  const Json probe = normalized_probe(
      {{"name", "mine"},
       {"dataset", "UCM"},
       {"top1", 0.5},
       {"knn", {{"top1", 0.4}}},
       {"baselines", {{{"name", "other"}, {"top1", 0.3}}}},
       {"few_shot", {{{"shots", 1}, {"top1", 0.2}}, {{"name", "other"}, {"shots", 1}}}},
       {"confusion", {{"classes", {"a"}}, {"matrix", {{1}}}}}});
  EXPECT_EQ(probe["dataset"], "UCM");
  EXPECT_EQ(method_called(probe, "mine")["top1"], 0.5);
  EXPECT_EQ(method_called(probe, "nearest neighbours")["top1"], 0.4);
  EXPECT_TRUE(method_called(probe, "other")["baseline"]);
  EXPECT_EQ(probe["few_shot"].size(), 2U);
  EXPECT_EQ(probe["confusion"]["classes"][0], "a");
}

// Whatever is in the file, the rest of the report must not suffer.
TEST(ProbeFormat, OddShapesAreLeftOut) {
  for (const Json& odd : {Json(1), Json("x"), Json(nullptr), Json({1, "x", nullptr}),
                          Json({{"shots", {1, {{"shots", {}}}}}}), Json({{"a", {{"b", 1}}}})}) {
    for (const char* key :
         {"top1", "method", "dataset", "class_names", "history", "confusion", "logistic", "knn",
          "few_shot", "baselines", "versus", "pixels", "per_class", "seeds"}) {
      Json report = probe_report(0.8);
      report[key] = odd;
      EXPECT_NO_THROW(normalized_probe(report)) << key << " = " << odd;
    }
  }
}

TEST(ProbeFormat, DataSetsAreCalledByTheirFolder) {
  const auto name = [](const char* dataset) {
    return normalized_probe({{"dataset", dataset}})["dataset"].get<std::string>();
  };
  EXPECT_EQ(name("UCM"), "UCM");
  EXPECT_EQ(name("/data/UCMerced/Images"), "UCMerced");
  EXPECT_EQ(name("chips/train/"), "chips");
  EXPECT_EQ(name("train"), "train");
  EXPECT_EQ(name(""), "");
}

}  // namespace
}  // namespace swath::bench
