#include "bench/report/probe_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bench/report/json_fields.h"

namespace swath::bench {
namespace {

const char* method_title(const std::string& method) {
  if (method == "linear" || method.empty()) return "linear probe";
  if (method == "logistic") return "logistic probe";
  if (method == "knn") return "nearest neighbours";
  if (method == "few_shot") return "convex probe on all labels";
  if (method == "finetune") return "fine-tuning";
  return nullptr;
}

std::string baseline_title(const std::string& key) {
  if (key == "untrained") return "untrained encoder";
  if (key == "band_statistics") return "mean and deviation of each band";
  if (key == "majority_class") return "most frequent class";
  return key;
}

// The name of a data set given as a path: its last part that says something.
std::string dataset_name(const std::string& dataset) {
  std::filesystem::path path(dataset);
  while (path.has_parent_path() && path.has_relative_path()) {
    const std::string last = path.filename().string();
    if (!last.empty() && last != "train" && last != "images" && last != "Images") return last;
    path = path.parent_path();
  }
  return path.string();
}

// Copies the numbers of a result that every method may have.
Json method_of(const Json& values, const std::string& name, bool is_baseline, bool is_main) {
  Json method = {{"name", name}, {"baseline", is_baseline}, {"main", is_main}};
  for (const char* key :
       {"top1", "top5", "top1_std", "best_top1", "best_epoch", "balanced_accuracy", "macro_f1"}) {
    const double value = number_of(values, key);
    if (!std::isnan(value)) method[key] = value;
  }
  const Json& interval = array_of(values, "interval");
  if (interval.size() == 2 && interval[0].is_number() && interval[1].is_number()) {
    method["low"] = interval[0];
    method["high"] = interval[1];
  }
  return method;
}

// {raw: {...}} or the object itself.
const Json& logistic_of(const Json& report) {
  const Json& logistic = object_of(report, "logistic");
  return logistic.contains("raw") ? object_of(logistic, "raw") : logistic;
}

// The largest k up to 20 (the usual choice), or the object itself.
const Json& nearest_neighbours_of(const Json& report) {
  const Json& knn = object_of(report, "knn");
  const Json* chosen = nullptr;
  for (const Json& entry : array_of(knn, "weighted")) {
    if (chosen == nullptr || number_of(entry, "k") <= 20) chosen = &entry;
  }
  return chosen == nullptr ? knn : *chosen;
}

// The report's main result under `title` (empty: its method), then its other methods under their
// own.
void add_results(const Json& report, const std::string& title, bool is_baseline, Json& methods) {
  const std::string method = text_of(report, "method");
  const char* known_title = method_title(method);
  std::string main_title = title;
  if (main_title.empty()) main_title = text_of(report, "name");
  if (main_title.empty()) main_title = known_title == nullptr ? method : known_title;
  if (!std::isnan(number_of(report, "top1"))) {
    methods.push_back(method_of(report, main_title, is_baseline, true));
  }
  const std::string prefix = title.empty() ? std::string() : title + ", ";
  const auto add = [&](const char* key, const Json& values) {
    if (method == key || std::isnan(number_of(values, "top1"))) return;
    methods.push_back(method_of(values, prefix + method_title(key), is_baseline, false));
  };
  add("logistic", logistic_of(report));
  add("knn", nearest_neighbours_of(report));
}

// The baselines of a report as (name, report), whichever of the two forms they have.
std::vector<std::pair<std::string, Json>> baselines_of(const Json& report) {
  std::vector<std::pair<std::string, Json>> baselines;
  for (const Json& baseline : array_of(report, "baselines")) {
    baselines.emplace_back(text_of(baseline, "name"), baseline);
  }
  for (const auto& [key, value] : object_of(report, "baselines").items()) {
    const Json values = value.is_number() ? Json{{"top1", value}} : value;
    if (values.is_object()) baselines.emplace_back(baseline_title(key), values);
  }
  return baselines;
}

void add_few_shot(const Json& report, const std::string& name, Json& rows) {
  for (const Json& row : array_of(object_of(report, "few_shot"), "shots")) {
    if (!row.is_object()) continue;
    const Json& scores = object_of(row, "logistic");
    const Json& interval = array_of(scores, "interval");
    Json point = {{"name", name}, {"shots", row.value("shots", Json())}, {"top1", Json()}};
    point["top1"] = scores.value("mean", Json());
    if (interval.size() == 2) {
      point["low"] = interval[0];
      point["high"] = interval[1];
    }
    rows.push_back(std::move(point));
  }
  for (const Json& row : array_of(report, "few_shot")) {
    if (row.is_object()) rows.push_back(row);
  }
}

Json confusion_of_report(const Json& report) {
  const auto found = report.find("confusion");
  if (found == report.end() || found->is_null()) return nullptr;
  if (found->is_object()) return *found;
  return {{"classes", array_of(report, "class_names")}, {"matrix", *found}};
}

Json versus_of(const Json& report) {
  Json rows = Json::array();
  for (const auto& [key, value] : object_of(report, "versus").items()) {
    const Json& interval = array_of(value, "interval");
    if (std::isnan(number_of(value, "difference")) || interval.size() != 2) continue;
    Json row = {{"name", baseline_title(key)},
                {"difference", value["difference"]},
                {"low", interval[0]},
                {"high", interval[1]}};
    const Json& balanced = object_of(value, "balanced");
    const Json& balanced_interval = array_of(balanced, "interval");
    if (balanced_interval.size() == 2) {
      row["balanced"] = {{"difference", balanced["difference"]},
                         {"low", balanced_interval[0]},
                         {"high", balanced_interval[1]}};
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Json pixels_of(const Json& report) {
  const Json& pixels = object_of(report, "pixels");
  if (pixels.empty()) return nullptr;
  Json methods = Json::array();
  const auto add = [&](const Json& values, const std::string& name, bool is_baseline) {
    methods.push_back({{"name", name},
                       {"baseline", is_baseline},
                       {"mean_iou", values.value("mean_iou", Json())},
                       {"pixel_accuracy", values.value("pixel_accuracy", Json())}});
  };
  add(pixels, "patch tokens of the encoder", false);
  for (const auto& [key, value] : object_of(pixels, "baselines").items()) {
    if (value.is_object()) add(value, baseline_title(key), true);
  }
  Json iou = Json::array();
  for (const auto& [name, value] : object_of(pixels, "iou").items()) {
    iou.push_back({{"name", name}, {"iou", value}});
  }
  return {{"methods", methods}, {"iou", iou}};
}

Json normalize_one(const Json& report) {
  std::string dataset = dataset_name(text_of(report, "dataset"));
  if (!text_of(report, "derived").empty()) dataset += ", derived labels";
  Json result = {{"dataset", dataset}};
  for (const char* key : {"classes", "train_images", "test_images"}) {
    if (report.contains(key)) result[key] = report[key];
  }
  Json methods = Json::array();
  Json few_shot = Json::array();
  add_results(report, "", false, methods);
  add_few_shot(report, "", few_shot);
  for (const auto& [name, baseline] : baselines_of(report)) {
    add_results(baseline, name, true, methods);
    add_few_shot(baseline, name, few_shot);
  }
  result["methods"] = std::move(methods);
  result["history"] = array_of(report, "history");
  result["few_shot"] = std::move(few_shot);
  result["confusion"] = confusion_of_report(report);
  result["per_class"] = array_of(report, "per_class");
  result["versus"] = versus_of(report);
  result["pixels"] = pixels_of(report);
  return result;
}

// --- Several repeats ----------------------------------------------------------------------------

// Mean and sample standard deviation of the numbers that have been added.
struct Average {
  double sum = 0;
  double sum_of_squares = 0;
  int count = 0;

  void add(double value) {
    if (std::isnan(value)) return;
    sum += value;
    sum_of_squares += value * value;
    ++count;
  }
  Json mean() const { return count == 0 ? Json() : Json(sum / count); }
  double deviation() const {
    const double mean = sum / count;
    return std::sqrt(std::max(0.0, (sum_of_squares - count * mean * mean) / (count - 1)));
  }
};

// Averages of rows that go together by the text of `id_keys`, in order of first appearance. The
// other keys of a row must be numbers; `spread_of` names one whose deviation is added as KEY_std.
Json average_rows(const std::vector<const Json*>& tables, const std::vector<const char*>& id_keys,
                  const std::vector<const char*>& value_keys, const std::string& spread_of) {
  std::vector<std::pair<std::string, Json>> rows;
  std::map<std::string, std::map<std::string, Average>> averages;
  for (const Json* table : tables) {
    for (const Json& row : *table) {
      if (!row.is_object()) continue;
      std::string id;
      for (const char* key : id_keys) id += text_of(row, key) + "\n";
      if (!averages.contains(id)) rows.emplace_back(id, row);
      for (const char* key : value_keys) averages[id][key].add(number_of(row, key));
    }
  }
  Json result = Json::array();
  for (auto& [id, row] : rows) {
    for (const auto& [key, average] : averages[id]) {
      if (average.count == 0) continue;
      row[key] = average.mean();
      if (key == spread_of && average.count > 1) row[key + "_std"] = average.deviation();
    }
    result.push_back(std::move(row));
  }
  return result;
}

// The sum of matrices of one size; the first one where they differ.
Json sum_of_matrices(const std::vector<Json>& reports) {
  Json total = reports.front()["confusion"];
  if (!total.is_object() || !total.contains("matrix")) return total;
  for (size_t i = 1; i < reports.size(); ++i) {
    const Json& other = array_of(reports[i]["confusion"], "matrix");
    Json& matrix = total["matrix"];
    if (other.size() != matrix.size()) return reports.front()["confusion"];
    for (size_t row = 0; row < matrix.size(); ++row) {
      if (other[row].size() != matrix[row].size()) return reports.front()["confusion"];
      for (size_t column = 0; column < matrix[row].size(); ++column) {
        const Json& count = other[row][column];
        if (count.is_number() && matrix[row][column].is_number()) {
          matrix[row][column] = matrix[row][column].get<double>() + count.get<double>();
        }
      }
    }
  }
  return total;
}

Json merge_repeats(const std::vector<Json>& reports) {
  Json merged = reports.front();
  const auto tables = [&reports](const char* key) {
    std::vector<const Json*> list;
    list.reserve(reports.size());
    for (const Json& report : reports) list.push_back(&array_of(report, key));
    return list;
  };
  merged["repeats"] = reports.size();
  merged["methods"] =
      average_rows(tables("methods"), {"name"},
                   {"top1", "top5", "best_top1", "balanced_accuracy", "macro_f1"}, "top1");
  for (Json& method : merged["methods"]) {
    // An interval over the images of one split says nothing about several.
    for (const char* key : {"low", "high", "best_epoch"}) method.erase(key);
  }
  merged["history"] = average_rows(tables("history"), {"epoch"},
                                   {"train_loss", "lr", "top1", "top5", "test_loss"}, "");
  merged["few_shot"] =
      average_rows(tables("few_shot"), {"name", "shots"}, {"top1", "low", "high"}, "");
  merged["confusion"] = sum_of_matrices(reports);
  merged["versus"] = Json::array();
  return merged;
}

}  // namespace

Json normalized_probe(const Json& report) {
  std::vector<Json> repeats;
  for (const Json& seed : array_of(report, "seeds")) {
    if (!seed.is_object()) continue;
    Json complete = seed;
    complete["dataset"] = text_of(report, "dataset");
    complete["derived"] = text_of(report, "derived");
    repeats.push_back(normalize_one(complete));
  }
  return repeats.size() > 1 ? merge_repeats(repeats) : normalize_one(report);
}

}  // namespace swath::bench
