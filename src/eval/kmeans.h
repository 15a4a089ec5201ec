// Lloyd's k-means with seeds by k-means++ (Arthur and Vassilvitskii, 2007), in double precision.
//
// n items, D width, k clusters. The result is a function of the features and the seed, to the
// rounding of one matrix product.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace swath::eval {

struct KMeansOptions {
  int64_t clusters = 42;
  int64_t max_iterations = 300;
};

struct KMeansResult {
  std::vector<int64_t> clusters;  // of each item, 0..k-1; ties go to the lower number
  double inertia = 0;             // sum of squared distances to the own centre
  int64_t iterations = 0;
  bool converged = false;  // no item changed its cluster
};

// A cluster that loses its items takes the item farthest from its own centre. Throws UsageError for
// fewer items than clusters, Error for features that are not finite.
KMeansResult kmeans(const at::Tensor& features_ND, const KMeansOptions& options, uint64_t seed);

// The same clusters with other numbers: 0 is the largest; of clusters of one size, the one whose
// first item comes first has the lower number.
KMeansResult numbered_by_size(const KMeansResult& result);

}  // namespace swath::eval
