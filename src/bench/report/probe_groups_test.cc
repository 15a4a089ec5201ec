#include "bench/report/probe_groups.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bench/report/probe_format.h"
#include "core/error.h"

namespace swath::bench {
namespace {

RunDirectory run_with(const std::string& name, const std::vector<Json>& probes) {
  RunDirectory run;
  run.name = name;
  for (const Json& probe : probes) run.probes.push_back({"probe.json", normalized_probe(probe)});
  return run;
}

Json baseline(const std::string& name, double top1) { return {{"name", name}, {"top1", top1}}; }

TEST(ProbeGroups, RunsOnOneDataSetAreComparedOnce) {
  const Json strong = {{"dataset", "UCM"},
                       {"top1", 0.8},
                       {"best_top1", 0.82},
                       {"best_epoch", 1},
                       {"history", {{{"epoch", 1}, {"top1", 0.82}}, {{"epoch", 2}, {"top1", 0.8}}}},
                       {"baselines", {baseline("untrained", 0.6), baseline("mean", 0.4)}},
                       {"knn", {{"top1", 0.7}}}};
  const Json weak = {{"dataset", "UCM"},
                     {"top1", 0.5},
                     {"baselines", {baseline("mean", 0.4), baseline("untrained", 0.61)}}};
  const Json other = {{"dataset", "EuroSAT"}, {"top1", 0.9}};
  const std::vector<RunDirectory> runs = {run_with("a", {strong, other}), run_with("b", {weak})};
  const std::vector<ProbeGroup> groups = group_probes(runs);
  ASSERT_EQ(groups.size(), 2U);
  const ProbeGroup& group = groups[0];
  std::vector<std::string> names;
  names.reserve(group.methods.size());
  for (const ProbeMethod& method : group.methods) names.push_back(method.name);
  // "mean" is the same in both runs and stands once; the two untrained encoders differ.
  EXPECT_EQ(names,
            (std::vector<std::string>{"a · linear probe", "a · nearest neighbours",
                                      "b · linear probe", "mean", "untrained", "b · untrained"}));
  EXPECT_EQ(group.methods[0].best_epoch, 1);
  EXPECT_EQ(headline_method(group, 1)->top1, 0.5);
  EXPECT_EQ(best_baseline(group)->top1, 0.61);
  EXPECT_EQ(best_baseline(groups[1]), nullptr);
  EXPECT_EQ(headline_method(groups[1], 1), nullptr);
}

TEST(ProbeGroups, SeveralProbesOfARunHaveDifferentLabels) {
  RunDirectory run = run_with("a", {{{"top1", 0.5}}, {{"top1", 0.6}}});
  run.probes[1].file = "probe_seed1.json";
  const std::vector<RunDirectory> runs = {run};
  const std::vector<ProbeGroup> groups = group_probes(runs);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].probes[0].label, "linear probe");
  EXPECT_EQ(groups[0].probes[1].label, "linear probe (probe_seed1.json)");
}

// Truth "a": 6 right, 2 taken for "b"; truth "b": 1 taken for "a", 3 right; "c" has no image.
ProbeResult small_confusion() {
  const Json confusion = {{"classes", {"a", "b", "c"}},
                          {"matrix", {{6, 2, 0}, {1, 3, 0}, {0, 0, 0}}}};
  return {"probe.json", {{"confusion", confusion}}};
}

TEST(ProbeGroups, ClassScoresAreThoseOfTheMatrix) {
  const std::vector<ClassScore> scores = class_scores(small_confusion());
  ASSERT_EQ(scores.size(), 3U);
  EXPECT_EQ(scores[0].images, 8);
  EXPECT_DOUBLE_EQ(scores[0].recall, 6.0 / 8);
  EXPECT_DOUBLE_EQ(scores[0].precision, 6.0 / 7);
  EXPECT_DOUBLE_EQ(scores[0].f1, 12.0 / 15);
  EXPECT_EQ(scores[2].images, 0);
  EXPECT_TRUE(std::isnan(scores[2].recall));
}

TEST(ProbeGroups, MistakesComeMostFrequentFirst) {
  const Confusion confusion = confusion_of(small_confusion());
  const std::vector<Mistake> mistakes = worst_mistakes(confusion, 5);
  ASSERT_EQ(mistakes.size(), 2U);
  EXPECT_EQ(mistakes[0].truth, "a");
  EXPECT_EQ(mistakes[0].prediction, "b");
  EXPECT_DOUBLE_EQ(mistakes[0].share, 0.25);
  EXPECT_EQ(worst_mistakes(confusion, 1).size(), 1U);
}

TEST(ProbeGroups, MatricesThatDoNotFitAreRefused) {
  const auto confusion = [](const Json& classes, const Json& matrix) {
    return ProbeResult{"probe.json", {{"confusion", {{"classes", classes}, {"matrix", matrix}}}}};
  };
  const Json two = {"a", "b"};
  EXPECT_NO_THROW(confusion_of(confusion(two, {{1, 0}, {0, 1}})));
  EXPECT_THROW(confusion_of(confusion(two, {{1, 0}})), Error);
  EXPECT_THROW(confusion_of(confusion(two, {{1, 0}, {0}})), Error);
  EXPECT_THROW(confusion_of(confusion(two, {{1, 0}, {0, -1}})), Error);
  EXPECT_THROW(confusion_of(confusion(two, {{1, 0}, {0, nullptr}})), Error);
}

}  // namespace
}  // namespace swath::bench
