#include "eval/logistic.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "eval/lbfgs.h"
#include "eval/metrics.h"
#include "eval/standardize.h"

namespace swath::eval {
namespace {

constexpr int64_t kNumFolds = 5;
constexpr int64_t kMostImagesForFolds = 2000;
constexpr double kSearchTolerance = 100;  // times that of the refit
constexpr int64_t kHistory = 20;
constexpr int64_t kIterationsPerScaling = 50;
// Keeps the scale of a bias finite where its class is certain everywhere.
constexpr double kLeastBiasCurvature = 1e-9;

at::Tensor as_tensor(std::span<const double> values, at::IntArrayRef shape) {
  return at::from_blob(const_cast<double*>(values.data()), shape, at::kDouble);
}

at::Tensor class_weights(const at::Tensor& labels_N, int64_t num_classes) {
  if (labels_N.numel() == 0) throw Error("logistic probe: no samples.");
  const int64_t low = labels_N.min().item<int64_t>();
  const int64_t high = labels_N.max().item<int64_t>();
  if (low < 0 || high >= num_classes) {
    throw Error(
        fmt::format("logistic probe: labels {}..{} outside 0..{}.", low, high, num_classes - 1));
  }
  return at::zeros({labels_N.size(0), num_classes}, at::kDouble)
      .scatter_(1, labels_N.unsqueeze(1), 1.0);
}

std::vector<double> log_spaced(double low, double high, int64_t count) {
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) {
    const double t = count == 1 ? 0 : static_cast<double>(i) / static_cast<double>(count - 1);
    values.push_back(std::pow(10.0, std::log10(low) + t * (std::log10(high) - std::log10(low))));
  }
  return values;
}

// Fits scaled features and folds the scale into the weights.
class Fitter {
 public:
  Fitter(const at::Tensor& features_ND, const at::Tensor& labels_N, int64_t num_classes,
         bool standardize)
      : scale_D_(standardize ? feature_deviations(features_ND)
                             : at::ones({features_ND.size(1)}, at::kDouble)),
        problem_(features_ND.to(at::kDouble) / scale_D_, labels_N, num_classes) {}

  // Starts at the solution before, which for neighbouring C is close.
  LogisticModel fit(double c, int64_t max_iterations, double tolerance) {
    scaled_ = problem_.solve(c, max_iterations, tolerance,
                             scaled_.weight_KD.defined() ? &scaled_ : nullptr);
    LogisticModel model = scaled_;
    model.weight_KD = scaled_.weight_KD / scale_D_;
    return model;
  }

 private:
  at::Tensor scale_D_;
  LogisticProblem problem_;
  LogisticModel scaled_;
};

}  // namespace

at::Tensor LogisticModel::logits(const at::Tensor& features_ND) const {
  at::NoGradGuard no_grad;
  return at::addmm(bias_K, features_ND.to(at::kDouble), weight_KD.t()).to(at::kFloat).contiguous();
}

LogisticProblem::LogisticProblem(const at::Tensor& features_ND, const at::Tensor& labels_N,
                                 int64_t num_classes) {
  prepare(features_ND, class_weights(labels_N, num_classes));
}

LogisticProblem LogisticProblem::with_targets(const at::Tensor& features_ND,
                                              const at::Tensor& targets_NK) {
  LogisticProblem problem;
  problem.prepare(features_ND, targets_NK.to(at::kDouble));
  return problem;
}

void LogisticProblem::prepare(const at::Tensor& features_ND, const at::Tensor& targets_NK) {
  at::NoGradGuard no_grad;
  at::Tensor features = features_ND.to(at::kDouble);
  if (!at::isfinite(features).all().item<bool>()) {
    throw Error("logistic probe: features are not finite.", "the model that made them diverged.");
  }
  targets_NK_ = targets_NK;
  sample_weights_N_ = targets_NK.sum(1);
  total_weight_ = sample_weights_N_.sum().item<double>();
  if (!(total_weight_ > 0)) throw Error("logistic probe: no labelled samples.");
  const at::Tensor shares = (sample_weights_N_ / total_weight_).unsqueeze(1);
  mean_D_ = (features * shares).sum(0);
  features = features - mean_D_;
  // Weights of samples enter the covariance through their roots.
  at::Tensor weighted = features * shares.sqrt();
  at::Tensor basis;
  if (features.size(1) > features.size(0)) {
    // More features than samples: the solution lies in the span of the samples.
    basis = std::get<0>(at::linalg_qr(features.t()));
    features = features.matmul(basis);
    weighted = weighted.matmul(basis);
  }
  const at::Tensor covariance = weighted.t().matmul(weighted);
  const at::Tensor eigenvectors = std::get<1>(at::linalg_eigh(covariance));
  basis_DR_ = basis.defined() ? basis.matmul(eigenvectors) : eigenvectors;
  rotated_NR_ = features.matmul(eigenvectors);
}

