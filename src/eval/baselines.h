// What a probe's number has to be compared with: features that nobody trained.
//
// The untrained encoder goes through the same functions as the trained one (probe.h); here are the
// features that need no network at all.
#pragma once

#include <cstdint>
#include <memory>

#include "data/dataset.h"
#include "data/transform.h"
#include "eval/feature_set.h"
#include "eval/features.h"

namespace swath::eval {

// Mean and standard deviation over the pixels of every band: (n, 2 C), the means first, of the
// image as the evaluation transform gives it. Deviations divide by the number of pixels. Pixels
// that were not measured do not count.
FeatureSet band_statistics(const std::shared_ptr<const data::Dataset>& dataset,
                           const data::Transform& transform, const ExtractOptions& options);

// The same per patch of `patch` x `patch` pixels: (n, N, 2 C), patches in row-major order.
at::Tensor band_statistics_per_patch(const std::shared_ptr<const data::Dataset>& dataset,
                                     const data::Transform& transform, int64_t patch,
                                     const ExtractOptions& options);

// The share of the test images that the most frequent training class would get right.
double majority_class_top1(const at::Tensor& train_labels_N, const at::Tensor& test_labels_N,
                           int64_t num_classes);

}  // namespace swath::eval
