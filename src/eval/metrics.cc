#include "eval/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/random.h"

namespace swath::eval {
namespace {

void check_scores(std::span<const float> scores, int64_t num_classes) {
  if (num_classes < 1 || scores.size() % static_cast<size_t>(num_classes) != 0) {
    throw Error(
        fmt::format("metrics: {} scores are no rows of {} classes.", scores.size(), num_classes));
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!std::isfinite(scores[i])) {
      throw Error(fmt::format("metrics: the score of image {} for class {} is {}.",
                              i / static_cast<size_t>(num_classes),
                              i % static_cast<size_t>(num_classes), scores[i]),
                  "the classifier diverged: lower its learning rate.");
    }
  }
}

void check_class(int64_t value, int64_t num_classes, const char* what) {
  if (value < 0 || value >= num_classes) {
    throw Error(fmt::format("metrics: {} {} is outside 0..{}.", what, value, num_classes - 1));
  }
}

// Indices of one resample of n items with replacement.
template <class Visit>
void visit_resample(int64_t n, uint64_t seed, int64_t resample, Visit&& visit) {
  Random random(seed, RandomPurpose::kProbe, static_cast<uint64_t>(resample));
  for (int64_t i = 0; i < n; ++i) {
    visit(static_cast<size_t>(random.below(static_cast<uint64_t>(n))));
  }
}

Interval percentile_interval(const std::vector<double>& values) {
  return {quantile(values, 0.025), quantile(values, 0.975)};
}

// Of `score()` over resamples of n items, which `add` is told one by one; `score` starts anew.
template <class Add, class Score>
Interval resampled_interval(int64_t n, uint64_t seed, int64_t num_resamples, const Add& add,
                            const Score& score) {
  std::vector<double> scores;
  scores.reserve(static_cast<size_t>(num_resamples));
  for (int64_t r = 0; r < num_resamples; ++r) {
    visit_resample(n, seed, r, add);
    scores.push_back(score());
  }
  return percentile_interval(scores);
}

}  // namespace

std::vector<uint8_t> is_among_top_k(std::span<const float> scores, std::span<const int64_t> labels,
                                    int64_t num_classes, int64_t k) {
  check_scores(scores, num_classes);
  if (scores.size() != labels.size() * static_cast<size_t>(num_classes)) {
    throw Error(fmt::format("metrics: {} score rows but {} labels.",
                            scores.size() / static_cast<size_t>(num_classes), labels.size()));
  }
  std::vector<uint8_t> is_correct(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    check_class(labels[i], num_classes, "label");
    const float* row = scores.data() + i * static_cast<size_t>(num_classes);
    const float own = row[labels[i]];
    int64_t rank = 0;
    for (int64_t c = 0; c < num_classes; ++c) {
      if (row[c] > own || (row[c] == own && c < labels[i])) ++rank;
    }
    is_correct[i] = rank < k;
  }
  return is_correct;
}

std::vector<int64_t> predict_classes(std::span<const float> scores, int64_t num_classes) {
  check_scores(scores, num_classes);
  std::vector<int64_t> classes(scores.size() / static_cast<size_t>(num_classes));
  for (size_t i = 0; i < classes.size(); ++i) {
    const float* row = scores.data() + i * static_cast<size_t>(num_classes);
    // max_element returns the first of equal elements.
    classes[i] = std::max_element(row, row + num_classes) - row;
  }
  return classes;
}

double fraction_of(std::span<const uint8_t> is_correct) {
  if (is_correct.empty()) throw Error("metrics: no images to measure.");
  return std::accumulate(is_correct.begin(), is_correct.end(), 0.0) /
         static_cast<double>(is_correct.size());
}

Accuracy measure_accuracy(std::span<const float> scores, std::span<const int64_t> labels,
                          int64_t num_classes) {
  Accuracy accuracy;
  accuracy.is_correct = is_among_top_k(scores, labels, num_classes, 1);
  accuracy.top1 = fraction_of(accuracy.is_correct);
  accuracy.top5 = fraction_of(is_among_top_k(scores, labels, num_classes, 5));
  return accuracy;
}