LogisticModel LogisticProblem::solve(double c, int64_t max_iterations, double tolerance,
                                     const LogisticModel* start) const {
  at::NoGradGuard no_grad;
  const int64_t num_classes = targets_NK_.size(1);
  const int64_t rank = rotated_NR_.size(1);
  const double regularization = 1 / (c * total_weight_);
  const size_t num_weights = static_cast<size_t>(num_classes * rank);
  const at::Tensor squares_NR = rotated_NR_.square();

  // The weights in the rotated features, and where the search is: weight = scale * x.
  at::Tensor weight_KR = at::zeros({num_classes, rank}, at::kDouble);
  at::Tensor bias_K = at::zeros({num_classes}, at::kDouble);
  if (start != nullptr) {
    weight_KR = start->weight_KD.matmul(basis_DR_);
    bias_K = start->bias_K + start->weight_KD.matmul(mean_D_);
  }
  at::Tensor scale_KR;
  at::Tensor scale_K;

  const DifferentiableFunction function = [&](std::span<const double> x,
                                              std::span<double> gradient) {
    const at::Tensor weights = as_tensor(x.first(num_weights), {num_classes, rank}) * scale_KR;
    const at::Tensor biases = as_tensor(x.subspan(num_weights), {num_classes}) * scale_K;
    const at::Tensor log_probabilities =
        at::log_softmax(at::addmm(biases, rotated_NR_, weights.t()), 1);
    const double value = -(log_probabilities * targets_NK_).sum().item<double>() / total_weight_ +
                         0.5 * regularization * weights.square().sum().item<double>();
    const at::Tensor errors_NK =
        (log_probabilities.exp() * sample_weights_N_.unsqueeze(1) - targets_NK_) / total_weight_;
    at::Tensor weight_gradient = as_tensor(gradient.first(num_weights), {num_classes, rank});
    at::mul_out(weight_gradient, at::addmm(weights, errors_NK.t(), rotated_NR_, regularization),
                scale_KR);
    at::Tensor bias_gradient = as_tensor(gradient.subspan(num_weights), {num_classes});
    at::mul_out(bias_gradient, errors_NK.sum(0), scale_K);
    return value;
  };

  LbfgsOptions options;
  options.tolerance = tolerance;
  options.history = kHistory;
  // Measured on the unscaled weights, so that the tolerance does not depend on the scaling.
  options.gradient_size = [&](std::span<const double> gradient) {
    const at::Tensor weights = as_tensor(gradient.first(num_weights), {num_classes, rank});
    const at::Tensor biases = as_tensor(gradient.subspan(num_weights), {num_classes});
    return std::sqrt(
        ((weights / scale_KR).square().sum() + (biases / scale_K).square().sum()).item<double>());
  };

  LogisticModel model;
  while (!model.converged && model.iterations < max_iterations) {
    // The second derivative with respect to each weight where we are, brought to 1. It changes by
    // orders of magnitude on the way from "all classes alike" to separated ones.
    const at::Tensor probabilities = at::softmax(at::addmm(bias_K, rotated_NR_, weight_KR.t()), 1);
    const at::Tensor curvatures_NK =
        probabilities * (1 - probabilities) * sample_weights_N_.unsqueeze(1) / total_weight_;
    scale_KR = (curvatures_NK.t().matmul(squares_NR) + regularization).rsqrt();
    scale_K = (curvatures_NK.sum(0) + kLeastBiasCurvature).rsqrt();

    std::vector<double> x(num_weights + static_cast<size_t>(num_classes));
    at::Tensor x_weights = as_tensor(std::span(x).first(num_weights), {num_classes, rank});
    at::Tensor x_biases = as_tensor(std::span(x).subspan(num_weights), {num_classes});
    x_weights.copy_(weight_KR / scale_KR);
    x_biases.copy_(bias_K / scale_K);
    options.max_iterations = std::min(kIterationsPerScaling, max_iterations - model.iterations);
    const LbfgsResult result = minimize_lbfgs(function, &x, options);
    weight_KR = as_tensor(std::span(x).first(num_weights), {num_classes, rank}) * scale_KR;
    bias_K = as_tensor(std::span(x).subspan(num_weights), {num_classes}) * scale_K;
    model.loss = result.value;
    model.iterations += result.iterations;
    model.converged = result.converged;
  }
  model.weight_KD = weight_KR.matmul(basis_DR_.t());
  model.bias_K = bias_K - model.weight_KD.matmul(mean_D_);
  return model;
}

