// The spread of repeated measurements.
#pragma once

#include <vector>

#include "core/json.h"

namespace swath::bench {

struct Spread {
  double median = 0;
  double minimum = 0;
  double maximum = 0;
  int64_t count = 0;
};

// Throws Error for no values.
Spread spread_of(std::vector<double> values);
// Of ours[i] / theirs[i], the pairs of two that took turns.
Spread spread_of_ratios(const std::vector<double>& ours, const std::vector<double>& theirs);
Json to_json(const Spread& spread);

}  // namespace swath::bench
