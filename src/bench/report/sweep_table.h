// sweep.json of `swath bench sweep`: what each strategy reached on each number of ranks.
//
// {"rows": [{ranks, strategy, prefetch, limit_all_gathers, images_per_second (a number, or {median,
// minimum, maximum}), step_seconds, mfu, peak_memory_bytes, allocated_bytes, exposed_communication,
// data_wait, telemetry {joules}}]}: shares are 0..1, rates those of all ranks together, the batch
// that of one rank. All but ranks and strategy may be missing.
#pragma once

#include <string>
#include <vector>

#include "bench/report/json_fields.h"
#include "core/json.h"

namespace swath::bench {

struct SweepRow {
  double ranks = 1;
  std::string strategy;
  std::string prefetch;
  std::string limit;  // "limited", "not limited"; empty: not known
  double images_per_second = kNoNumber;
  double minimum = kNoNumber;  // of images_per_second over repeats
  double maximum = kNoNumber;
  double step_seconds = kNoNumber;
  double mfu = kNoNumber;
  double peak_bytes = kNoNumber;
  double allocated_bytes = kNoNumber;
  double exposed_communication = kNoNumber;
  double data_wait = kNoNumber;
  double joules = kNoNumber;
  // images_per_second as a share of what the fewest ranks of the same case reach, times the ranks;
  // missing where a case has one row only.
  double efficiency = kNoNumber;
  size_t case_index = 0;
};

// What a line of a chart joins: a strategy, with the prefetch and the limit that it was given.
struct SweepCase {
  std::string name;  // with prefetch and limit only where the strategy's rows differ in them
  std::vector<size_t>
      rows;  // by rising ranks; one rank gathers nothing, so its row is of all cases
};

struct SweepTable {
  std::vector<SweepRow> rows;    // by case, then ranks
  std::vector<SweepCase> cases;  // in order of first appearance

  bool has(double SweepRow::* column) const;
  // The numbers of ranks, rising.
  std::vector<double> ranks() const;
  // The row with the highest rate on the fewest ranks, from which an ideal line starts; null when
  // no row has a rate.
  const SweepRow* ideal_start() const;
};

// Rows that cannot be used are left out and named in `problems`.
SweepTable sweep_table(const Json& values, std::vector<std::string>& problems);

}  // namespace swath::bench