void LogisticOptions::describe(FieldTable& fields) {
  fields.add("num_c", &num_c, "values of C tried, log-spaced").at_least(1);
  fields.add("c_min", &c_min, "smallest C (strongest regularisation)").at_least(1e-12);
  fields.add("c_max", &c_max, "largest C").at_least(1e-12);
  fields.add("validation", &validation, "how C is chosen inside the training list")
      .one_of({"auto", "folds", "holdout"});
  fields.add("max_iterations", &max_iterations, "limit of L-BFGS").at_least(1);
  fields.add("tolerance", &tolerance, "gradient norm that counts as solved").at_least(1e-12);
}

std::vector<int64_t> stratified_folds(std::span<const int64_t> labels, int64_t num_classes,
                                      int64_t num_folds, uint64_t seed) {
  std::vector<int64_t> folds(labels.size());
  std::vector<int64_t> next(static_cast<size_t>(num_classes));
  // Classes start at different folds, so that small classes do not all miss the same ones.
  for (int64_t c = 0; c < num_classes; ++c) next[static_cast<size_t>(c)] = c;
  const Permutation order(labels.size(), seed, /*epoch=*/0);
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto index = static_cast<size_t>(order(i));
    folds[index] = next[static_cast<size_t>(labels[index])]++ % num_folds;
  }
  return folds;
}

std::vector<int64_t> group_folds(std::span<const int64_t> groups, int64_t num_folds,
                                 uint64_t seed) {
  int64_t num_groups = 0;
  for (const int64_t group : groups) num_groups = std::max(num_groups, group + 1);
  std::vector<int64_t> sizes(static_cast<size_t>(num_groups));
  for (const int64_t group : groups) ++sizes[static_cast<size_t>(group)];
  std::vector<size_t> order;
  const Permutation shuffled(sizes.size(), seed, /*epoch=*/0);
  for (size_t i = 0; i < sizes.size(); ++i) order.push_back(shuffled(i));
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  std::vector<int64_t> filled(static_cast<size_t>(num_folds));
  std::vector<int64_t> fold_of_group(sizes.size());
  for (const size_t group : order) {
    const auto least = std::min_element(filled.begin(), filled.end());
    *least += sizes[group];
    fold_of_group[group] = least - filled.begin();
  }
  std::vector<int64_t> folds;
  folds.reserve(groups.size());
  for (const int64_t group : groups) folds.push_back(fold_of_group[static_cast<size_t>(group)]);
  return folds;
}

