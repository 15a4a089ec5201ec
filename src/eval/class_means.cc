#include "eval/class_means.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace swath::eval {
namespace {

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

Json number_or_null(double value) { return std::isnan(value) ? Json() : Json(value); }

Json numbers_or_null(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(number_or_null(value));
  return list;
}

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  if (x.size() < 2) return kNoValue;
  double mean_x = 0;
  double mean_y = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    mean_x += x[i] / n;
    mean_y += y[i] / n;
  }
  double xx = 0;
  double yy = 0;
  double xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : kNoValue;
}

}  // namespace

std::vector<double> class_means(std::span<const int64_t> classes, std::span<const double> values,
                                int64_t num_classes) {
  if (classes.size() != values.size()) {
    throw Error(
        fmt::format("class means: {} classes but {} values.", classes.size(), values.size()));
  }
  std::vector<double> sums(static_cast<size_t>(num_classes), 0);
  std::vector<int64_t> counts(static_cast<size_t>(num_classes), 0);
  for (size_t i = 0; i < classes.size(); ++i) {
    if (classes[i] < 0 || classes[i] >= num_classes) {
      throw Error(
          fmt::format("class means: class {} is outside 0..{}.", classes[i], num_classes - 1));
    }
    if (std::isnan(values[i])) continue;
    sums[static_cast<size_t>(classes[i])] += values[i];
    ++counts[static_cast<size_t>(classes[i])];
  }
  for (size_t c = 0; c < sums.size(); ++c) {
    sums[c] = counts[c] == 0 ? kNoValue : sums[c] / static_cast<double>(counts[c]);
  }
  return sums;
}

MeansCompared compare_class_means(std::span<const int64_t> true_classes,
                                  std::span<const int64_t> predicted_classes,
                                  std::span<const double> values, int64_t num_classes) {
  MeansCompared means;
  means.by_label = class_means(true_classes, values, num_classes);
  means.by_prediction = class_means(predicted_classes, values, num_classes);
  std::vector<double> labels;
  std::vector<double> predictions;
  double squares = 0;
  for (size_t c = 0; c < means.by_label.size(); ++c) {
    const double label = means.by_label[c];
    const double prediction = means.by_prediction[c];
    if (std::isnan(label) || std::isnan(prediction)) continue;
    labels.push_back(label);
    predictions.push_back(prediction);
    squares += (label - prediction) * (label - prediction);
  }
  means.classes = static_cast<int64_t>(labels.size());
  means.pearson_r = pearson(labels, predictions);
  means.rms = labels.empty() ? kNoValue : std::sqrt(squares / static_cast<double>(labels.size()));
  return means;
}

Json to_json(const MeansCompared& means) {
  return Json{{"by_label", numbers_or_null(means.by_label)},
              {"by_prediction", numbers_or_null(means.by_prediction)},
              {"classes", means.classes},
              {"pearson_r", number_or_null(means.pearson_r)},
              {"rms", number_or_null(means.rms)}};
}

}  // namespace swath::eval