ConfusionMatrix::ConfusionMatrix(int64_t num_classes)
    : num_classes_(num_classes), counts_(static_cast<size_t>(num_classes * num_classes)) {}

void ConfusionMatrix::add(int64_t true_class, int64_t predicted_class, int64_t count) {
  check_class(true_class, num_classes_, "label");
  check_class(predicted_class, num_classes_, "prediction");
  counts_[static_cast<size_t>(true_class * num_classes_ + predicted_class)] += count;
}

void ConfusionMatrix::add(std::span<const int64_t> true_classes,
                          std::span<const int64_t> predicted_classes) {
  if (true_classes.size() != predicted_classes.size()) {
    throw Error(fmt::format("metrics: {} labels but {} predictions.", true_classes.size(),
                            predicted_classes.size()));
  }
  for (size_t i = 0; i < true_classes.size(); ++i) add(true_classes[i], predicted_classes[i]);
}

int64_t ConfusionMatrix::count(int64_t true_class, int64_t predicted_class) const {
  return counts_[static_cast<size_t>(true_class * num_classes_ + predicted_class)];
}

int64_t ConfusionMatrix::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
}

int64_t ConfusionMatrix::row_total(int64_t true_class) const {
  int64_t sum = 0;
  for (int64_t c = 0; c < num_classes_; ++c) sum += count(true_class, c);
  return sum;
}

int64_t ConfusionMatrix::column_total(int64_t predicted_class) const {
  int64_t sum = 0;
  for (int64_t c = 0; c < num_classes_; ++c) sum += count(c, predicted_class);
  return sum;
}

double ConfusionMatrix::accuracy() const {
  int64_t hits = 0;
  for (int64_t c = 0; c < num_classes_; ++c) hits += count(c, c);
  return total() == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(total());
}

double ConfusionMatrix::balanced_accuracy() const {
  double sum = 0;
  int64_t present = 0;
  for (int64_t c = 0; c < num_classes_; ++c) {
    const int64_t images = row_total(c);
    if (images == 0) continue;
    sum += static_cast<double>(count(c, c)) / static_cast<double>(images);
    ++present;
  }
  return present == 0 ? 0 : sum / static_cast<double>(present);
}

double ConfusionMatrix::macro_f1() const {
  double sum = 0;
  int64_t present = 0;
  for (int64_t c = 0; c < num_classes_; ++c) {
    const int64_t truth_and_prediction = row_total(c) + column_total(c);
    if (truth_and_prediction == 0) continue;
    sum += 2.0 * static_cast<double>(count(c, c)) / static_cast<double>(truth_and_prediction);
    ++present;
  }
  return present == 0 ? 0 : sum / static_cast<double>(present);
}

double ConfusionMatrix::macro_f1_of_present() const {
  double sum = 0;
  int64_t present = 0;
  for (int64_t c = 0; c < num_classes_; ++c) {
    if (row_total(c) == 0) continue;
    sum += 2.0 * static_cast<double>(count(c, c)) /
           static_cast<double>(row_total(c) + column_total(c));
    ++present;
  }
  return present == 0 ? 0 : sum / static_cast<double>(present);
}

double ConfusionMatrix::kappa() const {
  const auto n = static_cast<double>(total());
  if (n == 0) return 0;
  double by_chance = 0;
  for (int64_t c = 0; c < num_classes_; ++c) {
    by_chance += static_cast<double>(row_total(c)) / n * (static_cast<double>(column_total(c)) / n);
  }
  return by_chance >= 1 ? 0 : (accuracy() - by_chance) / (1 - by_chance);
}

std::vector<double> ConfusionMatrix::recall_per_class() const {
  std::vector<double> values(static_cast<size_t>(num_classes_), -1);
  for (int64_t c = 0; c < num_classes_; ++c) {
    const int64_t images = row_total(c);
    if (images == 0) continue;
    values[static_cast<size_t>(c)] = static_cast<double>(count(c, c)) / static_cast<double>(images);
  }
  return values;
}

