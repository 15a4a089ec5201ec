#include "bench/report/probe_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace swath::bench {
namespace {

std::string dataset_of(const ProbeResult& probe) {
  const std::string dataset = text_of(probe.values, "dataset");
  return dataset.empty() ? "unnamed data" : dataset;
}

// The main method of a probe, under whose name its curves go.
std::string main_name(const ProbeResult& probe) {
  for (const Json& method : array_of(probe.values, "methods")) {
    if (!method.value("baseline", false)) return text_of(method, "name");
  }
  return "probe";
}

ProbeMethod method_from(const Json& values) {
  ProbeMethod method;
  method.name = text_of(values, "name");
  method.is_baseline = values.value("baseline", false);
  method.is_main = values.value("main", false);
  method.top1 = number_of(values, "top1");
  method.top1_std = number_of(values, "top1_std");
  method.low = number_of(values, "low");
  method.high = number_of(values, "high");
  method.top5 = number_of(values, "top5");
  method.balanced_accuracy = number_of(values, "balanced_accuracy");
  method.best_top1 = number_of(values, "best_top1");
  const double best_epoch = number_of(values, "best_epoch");
  if (!std::isnan(best_epoch)) method.best_epoch = static_cast<int>(best_epoch);
  return method;
}

bool same_baseline(const ProbeMethod& a, const ProbeMethod& b) {
  return a.is_baseline && b.is_baseline && a.name == b.name && std::abs(a.top1 - b.top1) < 1e-9;
}

void add_methods(const ProbeOfRun& source, const std::string& run_prefix, ProbeGroup& group) {
  for (const Json& values : array_of(source.probe->values, "methods")) {
    ProbeMethod method = method_from(values);
    if (!method.is_baseline) {
      method.run = source.run;
      method.name = method.is_main ? source.label : run_prefix + method.name;
      // Only curves have a best epoch that is not the last.
      if (array_of(source.probe->values, "history").empty()) method.best_top1 = kNoNumber;
      group.methods.push_back(std::move(method));
      continue;
    }
    const auto is_same = [&](const ProbeMethod& other) { return same_baseline(method, other); };
    if (std::any_of(group.methods.begin(), group.methods.end(), is_same)) continue;
    const bool name_is_taken = std::any_of(
        group.methods.begin(), group.methods.end(),
        [&](const ProbeMethod& other) { return other.is_baseline && other.name == method.name; });
    if (name_is_taken) method.name = run_prefix + method.name;
    method.best_top1 = kNoNumber;
    group.methods.push_back(std::move(method));
  }
}

// Throws Error naming the file for what is no square matrix of counts by these classes.
Confusion checked_confusion(const Json& classes, const Json& matrix, const std::string& file) {
  Confusion confusion;
  for (const Json& name : classes) {
    confusion.classes.push_back(name.is_string() ? name.get<std::string>() : name.dump());
  }
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("{}: the confusion matrix {}.", file, what));
  };
  if (matrix.size() != confusion.classes.size()) {
    fail(fmt::format("has {} rows for {} classes", matrix.size(), confusion.classes.size()));
  }
  for (const Json& row : matrix) {
    if (!row.is_array() || row.size() != matrix.size()) fail("is not square");
    std::vector<double>& counts = confusion.counts.emplace_back();
    for (const Json& count : row) {
      const double value = count.is_number() ? count.get<double>() : -1;
      if (!(value >= 0) || std::isinf(value)) fail("holds something that is no count");
      counts.push_back(value);
    }
  }
  return confusion;
}

}  // namespace

std::vector<ProbeGroup> group_probes(const std::vector<RunDirectory>& runs) {
  std::vector<ProbeGroup> groups;
  for (size_t r = 0; r < runs.size(); ++r) {
    for (const ProbeResult& probe : runs[r].probes) {
      const std::string dataset = dataset_of(probe);
      auto group = std::find_if(groups.begin(), groups.end(),
                                [&](const ProbeGroup& g) { return g.dataset == dataset; });
      if (group == groups.end()) group = groups.insert(groups.end(), ProbeGroup{dataset, {}, {}});

      const std::string run_prefix = runs.size() > 1 ? runs[r].name + " · " : std::string();
      ProbeOfRun source{static_cast<int>(r), &probe, run_prefix + main_name(probe)};
      const bool label_is_taken =
          std::any_of(group->probes.begin(), group->probes.end(),
                      [&](const ProbeOfRun& other) { return other.label == source.label; });
      if (label_is_taken) source.label += fmt::format(" ({})", probe.file);
      add_methods(source, run_prefix, *group);
      group->probes.push_back(std::move(source));
    }
  }
  for (ProbeGroup& group : groups) {
    const auto first_baseline =
        std::stable_partition(group.methods.begin(), group.methods.end(),
                              [](const ProbeMethod& method) { return !method.is_baseline; });
    std::stable_sort(first_baseline, group.methods.end(),
                     [](const ProbeMethod& a, const ProbeMethod& b) { return a.top1 < b.top1; });
  }
  return groups;
}