LogisticSelection select_logistic(const at::Tensor& features_ND, const at::Tensor& labels_N,
                                  int64_t num_classes, bool standardize,
                                  const LogisticOptions& options, uint64_t seed,
                                  std::span<const int64_t> groups) {
  LogisticSelection selection;
  selection.candidates = log_spaced(options.c_min, options.c_max, options.num_c);
  selection.validation_accuracy.assign(selection.candidates.size(), 0.0);
  size_t best = 0;
  if (selection.candidates.size() > 1) {
    const bool has_groups =
        std::adjacent_find(groups.begin(), groups.end(), std::not_equal_to<>()) != groups.end();
    const std::vector<int64_t> folds =
        has_groups ? group_folds(groups, kNumFolds, seed)
                   : stratified_folds(as_integers(labels_N), num_classes, kNumFolds, seed);
    const bool is_holdout =
        options.validation == "holdout" ||
        (options.validation == "auto" && labels_N.size(0) > kMostImagesForFolds);
    const int64_t num_validated = is_holdout ? 1 : kNumFolds;
    std::vector<int64_t> num_correct(selection.candidates.size());
    int64_t num_validation = 0;
    for (int64_t fold = 0; fold < num_validated; ++fold) {
      std::vector<int64_t> inside;
      std::vector<int64_t> outside;
      for (size_t i = 0; i < folds.size(); ++i) {
        (folds[i] == fold ? outside : inside).push_back(static_cast<int64_t>(i));
      }
      if (inside.empty() || outside.empty()) continue;
      const at::Tensor inside_indices = at::tensor(inside, at::kLong);
      const at::Tensor outside_indices = at::tensor(outside, at::kLong);
      const at::Tensor validation = features_ND.index_select(0, outside_indices).to(at::kDouble);
      const at::Tensor truth = labels_N.index_select(0, outside_indices).contiguous();
      Fitter fitter(features_ND.index_select(0, inside_indices),
                    labels_N.index_select(0, inside_indices), num_classes, standardize);
      for (size_t i = 0; i < selection.candidates.size(); ++i) {
        const LogisticModel model = fitter.fit(selection.candidates[i], options.max_iterations,
                                               kSearchTolerance * options.tolerance);
        const at::Tensor logits = model.logits(validation);
        for (const uint8_t hit :
             is_among_top_k(as_floats(logits), as_integers(truth), num_classes, 1)) {
          num_correct[i] += hit;
        }
      }
      num_validation += static_cast<int64_t>(outside.size());
    }
    if (num_validation == 0) throw Error("logistic probe: too few training images to choose C.");
    for (size_t i = 0; i < selection.candidates.size(); ++i) {
      selection.validation_accuracy[i] =
          static_cast<double>(num_correct[i]) / static_cast<double>(num_validation);
      if (num_correct[i] > num_correct[best]) best = i;
    }
  }
  selection.c = selection.candidates[best];
  Fitter fitter(features_ND, labels_N, num_classes, standardize);
  selection.model = fitter.fit(selection.c, 2 * options.max_iterations, options.tolerance);
  if (!selection.model.converged) {
    log_warning(fmt::format("logistic probe: not converged after {} iterations at C = {:g}.",
                            selection.model.iterations, selection.c));
  }
  return selection;
}

Json run_logistic(const FeatureSet& train, const FeatureSet& test, int64_t num_classes,
                  const LogisticOptions& options, uint64_t seed, std::vector<uint8_t>* is_correct) {
  Json report;
  for (const bool standardize : {false, true}) {
    const LogisticSelection selection =
        select_logistic(train.features_ND, train.labels_N, num_classes, standardize, options, seed);
    const at::Tensor logits = selection.model.logits(test.features_ND);
    const auto labels = as_integers(test.labels_N);
    const Accuracy accuracy = measure_accuracy(as_floats(logits), labels, num_classes);
    ConfusionMatrix confusion(num_classes);
    confusion.add(labels, predict_classes(as_floats(logits), num_classes));
    Json sweep = Json::array();
    for (size_t i = 0; i < selection.candidates.size(); ++i) {
      sweep.push_back(Json{{"c", selection.candidates[i]},
                           {"validation_accuracy", selection.validation_accuracy[i]}});
    }
    report[standardize ? "standardized" : "raw"] =
        Json{{"c", selection.c},
             {"top1", accuracy.top1},
             {"top5", accuracy.top5},
             {"interval", to_json(bootstrap_interval(accuracy.is_correct, seed))},
             {"balanced_accuracy", confusion.balanced_accuracy()},
             {"macro_f1", confusion.macro_f1()},
             {"loss", selection.model.loss},
             {"iterations", selection.model.iterations},
             {"converged", selection.model.converged},
             {"sweep", std::move(sweep)}};
    if (!standardize && is_correct != nullptr) *is_correct = accuracy.is_correct;
  }
  return report;
}

}  // namespace swath::eval