std::vector<double> ConfusionMatrix::prior() const {
  std::vector<double> values(static_cast<size_t>(num_classes_), 0);
  const auto n = static_cast<double>(std::max<int64_t>(total(), 1));
  for (int64_t c = 0; c < num_classes_; ++c) {
    values[static_cast<size_t>(c)] = static_cast<double>(row_total(c)) / n;
  }
  return values;
}

std::vector<int64_t> ConfusionMatrix::absent_classes() const {
  std::vector<int64_t> absent;
  for (int64_t c = 0; c < num_classes_; ++c) {
    if (row_total(c) == 0) absent.push_back(c);
  }
  return absent;
}

std::vector<double> ConfusionMatrix::iou_per_class() const {
  std::vector<double> values(static_cast<size_t>(num_classes_), -1);
  for (int64_t c = 0; c < num_classes_; ++c) {
    const int64_t in_union = row_total(c) + column_total(c) - count(c, c);
    if (in_union == 0) continue;
    values[static_cast<size_t>(c)] =
        static_cast<double>(count(c, c)) / static_cast<double>(in_union);
  }
  return values;
}

double ConfusionMatrix::mean_iou() const {
  double sum = 0;
  int64_t present = 0;
  for (const double value : iou_per_class()) {
    if (value < 0) continue;
    sum += value;
    ++present;
  }
  return present == 0 ? 0 : sum / static_cast<double>(present);
}

Json ConfusionMatrix::to_json() const {
  Json rows = Json::array();
  for (int64_t truth = 0; truth < num_classes_; ++truth) {
    Json row = Json::array();
    for (int64_t c = 0; c < num_classes_; ++c) row.push_back(count(truth, c));
    rows.push_back(std::move(row));
  }
  return rows;
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) throw Error("metrics: a quantile of no values.");
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - static_cast<double>(below)) * (values[above] - values[below]);
}

Interval bootstrap_interval(std::span<const uint8_t> is_correct, uint64_t seed,
                            int64_t num_resamples) {
  const auto n = static_cast<int64_t>(is_correct.size());
  if (n == 0) throw Error("metrics: no images to resample.");
  int64_t hits = 0;
  return resampled_interval(
      n, seed, num_resamples, [&](size_t i) { hits += is_correct[i]; },
      [&] { return static_cast<double>(std::exchange(hits, 0)) / static_cast<double>(n); });
}

std::vector<Interval> group_bootstrap(std::span<const int64_t> true_classes,
                                      std::span<const int64_t> predicted_classes,
                                      std::span<const int64_t> groups, int64_t num_classes,
                                      const std::vector<MatrixStatistic>& statistics, uint64_t seed,
                                      int64_t num_resamples) {
  if (true_classes.size() != predicted_classes.size() || true_classes.size() != groups.size() ||
      true_classes.empty()) {
    throw Error(fmt::format("metrics: {} labels, {} predictions and {} groups to resample.",
                            true_classes.size(), predicted_classes.size(), groups.size()));
  }
  // Equal (truth, prediction) pairs of a group are added at once.
  using Pair = std::pair<int64_t, int64_t>;
  std::vector<std::map<Pair, int64_t>> counts;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] < 0) throw Error(fmt::format("metrics: image {} is in no group.", i));
    const auto group = static_cast<size_t>(groups[i]);
    if (group >= counts.size()) counts.resize(group + 1);
    ++counts[group][{true_classes[i], predicted_classes[i]}];
  }
  std::vector<std::vector<double>> values(statistics.size());
  for (int64_t r = 0; r < num_resamples; ++r) {
    ConfusionMatrix matrix(num_classes);
    visit_resample(static_cast<int64_t>(counts.size()), seed, r, [&](size_t group) {
      for (const auto& [pair, count] : counts[group]) matrix.add(pair.first, pair.second, count);
    });
    for (size_t s = 0; s < statistics.size(); ++s) values[s].push_back(statistics[s](matrix));
  }
  std::vector<Interval> intervals;
  intervals.reserve(values.size());
  for (const std::vector<double>& of_statistic : values) {
    intervals.push_back(percentile_interval(of_statistic));
  }
  return intervals;
}

