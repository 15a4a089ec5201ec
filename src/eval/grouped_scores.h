// All scores of one classifier on test images that come in groups (chips of a granule) and have
// measured properties: what a comparison of cloud classes reports. Free of LibTorch.
//
// n images, K classes.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"

namespace swath::eval {

// What is known of each test image, in one order.
struct TestGroups {
  std::vector<int64_t> labels;  // 0..K-1
  std::vector<int64_t> groups;  // 0, 1 ...: what the bootstrap draws
  std::vector<std::string> property_names;
  std::vector<std::vector<double>> properties;  // per name, of each image; NaN: not measured
  // Parts worth a score of their own ("platform Aqua", "season DJF"), as indices of images.
  std::map<std::string, std::vector<int64_t>> subsets;

  int64_t num_groups() const;
};

// {"top1", "top5", "balanced_accuracy", "macro_f1" (over the classes that have images), "kappa",
//  "absent_classes", "recall" (per class; null without images), "confusion",
//  "intervals": {"top1", "balanced_accuracy", "macro_f1", "kappa"} (95 %, over groups;
//  none below five groups),
//  "physics": {NAME: {"by_label", "by_prediction", "classes", "pearson_r", "rms"}},
//  "subsets": {NAME: {"images", "top1", "balanced_accuracy"}}}
// for row-major scores (n, K). Throws Error when sizes do not fit.
Json score_groups(const TestGroups& test, std::span<const float> scores, int64_t num_classes,
                  uint64_t seed);

}  // namespace swath::eval
