#include "eval/grouped_scores.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "eval/class_means.h"
#include "eval/metrics.h"

namespace swath::eval {
namespace {

// Resampling fewer says nothing of how much they differ.
constexpr int64_t kFewestGroups = 5;

struct NamedStatistic {
  const char* name;
  double (ConfusionMatrix::*value)() const;
};

const std::vector<NamedStatistic>& statistics() {
  static const std::vector<NamedStatistic> all = {
      {"top1", &ConfusionMatrix::accuracy},
      {"balanced_accuracy", &ConfusionMatrix::balanced_accuracy},
      {"macro_f1", &ConfusionMatrix::macro_f1_of_present},
      {"kappa", &ConfusionMatrix::kappa}};
  return all;
}

Json describe_subset(const TestGroups& test, const std::vector<int64_t>& predicted,
                     const std::vector<int64_t>& images, int64_t num_classes) {
  ConfusionMatrix matrix(num_classes);
  for (const int64_t i : images) {
    matrix.add(test.labels[static_cast<size_t>(i)], predicted[static_cast<size_t>(i)]);
  }
  return Json{{"images", matrix.total()},
              {"top1", matrix.accuracy()},
              {"balanced_accuracy", matrix.balanced_accuracy()}};
}

}  // namespace

int64_t TestGroups::num_groups() const {
  return groups.empty() ? 0 : *std::max_element(groups.begin(), groups.end()) + 1;
}

Json score_groups(const TestGroups& test, std::span<const float> scores, int64_t num_classes,
                  uint64_t seed) {
  if (test.groups.size() != test.labels.size()) {
    throw Error(fmt::format("clouds: {} labels, but groups of {}.", test.labels.size(),
                            test.groups.size()));
  }
  const Accuracy accuracy = measure_accuracy(scores, test.labels, num_classes);
  const std::vector<int64_t> predicted = predict_classes(scores, num_classes);
  ConfusionMatrix matrix(num_classes);
  matrix.add(test.labels, predicted);

  Json report{{"top5", accuracy.top5}};
  std::vector<MatrixStatistic> resampled;
  for (const NamedStatistic& statistic : statistics()) {
    report[statistic.name] = (matrix.*statistic.value)();
    resampled.emplace_back(
        [&statistic](const ConfusionMatrix& m) { return (m.*statistic.value)(); });
  }
  report["intervals"] = Json::object();
  if (test.num_groups() >= kFewestGroups) {
    const std::vector<Interval> intervals =
        group_bootstrap(test.labels, predicted, test.groups, num_classes, resampled, seed);
    for (size_t s = 0; s < intervals.size(); ++s) {
      report["intervals"][statistics()[s].name] = to_json(intervals[s]);
    }
  }
  Json recall = Json::array();
  for (const double value : matrix.recall_per_class()) {
    recall.push_back(value < 0 ? Json() : Json(value));
  }
  report["recall"] = std::move(recall);
  report["absent_classes"] = matrix.absent_classes();
  report["confusion"] = matrix.to_json();
  Json physics = Json::object();
  for (size_t p = 0; p < test.property_names.size(); ++p) {
    physics[test.property_names[p]] =
        to_json(compare_class_means(test.labels, predicted, test.properties[p], num_classes));
  }
  report["physics"] = std::move(physics);
  Json subsets = Json::object();
  for (const auto& [name, images] : test.subsets) {
    subsets[name] = describe_subset(test, predicted, images, num_classes);
  }
  report["subsets"] = std::move(subsets);
  return report;
}

}  // namespace swath::eval
