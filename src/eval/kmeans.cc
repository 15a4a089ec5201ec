#include "eval/kmeans.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/random.h"

namespace swath::eval {
namespace {

// Rows of the distance matrix at a time: at most this many numbers of scratch memory.
constexpr int64_t kMostDistances = int64_t{1} << 24;

// Squared distances (n) of all items to one centre.
at::Tensor distances_to(const at::Tensor& features_ND, const at::Tensor& center_D) {
  return (features_ND - center_D).square().sum(1);
}

at::Tensor seed_centers(const at::Tensor& features_ND, int64_t k, uint64_t seed) {
  const int64_t n = features_ND.size(0);
  Random random(seed, RandomPurpose::kProbe);
  std::vector<int64_t> chosen = {static_cast<int64_t>(random.below(static_cast<uint64_t>(n)))};
  at::Tensor nearest_N = distances_to(features_ND, features_ND[chosen.front()]);
  while (static_cast<int64_t>(chosen.size()) < k) {
    const double* distances = nearest_N.const_data_ptr<double>();
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += distances[i];
    double rest = random.uniform() * total;
    // Where all items lie on a centre already, the next index serves as well as any.
    int64_t index = total > 0 ? n - 1 : static_cast<int64_t>(chosen.size());
    for (int64_t i = 0; i < n && total > 0; ++i) {
      rest -= distances[i];
      if (rest < 0) {
        index = i;
        break;
      }
    }
    chosen.push_back(index);
    nearest_N = at::minimum(nearest_N, distances_to(features_ND, features_ND[index])).contiguous();
  }
  return features_ND.index_select(0, at::tensor(chosen, at::kLong));
}

struct Assignment {
  at::Tensor clusters_N;
  at::Tensor distances_N;
};

Assignment assign(const at::Tensor& features_ND, const at::Tensor& centers_KD) {
  const int64_t n = features_ND.size(0);
  const int64_t rows = std::max<int64_t>(1, kMostDistances / centers_KD.size(0));
  std::vector<at::Tensor> clusters;
  std::vector<at::Tensor> distances;
  const at::Tensor center_squares_K = centers_KD.square().sum(1);
  for (int64_t begin = 0; begin < n; begin += rows) {
    const at::Tensor part = features_ND.slice(0, begin, begin + rows);
    const at::Tensor squares = part.square().sum(1, /*keepdim=*/true) -
                               2 * at::mm(part, centers_KD.t()) + center_squares_K;
    const auto [smallest, index] = squares.min(1);
    clusters.push_back(index);
    distances.push_back(smallest.clamp_min(0));
  }
  return {at::cat(clusters), at::cat(distances).contiguous()};
}

}  // namespace

KMeansResult kmeans(const at::Tensor& features_ND, const KMeansOptions& options, uint64_t seed) {
  const int64_t n = features_ND.size(0);
  const int64_t k = options.clusters;
  if (k < 1 || n < k) {
    throw UsageError(fmt::format("k-means: {} clusters of {} items.", k, n),
                     "give it more items, or ask for fewer clusters.");
  }
  at::Tensor features = features_ND.to(at::kCPU, at::kDouble);
  if (!at::isfinite(features).all().item<bool>()) {
    throw Error("k-means: a feature is not finite.", "look at the encoder that computed it.");
  }
  // Distances stay the same, and the products below lose fewer digits.
  features = (features - features.mean(0)).contiguous();
  at::Tensor centers = seed_centers(features, k, seed);
  KMeansResult result;
  Assignment assignment = assign(features, centers);
  for (; result.iterations < options.max_iterations && !result.converged; ++result.iterations) {
    stop_if_interrupted("k-means");
    const at::Tensor counts = at::bincount(assignment.clusters_N, {}, k);
    const at::Tensor sums = at::zeros_like(centers).index_add_(0, assignment.clusters_N, features);
    centers = sums / counts.clamp_min(1).unsqueeze(1);
    at::Tensor distances = assignment.distances_N.clone();
    for (int64_t cluster = 0; cluster < k; ++cluster) {
      if (counts[cluster].item<int64_t>() > 0) continue;
      const int64_t farthest = distances.argmax().item<int64_t>();
      centers[cluster] = features[farthest];
      distances[farthest] = 0;
    }
    Assignment next = assign(features, centers);
    result.converged = at::equal(next.clusters_N, assignment.clusters_N);
    assignment = std::move(next);
  }
  const at::Tensor clusters = assignment.clusters_N.contiguous();
  result.clusters.assign(clusters.const_data_ptr<int64_t>(),
                         clusters.const_data_ptr<int64_t>() + n);
  result.inertia = assignment.distances_N.sum().item<double>();
  return result;
}

KMeansResult numbered_by_size(const KMeansResult& result) {
  struct Cluster {
    int64_t old_number = 0;
    int64_t size = 0;
  };
  std::vector<Cluster> order;
  std::unordered_map<int64_t, size_t> place_of;
  for (size_t i = 0; i < result.clusters.size(); ++i) {
    const auto [place, is_new] = place_of.emplace(result.clusters[i], order.size());
    if (is_new) order.push_back({result.clusters[i], 0});
    ++order[place->second].size;
  }
  // Clusters stand by their first items already.
  std::stable_sort(order.begin(), order.end(),
                   [](const Cluster& a, const Cluster& b) { return a.size > b.size; });
  std::unordered_map<int64_t, int64_t> number_of;
  for (const Cluster& cluster : order) {
    number_of.emplace(cluster.old_number, static_cast<int64_t>(number_of.size()));
  }
  KMeansResult renumbered = result;
  for (int64_t& cluster : renumbered.clusters) cluster = number_of.at(cluster);
  return renumbered;
}

}  // namespace swath::eval
