// k nearest neighbours on frozen features.
//
// M test images, N training images, D feature width, K classes. All inputs are float32 on the CPU;
// distances are computed in double, so that the order of neighbours does not hang on rounding.
// Ties: neighbours at the same distance by lower training index, classes by lower class index.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "eval/feature_set.h"

namespace swath::eval {

enum class Metric {
  kEuclidean,  // smaller is nearer
  kCosine,     // of the angle between features; larger is nearer
};

struct Neighbours {
  at::Tensor indices_MK;   // int64 into the training set, nearest first
  at::Tensor measures_MK;  // double: squared distance, or cosine
};

// The min(k, N) nearest, exactly. Throws Error when widths differ or there is no training image.
Neighbours find_neighbours(const at::Tensor& train_ND, const at::Tensor& test_MD, int64_t k,
                           Metric metric);

// Votes per class from the first min(k, found) neighbours, (M, K) float32: one each, or (Caron et
// al., DINO, eval_knn.py) exp(cosine / temperature) each.
at::Tensor count_votes(const Neighbours& neighbours, const at::Tensor& train_labels_N,
                       int64_t num_classes, int64_t k);
at::Tensor weigh_votes(const Neighbours& neighbours, const at::Tensor& train_labels_N,
                       int64_t num_classes, int64_t k, double temperature);

struct KnnOptions {
  int64_t majority_k = 5;
  std::vector<int64_t> weighted_k = {10, 20, 100, 200};  // capped at the number of training images
  double temperature = 0.07;

  void describe(FieldTable& fields);
};

// {"majority": {k, top1, interval}, "weighted": [{k, top1, top5, interval}]}: majority vote on raw
// features with Euclidean distance, weighted vote with cosine. `seed` is that of the intervals.
Json run_knn(const FeatureSet& train, const FeatureSet& test, int64_t num_classes,
             const KnnOptions& options, uint64_t seed);

}  // namespace swath::eval
