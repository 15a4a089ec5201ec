#include "eval/knn.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "core/error.h"
#include "core/interrupt.h"
#include "eval/metrics.h"

namespace swath::eval {
namespace {

constexpr int64_t kRowsPerBlock = 256;

at::Tensor to_unit_length(const at::Tensor& rows) {
  return rows / rows.norm(2, /*dim=*/1, /*keepdim=*/true).clamp_min(1e-30);
}

template <class Weight>
at::Tensor sum_votes(const Neighbours& neighbours, const at::Tensor& train_labels_N,
                     int64_t num_classes, int64_t k, Weight&& weight) {
  const int64_t rows = neighbours.indices_MK.size(0);
  const int64_t found = neighbours.indices_MK.size(1);
  at::Tensor votes = at::zeros({rows, num_classes}, at::kFloat);
  const auto indices = neighbours.indices_MK.accessor<int64_t, 2>();
  const auto measures = neighbours.measures_MK.accessor<double, 2>();
  const auto labels = train_labels_N.accessor<int64_t, 1>();
  auto out = votes.accessor<float, 2>();
  std::vector<double> sums(static_cast<size_t>(num_classes));
  for (int64_t row = 0; row < rows; ++row) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int64_t j = 0; j < std::min(k, found); ++j) {
      sums[static_cast<size_t>(labels[indices[row][j]])] +=
          weight(measures[row][j], /*nearest=*/measures[row][0]);
    }
    for (int64_t c = 0; c < num_classes; ++c) {
      out[row][c] = static_cast<float>(sums[static_cast<size_t>(c)]);
    }
  }
  return votes;
}

}  // namespace

Neighbours find_neighbours(const at::Tensor& train_ND, const at::Tensor& test_MD, int64_t k,
                           Metric metric) {
  const int64_t train_size = train_ND.size(0);
  if (train_size == 0 || train_ND.size(1) != test_MD.size(1)) {
    throw Error(fmt::format("knn: {} training features of width {}, test features of width {}.",
                            train_size, train_ND.size(1), test_MD.size(1)));
  }
  at::NoGradGuard no_grad;
  k = std::min(k, train_size);
  at::Tensor train = train_ND.to(at::kDouble);
  if (metric == Metric::kCosine) train = to_unit_length(train);
  const at::Tensor train_squares = train.square().sum(1);
  Neighbours result;
  result.indices_MK = at::empty({test_MD.size(0), k}, at::kLong);
  result.measures_MK = at::empty({test_MD.size(0), k}, at::kDouble);
  auto indices = result.indices_MK.accessor<int64_t, 2>();
  auto measures = result.measures_MK.accessor<double, 2>();
  for (int64_t begin = 0; begin < test_MD.size(0); begin += kRowsPerBlock) {
    stop_if_interrupted("nearest neighbours");
    at::Tensor block = test_MD.slice(0, begin, begin + kRowsPerBlock).to(at::kDouble);
    if (metric == Metric::kCosine) block = to_unit_length(block);
    at::Tensor measure = block.matmul(train.t());
    if (metric == Metric::kEuclidean) {
      measure = (block.square().sum(1, true) + train_squares - 2 * measure).clamp_min(0);
    }
    measure = measure.contiguous();
    at::parallel_for(0, block.size(0), 8, [&](int64_t first, int64_t last) {
      std::vector<int64_t> order(static_cast<size_t>(train_size));
      for (int64_t row = first; row < last; ++row) {
        const double* values = measure.const_data_ptr<double>() + row * train_size;
        std::iota(order.begin(), order.end(), int64_t{0});
        std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
          if (values[a] != values[b]) {
            return metric == Metric::kCosine ? values[a] > values[b] : values[a] < values[b];
          }
          return a < b;
        });
        for (int64_t j = 0; j < k; ++j) {
          const int64_t index = order[static_cast<size_t>(j)];
          indices[begin + row][j] = index;
          measures[begin + row][j] = values[index];
        }
      }
    });
  }
  return result;
}

at::Tensor count_votes(const Neighbours& neighbours, const at::Tensor& train_labels_N,
                       int64_t num_classes, int64_t k) {
  return sum_votes(neighbours, train_labels_N, num_classes, k, [](double, double) { return 1.0; });
}

at::Tensor weigh_votes(const Neighbours& neighbours, const at::Tensor& train_labels_N,
                       int64_t num_classes, int64_t k, double temperature) {
  return sum_votes(neighbours, train_labels_N, num_classes, k, [&](double cosine, double nearest) {
    // The common factor keeps the order and avoids overflow.
    return std::exp((cosine - nearest) / temperature);
  });
}

void KnnOptions::describe(FieldTable& fields) {
  fields.add("majority_k", &majority_k, "neighbours of the plain majority vote").at_least(1);
  fields.add("weighted_k", &weighted_k, "neighbours of the vote weighted by similarity")
      .at_least(1);
  fields.add("temperature", &temperature, "a neighbour's weight is exp(cosine / temperature)")
      .at_least(1e-3);
}

Json run_knn(const FeatureSet& train, const FeatureSet& test, int64_t num_classes,
             const KnnOptions& options, uint64_t seed) {
  const auto labels = as_integers(test.labels_N);
  Json report;
  {
    const int64_t k = std::min(options.majority_k, train.size());
    const Neighbours neighbours =
        find_neighbours(train.features_ND, test.features_ND, k, Metric::kEuclidean);
    const at::Tensor votes = count_votes(neighbours, train.labels_N, num_classes, k);
    const Accuracy accuracy = measure_accuracy(as_floats(votes), labels, num_classes);
    report["majority"] = Json{{"k", k},
                              {"top1", accuracy.top1},
                              {"interval", to_json(bootstrap_interval(accuracy.is_correct, seed))}};
  }
  std::set<int64_t> ks;
  for (const int64_t k : options.weighted_k) ks.insert(std::min(k, train.size()));
  report["weighted"] = Json::array();
  if (ks.empty()) return report;
  const Neighbours neighbours =
      find_neighbours(train.features_ND, test.features_ND, *ks.rbegin(), Metric::kCosine);
  for (const int64_t k : ks) {
    const at::Tensor votes =
        weigh_votes(neighbours, train.labels_N, num_classes, k, options.temperature);
    const Accuracy accuracy = measure_accuracy(as_floats(votes), labels, num_classes);
    report["weighted"].push_back(
        Json{{"k", k},
             {"top1", accuracy.top1},
             {"top5", accuracy.top5},
             {"interval", to_json(bootstrap_interval(accuracy.is_correct, seed))}});
  }
  return report;
}

}  // namespace swath::eval
