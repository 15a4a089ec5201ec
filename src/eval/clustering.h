// How much a clustering agrees with classes, whatever the clusters are called. Free of LibTorch.
//
// n items, each with a class (0..R-1) and a cluster (0..C-1).
#pragma once

#include <cstdint>
#include <span>

#include "core/json.h"

namespace swath::eval {

// Counts of pairs of items that are together in both partitions, corrected for chance (Hubert and
// Arabie, 1985): 1 for equal partitions, about 0 for independent ones, possibly negative. Throws
// Error when there are no items, sizes differ, or a number is negative.
double adjusted_rand_index(std::span<const int64_t> classes, std::span<const int64_t> clusters);

// (MI - E[MI]) / ((H(U) + H(V)) / 2 - E[MI]), Vinh, Epps and Bailey (2010): the expectation is the
// exact one under the permutation model, the normaliser the arithmetic mean (scikit-learn's
// default). 1 where both partitions have one part, or each item its own.
double adjusted_mutual_information(std::span<const int64_t> classes,
                                   std::span<const int64_t> clusters);

}  // namespace swath::eval