const ProbeMethod* headline_method(const ProbeGroup& group, int run) {
  for (const ProbeMethod& method : group.methods) {
    if (method.run == run && method.is_main && !method.is_baseline) return &method;
  }
  return nullptr;
}

const ProbeMethod* best_baseline(const ProbeGroup& group) {
  const ProbeMethod* best = nullptr;
  for (const ProbeMethod& method : group.methods) {
    if (!method.is_baseline || !method.is_main) continue;
    if (best == nullptr || method.top1 > best->top1) best = &method;
  }
  return best;
}

PairedDifferences paired_differences(const ProbeGroup& group, int run) {
  const auto read = [](const Json& row) {
    return PairedDifference{number_of(row, "difference"), number_of(row, "low"),
                            number_of(row, "high")};
  };
  const ProbeMethod* baseline = best_baseline(group);
  if (baseline == nullptr) return {};
  for (const ProbeOfRun& source : group.probes) {
    if (source.run != run) continue;
    for (const Json& row : array_of(source.probe->values, "versus")) {
      if (text_of(row, "name") != baseline->name) continue;
      return {read(row), read(object_of(row, "balanced"))};
    }
    return {};
  }
  return {};
}

double Confusion::row_sum(size_t truth) const {
  return std::accumulate(counts[truth].begin(), counts[truth].end(), 0.0);
}

Confusion confusion_of(const ProbeResult& probe) {
  const Json& confusion = object_of(probe.values, "confusion");
  if (confusion.empty()) return {};
  return checked_confusion(array_of(confusion, "classes"), array_of(confusion, "matrix"),
                           probe.file);
}

Confusion confusion_of(const CloudResult& result) {
  for (const Json& row : array_of(result.values, "rows")) {
    if (text_of(row, "method") != "probe" || number_of(row, "fraction") != 1) continue;
    const Json& matrix = array_of(row, "confusion");
    if (matrix.empty()) return {};
    return checked_confusion(array_of(result.values, "class_names"), matrix, result.file);
  }
  return {};
}

std::vector<ClassScore> class_scores(const ProbeResult& probe) {
  std::vector<ClassScore> scores;
  for (const Json& entry : array_of(probe.values, "per_class")) {
    scores.push_back({text_of(entry, "name"), number_of(entry, "images"),
                      number_of(entry, "recall"), number_of(entry, "precision"),
                      number_of(entry, "f1")});
  }
  if (!scores.empty()) return scores;
  const Confusion confusion = confusion_of(probe);
  for (size_t c = 0; c < confusion.classes.size(); ++c) {
    const double hits = confusion.counts[c][c];
    const double images = confusion.row_sum(c);
    double predictions = 0;
    for (const auto& row : confusion.counts) predictions += row[c];
    ClassScore score{confusion.classes[c], images, kNoNumber, kNoNumber, kNoNumber};
    if (images > 0) score.recall = hits / images;
    if (predictions > 0) score.precision = hits / predictions;
    if (images + predictions > 0) score.f1 = 2 * hits / (images + predictions);
    scores.push_back(score);
  }
  return scores;
}

std::vector<Mistake> worst_mistakes(const Confusion& confusion, size_t limit) {
  std::vector<Mistake> mistakes;
  for (size_t truth = 0; truth < confusion.classes.size(); ++truth) {
    const double sum = confusion.row_sum(truth);
    for (size_t prediction = 0; prediction < confusion.classes.size(); ++prediction) {
      const double count = confusion.counts[truth][prediction];
      if (truth == prediction || count == 0) continue;
      mistakes.push_back(
          {confusion.classes[truth], confusion.classes[prediction], count, count / sum});
    }
  }
  std::stable_sort(mistakes.begin(), mistakes.end(),
                   [](const Mistake& a, const Mistake& b) { return a.count > b.count; });
  if (mistakes.size() > limit) mistakes.resize(limit);
  return mistakes;
}

}  // namespace swath::bench