double share_in_agreement(const std::vector<std::vector<int64_t>>& predictions) {
  if (predictions.empty() || predictions.front().empty()) {
    throw Error("metrics: no predictions to compare.");
  }
  const size_t n = predictions.front().size();
  std::vector<uint8_t> agrees(n, 1);
  for (const std::vector<int64_t>& other : predictions) {
    if (other.size() != n) {
      throw Error(fmt::format("metrics: {} predictions compared with {}.", n, other.size()));
    }
    for (size_t i = 0; i < n; ++i) agrees[i] = agrees[i] && other[i] == predictions.front()[i];
  }
  return fraction_of(agrees);
}

PairedDifference paired_bootstrap(std::span<const uint8_t> a, std::span<const uint8_t> b,
                                  uint64_t seed, int64_t num_resamples) {
  if (a.size() != b.size()) {
    throw Error(
        fmt::format("metrics: a paired comparison of {} images with {}.", a.size(), b.size()));
  }
  const auto n = static_cast<int64_t>(a.size());
  PairedDifference result;
  result.difference = fraction_of(a) - fraction_of(b);
  int64_t sum = 0;
  result.interval = resampled_interval(
      n, seed, num_resamples, [&](size_t i) { sum += int64_t{a[i]} - int64_t{b[i]}; },
      [&] { return static_cast<double>(std::exchange(sum, 0)) / static_cast<double>(n); });
  return result;
}

PairedDifference paired_bootstrap_balanced(std::span<const uint8_t> a, std::span<const uint8_t> b,
                                           std::span<const int64_t> labels, int64_t num_classes,
                                           uint64_t seed, int64_t num_resamples) {
  if (a.size() != b.size() || a.size() != labels.size()) {
    throw Error(fmt::format("metrics: a paired comparison of {} images with {}, {} labels.",
                            a.size(), b.size(), labels.size()));
  }
  for (const int64_t label : labels) check_class(label, num_classes, "label");
  const auto n = static_cast<int64_t>(a.size());
  std::vector<int64_t> gained(static_cast<size_t>(num_classes));
  std::vector<int64_t> images(static_cast<size_t>(num_classes));
  const auto add = [&](size_t i) {
    const auto c = static_cast<size_t>(labels[i]);
    gained[c] += int64_t{a[i]} - int64_t{b[i]};
    ++images[c];
  };
  const auto take_mean = [&] {
    double sum = 0;
    int64_t present = 0;
    for (size_t c = 0; c < gained.size(); ++c) {
      if (images[c] == 0) continue;
      sum += static_cast<double>(gained[c]) / static_cast<double>(images[c]);
      ++present;
    }
    std::fill(gained.begin(), gained.end(), 0);
    std::fill(images.begin(), images.end(), 0);
    return present == 0 ? 0 : sum / static_cast<double>(present);
  };
  PairedDifference result;
  for (size_t i = 0; i < a.size(); ++i) add(i);
  result.difference = take_mean();
  result.interval = resampled_interval(n, seed, num_resamples, add, take_mean);
  return result;
}

MeanAndSd mean_and_sd(std::span<const double> values) {
  MeanAndSd summary;
  summary.count = static_cast<int64_t>(values.size());
  if (values.empty()) return summary;
  const auto n = static_cast<double>(values.size());
  summary.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() < 2) return summary;
  double squares = 0;
  for (const double value : values) squares += (value - summary.mean) * (value - summary.mean);
  summary.sd = std::sqrt(squares / (n - 1));
  return summary;
}

Json to_json(const Interval& interval) { return Json::array({interval.low, interval.high}); }

Json to_json(const MeanAndSd& summary) {
  return Json{{"mean", summary.mean}, {"sd", summary.sd}, {"count", summary.count}};
}

}  // namespace swath::eval
