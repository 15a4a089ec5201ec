// Scores of classifiers and their uncertainty. Free of LibTorch.
//
// n images, K classes. Scores are row-major (n, K); labels lie in 0..K-1. Everything here is
// deterministic: resampling is a function of the seed that the caller passes and records.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"

namespace swath::eval {

// Whether the true class is among the k best scores of each image. Ties: the class with the lower
// index ranks first, so a constant row is right for labels 0..k-1 only. Throws Error when sizes do
// not fit, a label is out of range or a score is not finite.
std::vector<uint8_t> is_among_top_k(std::span<const float> scores, std::span<const int64_t> labels,
                                    int64_t num_classes, int64_t k);

// The best class of each image under the same tie rule.
std::vector<int64_t> predict_classes(std::span<const float> scores, int64_t num_classes);

// Mean of 0/1 values; throws Error when there are none.
double fraction_of(std::span<const uint8_t> is_correct);

struct Accuracy {
  double top1 = 0;
  double top5 = 0;                  // top-K when there are fewer than five classes
  std::vector<uint8_t> is_correct;  // per image, top-1: what bootstrap intervals resample
};
Accuracy measure_accuracy(std::span<const float> scores, std::span<const int64_t> labels,
                          int64_t num_classes);

// Counts of (true class, predicted class).
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(int64_t num_classes);

  void add(int64_t true_class, int64_t predicted_class, int64_t count = 1);
  void add(std::span<const int64_t> true_classes, std::span<const int64_t> predicted_classes);
  int64_t count(int64_t true_class, int64_t predicted_class) const;
  int64_t total() const;
  int64_t num_classes() const { return num_classes_; }

  double accuracy() const;
  // Mean recall over the classes that have images.
  double balanced_accuracy() const;
  // Mean F1 over the classes that appear as truth or prediction; a class with no hit counts 0.
  double macro_f1() const;
  // The same over the classes that have images; those without are absent_classes().
  double macro_f1_of_present() const;
  // Cohen's kappa: (p_o - p_e) / (1 - p_e), p_e from the marginals; 0 where p_e is 1.
  double kappa() const;
  // Share of each class's images that are right; -1 for a class without images.
  std::vector<double> recall_per_class() const;
  // Share of all images that each class has.
  std::vector<double> prior() const;
  // Classes without images, in rising order.
  std::vector<int64_t> absent_classes() const;
  // Mean intersection over union over the classes that appear as truth or prediction.
  double mean_iou() const;
  // Intersection over union per class; -1 for a class that appears nowhere.
  std::vector<double> iou_per_class() const;

  // Rows are true classes.
  Json to_json() const;

 private:
  int64_t row_total(int64_t true_class) const;
  int64_t column_total(int64_t predicted_class) const;

  int64_t num_classes_;
  std::vector<int64_t> counts_;
};

struct Interval {
  double low = 0;
  double high = 0;
};

constexpr int64_t kBootstrapResamples = 1000;

// The value below which the fraction q of `values` lies, interpolated linearly between order
// statistics (numpy.percentile's default). Throws Error when there are none.
double quantile(std::vector<double> values, double q);

// 95 % percentile interval of the mean of `values` over resamples of the images with replacement.
Interval bootstrap_interval(std::span<const uint8_t> is_correct, uint64_t seed,
                            int64_t num_resamples = kBootstrapResamples);

// 95 % percentile intervals of statistics of a confusion matrix over resamples of whole groups of
// images with replacement: images of one satellite granule share their weather, so that they are no
// independent draws. groups[i] is the group (0, 1 ...) of image i. One interval per statistic.
using MatrixStatistic = std::function<double(const ConfusionMatrix&)>;
std::vector<Interval> group_bootstrap(std::span<const int64_t> true_classes,
                                      std::span<const int64_t> predicted_classes,
                                      std::span<const int64_t> groups, int64_t num_classes,
                                      const std::vector<MatrixStatistic>& statistics, uint64_t seed,
                                      int64_t num_resamples = kBootstrapResamples);

// Share of the images to which all sets of predictions give one class. Throws Error when there are
// no images, or the sets differ in size.
double share_in_agreement(const std::vector<std::vector<int64_t>>& predictions);

// The same for the difference mean(a) - mean(b) of two models on the same images: each resample
// draws the same images for both.
struct PairedDifference {
  double difference = 0;
  Interval interval;
};
PairedDifference paired_bootstrap(std::span<const uint8_t> a, std::span<const uint8_t> b,
                                  uint64_t seed, int64_t num_resamples = kBootstrapResamples);
// The same for balanced accuracy: the mean over classes of the difference of their recalls. A
// resample that misses a class is the mean over the others.
PairedDifference paired_bootstrap_balanced(std::span<const uint8_t> a, std::span<const uint8_t> b,
                                           std::span<const int64_t> labels, int64_t num_classes,
                                           uint64_t seed,
                                           int64_t num_resamples = kBootstrapResamples);

// Over split seeds: mean and sample standard deviation (n - 1; 0 for a single value). Not to be
// mixed with a bootstrap interval, which knows nothing of the split.
struct MeanAndSd {
  double mean = 0;
  double sd = 0;
  int64_t count = 0;
};
MeanAndSd mean_and_sd(std::span<const double> values);

Json to_json(const Interval& interval);  // [low, high]
Json to_json(const MeanAndSd& summary);  // {"mean", "sd", "count"}

}  // namespace swath::eval
