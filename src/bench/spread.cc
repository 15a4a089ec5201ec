#include "bench/spread.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace swath::bench {

Spread spread_of(std::vector<double> values) {
  if (values.empty()) throw Error("bench: nothing was measured.");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
  return {median, values.front(), values.back(), static_cast<int64_t>(values.size())};
}

Spread spread_of_ratios(const std::vector<double>& ours, const std::vector<double>& theirs) {
  std::vector<double> ratios;
  for (size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / theirs.at(i));
  return spread_of(std::move(ratios));
}

Json to_json(const Spread& spread) {
  return {{"median", spread.median},
          {"minimum", spread.minimum},
          {"maximum", spread.maximum},
          {"count", spread.count}};
}

}  // namespace swath::bench
