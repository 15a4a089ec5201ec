#include "bench/report/sweep_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

namespace swath::bench {
namespace {

// A number that must be above 0; others are taken for missing.
double positive(double value) { return value > 0 ? value : kNoNumber; }

std::string limit_of(const Json& row) {
  const std::string text = text_of(row, "limit_all_gathers");
  return text == "true" ? "limited" : text == "false" ? "not limited" : "";
}

// Why a row cannot be used; empty when it can.
std::string problem_of(const Json& row) {
  const double ranks = number_of(row, "ranks");
  if (!(ranks >= 1) || ranks != std::floor(ranks)) return "has no number of ranks";
  if (text_of(row, "strategy").empty()) return "has no strategy";
  // Shares that are percentages would be wrong by a factor of 100.
  for (const char* key : {"mfu", "exposed_communication", "data_wait"}) {
    const double share = number_of(row, key);
    if (share < 0 || share > 1) return fmt::format("has a share {} outside 0..1", key);
  }
  return {};
}

SweepRow row_of(const Json& values) {
  SweepRow row;
  row.ranks = number_of(values, "ranks");
  row.strategy = text_of(values, "strategy");
  row.prefetch = text_of(values, "prefetch");
  row.limit = limit_of(values);
  const Json& rate = object_of(values, "images_per_second");
  row.images_per_second =
      positive(rate.empty() ? number_of(values, "images_per_second") : number_of(rate, "median"));
  row.minimum = positive(number_of(rate, "minimum"));
  row.maximum = positive(number_of(rate, "maximum"));
  row.step_seconds = number_of(values, "step_seconds");
  row.mfu = number_of(values, "mfu");
  row.peak_bytes = number_of(values, "peak_memory_bytes");
  row.allocated_bytes = number_of(values, "allocated_bytes");
  row.exposed_communication = number_of(values, "exposed_communication");
  row.data_wait = number_of(values, "data_wait");
  row.joules = number_of(object_of(values, "telemetry"), "joules");
  return row;
}

// Names the case of each row and collects the rows of each case.
void group_into_cases(SweepTable& table) {
  std::map<std::string, std::set<std::string>> prefetch_of;
  std::map<std::string, std::set<std::string>> limits_of;
  for (const SweepRow& row : table.rows) {
    prefetch_of[row.strategy].insert(row.prefetch);
    limits_of[row.strategy].insert(row.limit);
  }
  std::map<std::tuple<std::string, std::string, std::string>, size_t> cases;
  for (SweepRow& row : table.rows) {
    const auto [found, is_new] =
        cases.try_emplace({row.strategy, row.prefetch, row.limit}, table.cases.size());
    row.case_index = found->second;
    if (!is_new) continue;
    std::string name = row.strategy;
    const auto add = [&name](const std::string& part) {
      if (!part.empty()) name += ", " + part;
    };
    if (prefetch_of[row.strategy].size() > 1) add(row.prefetch);
    if (limits_of[row.strategy].size() > 1) add(row.limit);
    table.cases.push_back({name, {}});
  }
  std::stable_sort(table.rows.begin(), table.rows.end(), [](const SweepRow& a, const SweepRow& b) {
    return std::tie(a.case_index, a.ranks) < std::tie(b.case_index, b.ranks);
  });
  for (size_t r = 0; r < table.rows.size(); ++r) {
    table.cases[table.rows[r].case_index].rows.push_back(r);
  }
  for (size_t r = 0; r < table.rows.size(); ++r) {
    if (table.rows[r].ranks != 1) continue;
    for (SweepCase& sweep_case : table.cases) {
      const SweepRow& first = table.rows[sweep_case.rows.front()];
      if (first.ranks == 1 || first.strategy != table.rows[r].strategy) continue;
      sweep_case.rows.insert(sweep_case.rows.begin(), r);
    }
  }
}

void compute_efficiency(SweepTable& table) {
  for (const SweepCase& sweep_case : table.cases) {
    std::vector<size_t> rows;
    for (const size_t r : sweep_case.rows) {
      if (!std::isnan(table.rows[r].images_per_second)) rows.push_back(r);
    }
    if (rows.size() < 2) continue;
    const SweepRow fewest = table.rows[rows.front()];
    const double rate_of_one = fewest.images_per_second / fewest.ranks;
    for (const size_t r : rows) {
      SweepRow& row = table.rows[r];
      row.efficiency = row.images_per_second / (row.ranks * rate_of_one);
    }
  }
}

}  // namespace

bool SweepTable::has(double SweepRow::* column) const {
  return std::any_of(rows.begin(), rows.end(),
                     [column](const SweepRow& row) { return std::isfinite(row.*column); });
}

std::vector<double> SweepTable::ranks() const {
  std::set<double> values;
  for (const SweepRow& row : rows) values.insert(row.ranks);
  return {values.begin(), values.end()};
}

const SweepRow* SweepTable::ideal_start() const {
  const SweepRow* start = nullptr;
  for (const SweepRow& row : rows) {
    if (std::isnan(row.images_per_second)) continue;
    const bool is_better =
        start == nullptr || row.ranks < start->ranks ||
        (row.ranks == start->ranks && row.images_per_second > start->images_per_second);
    if (is_better) start = &row;
  }
  return start;
}

SweepTable sweep_table(const Json& values, std::vector<std::string>& problems) {
  SweepTable table;
  const Json& rows = array_of(values, "rows");
  if (rows.empty()) problems.emplace_back("has no rows");
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string problem = problem_of(rows[i]);
    if (problem.empty()) {
      table.rows.push_back(row_of(rows[i]));
    } else {
      problems.push_back(fmt::format("row {} {}", i + 1, problem));
    }
  }
  group_into_cases(table);
  compute_efficiency(table);
  return table;
}

}  // namespace swath::bench
