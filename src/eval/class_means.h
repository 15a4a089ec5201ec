// Whether predicted classes mean the same as the true ones: class means of measured properties
// (optical thickness, cloud-top pressure ...), by prediction and by label. Free of LibTorch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/json.h"

namespace swath::eval {

// The mean of `values` over the items of each class. A NaN value (no cloud in the chip, no
// retrieval) counts for nothing; a class without values has a NaN mean.
std::vector<double> class_means(std::span<const int64_t> classes, std::span<const double> values,
                                int64_t num_classes);

struct MeansCompared {
  std::vector<double> by_label;
  std::vector<double> by_prediction;
  int64_t classes = 0;   // that have a mean on both sides: what r and rms are over
  double pearson_r = 0;  // NaN below two classes, or when one side is constant
  double rms = 0;        // of the difference, in the property's unit; NaN without classes
};

// Throws Error when sizes differ or a class is out of range.
MeansCompared compare_class_means(std::span<const int64_t> true_classes,
                                  std::span<const int64_t> predicted_classes,
                                  std::span<const double> values, int64_t num_classes);

// {"by_label", "by_prediction", "classes", "pearson_r", "rms"}; null for NaN.
Json to_json(const MeansCompared& means);

}  // namespace swath::eval
