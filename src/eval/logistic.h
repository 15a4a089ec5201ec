// Multinomial logistic regression on frozen features, solved to convergence in double precision.
//
// n samples, D feature width, K classes. The objective (torchgeo-bench's METHODOLOGY.md, and
// scikit-learn's LogisticRegression divided by n):
//
//   f(W, b) = (1/n) sum_i CE(W x_i + b, t_i) + (1/n) (1 / (2 C)) |W|^2
//
// with the bias not regularised. It is convex, so the result does not depend on the start.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "eval/feature_set.h"

namespace swath::eval {

struct LogisticModel {
  at::Tensor weight_KD;  // double
  at::Tensor bias_K;     // double
  double loss = 0;       // f at the solution
  int64_t iterations = 0;
  bool converged = false;

  // (n, K) float32 for features (n, D) of any float type.
  at::Tensor logits(const at::Tensor& features_ND) const;
};

// Features prepared once to be solved for many values of C.
//
// Inside, features are centred and turned into the eigenvectors of their covariance, and every now
// and then each weight is scaled to unit second derivative. The bias is free and |W| does not
// change under a rotation, so the objective is the same; the number of iterations falls by an order
// of magnitude on the raw features of a transformer, whose scales differ widely.
class LogisticProblem {
 public:
  // Class indices (n) int64. Throws Error for labels outside 0..K-1, or features not finite.
  LogisticProblem(const at::Tensor& features_ND, const at::Tensor& labels_N, int64_t num_classes);
  // The weight of each class for each sample, (n, K): what several labelled pixels of one patch
  // amount to. n in the objective becomes the sum of all weights.
  static LogisticProblem with_targets(const at::Tensor& features_ND, const at::Tensor& targets_NK);

  // `start`: where to begin; null begins at zero.
  LogisticModel solve(double c, int64_t max_iterations = 2000, double tolerance = 1e-6,
                      const LogisticModel* start = nullptr) const;

 private:
  LogisticProblem() = default;
  void prepare(const at::Tensor& features_ND, const at::Tensor& targets_NK);

  at::Tensor mean_D_;
  at::Tensor basis_DR_;    // orthonormal columns
  at::Tensor rotated_NR_;  // centred features in the basis
  at::Tensor targets_NK_;
  at::Tensor sample_weights_N_;
  double total_weight_ = 0;
};

struct LogisticOptions {
  int64_t num_c = 20;  // log-spaced from c_min to c_max
  double c_min = 1e-7;
  double c_max = 1e2;
  // folds: 5-fold stratified; holdout: 80/20; auto: folds up to 2000 images, where a fifth alone
  // would be a coarse measure, holdout above.
  std::string validation = "auto";
  int64_t max_iterations = 2000;  // of the search; the refit may take twice as many
  // On the gradient's norm, of the refit. The search, of which only the order of accuracies is
  // used, ends at a hundred times that.
  double tolerance = 1e-6;

  void describe(FieldTable& fields);
};

struct LogisticSelection {
  double c = 0;
  std::vector<double> candidates;
  std::vector<double> validation_accuracy;  // per candidate
  LogisticModel model;                      // fitted on all samples with the chosen C
};

// Chooses C by accuracy inside the training set (ties: the smaller C), then fits all of it. With
// `standardize` features are divided by their standard deviation over the samples of each fit; the
// returned model applies to raw features in both cases. `groups` (one number from 0 per sample;
// empty: each is its own) stay together when C is chosen.
LogisticSelection select_logistic(const at::Tensor& features_ND, const at::Tensor& labels_N,
                                  int64_t num_classes, bool standardize,
                                  const LogisticOptions& options, uint64_t seed,
                                  std::span<const int64_t> groups = {});

// A fold (0..num_folds-1) for every sample: each class is spread evenly, in a seeded order.
std::vector<int64_t> stratified_folds(std::span<const int64_t> labels, int64_t num_classes,
                                      int64_t num_folds, uint64_t seed);
// The same with whole groups, in a seeded order; the largest come first, each to the fold that has
// the fewest samples.
std::vector<int64_t> group_folds(std::span<const int64_t> groups, int64_t num_folds, uint64_t seed);

// {"raw": {c, top1, top5, interval, balanced_accuracy, iterations, converged, sweep},
//  "standardized": {...}}. The bits of raw's correctness go to `is_correct` for paired comparisons.
Json run_logistic(const FeatureSet& train, const FeatureSet& test, int64_t num_classes,
                  const LogisticOptions& options, uint64_t seed,
                  std::vector<uint8_t>* is_correct = nullptr);

}  // namespace swath::eval
