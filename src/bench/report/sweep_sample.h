// A sweep for tests of the page: rates, memory and waiting of the kind that such jobs show.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "core/json.h"

namespace swath::bench {

// As `bench sweep` makes them: for each strategy and number of ranks a row, for sharded ones on
// several ranks one for each prefetch. One rank has nobody to wait for.
inline Json sweep_sample(const std::vector<int>& ranks, const std::vector<std::string>& strategies,
                         const std::vector<std::string>& prefetch, bool has_data_wait) {
  Json rows = Json::array();
  for (size_t s = 0; s < strategies.size(); ++s) {
    const bool keeps_model = strategies[s].starts_with("SHARD_GRAD");
    const bool is_sharded = keeps_model || strategies[s].starts_with("FULL");
    for (const int n : ranks) {
      for (size_t p = 0; p < (is_sharded && n > 1 ? prefetch.size() : 1); ++p) {
        const double loss = 0.012 * static_cast<double>(s + 1) + 0.03 * static_cast<double>(p);
        const double rate = 61.5 * n * std::pow(1 - loss, std::log2(n));
        const double state = 1.79e9 * (is_sharded ? 1.0 / n : 1.0);
        Json row = {
            {"ranks", n},
            {"strategy", strategies[s]},
            {"prefetch", prefetch[p]},
            {"limit_all_gathers", true},
            {"images_per_second",
             {{"median", rate}, {"minimum", 0.96 * rate}, {"maximum", 1.02 * rate}, {"count", 7}}},
            {"step_seconds", 16 * n / rate},
            {"mfu", 0.42 * rate / (61.5 * n)},
            {"peak_memory_bytes", std::llround(state + (keeps_model && n > 1 ? 1.3e9 : 0.9e9))},
            {"allocated_bytes", std::llround(state)},
            {"telemetry", {{"source", "RAPL"}, {"joules", 830.0 * (1 + loss)}}}};
        if (n > 1) row["exposed_communication"] = 1 - rate / (61.5 * n);
        if (has_data_wait) row["data_wait"] = 0.01 + 0.002 * n / (n + 8.0);
        rows.push_back(row);
      }
    }
  }
  return {{"rows", rows}};
}

}  // namespace swath::bench
