#include "eval/clustering.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "core/error.h"

namespace swath::eval {
namespace {

// Counts of items by (class, cluster), and their sums. Parts without items do not appear.
struct Contingency {
  std::map<std::pair<int64_t, int64_t>, int64_t> cells;
  std::map<int64_t, int64_t> rows;
  std::map<int64_t, int64_t> columns;
  int64_t total = 0;
};

Contingency count(std::span<const int64_t> classes, std::span<const int64_t> clusters) {
  if (classes.size() != clusters.size() || classes.empty()) {
    throw Error(
        fmt::format("clustering: {} classes and {} clusters.", classes.size(), clusters.size()));
  }
  Contingency table;
  for (size_t i = 0; i < classes.size(); ++i) {
    if (classes[i] < 0 || clusters[i] < 0) {
      throw Error(fmt::format("clustering: item {} has class {} and cluster {}.", i, classes[i],
                              clusters[i]));
    }
    ++table.cells[{classes[i], clusters[i]}];
    ++table.rows[classes[i]];
    ++table.columns[clusters[i]];
  }
  table.total = static_cast<int64_t>(classes.size());
  return table;
}

double pairs_of(int64_t n) { return static_cast<double>(n) * static_cast<double>(n - 1) / 2; }

double entropy_of(const std::map<int64_t, int64_t>& parts, int64_t total) {
  double entropy = 0;
  for (const auto& [part, size] : parts) {
    const double share = static_cast<double>(size) / static_cast<double>(total);
    entropy -= share * std::log(share);
  }
  return entropy;
}

double mutual_information_of(const Contingency& table) {
  const auto n = static_cast<double>(table.total);
  double sum = 0;
  for (const auto& [cell, size] : table.cells) {
    const auto both = static_cast<double>(size);
    const auto row = static_cast<double>(table.rows.at(cell.first));
    const auto column = static_cast<double>(table.columns.at(cell.second));
    sum += both / n * std::log(n * both / (row * column));
  }
  return std::max(0.0, sum);
}

// Over all ways to deal the items out with these sums: for each pair of a row a and a column b, the
// overlap is hypergeometric. Parts of equal size give equal terms, which are computed once.
double expected_mutual_information(const Contingency& table) {
  const int64_t n = table.total;
  std::vector<double> log_factorial(static_cast<size_t>(n) + 1, 0);
  for (int64_t i = 2; i <= n; ++i) {
    const auto place = static_cast<size_t>(i);
    log_factorial[place] = log_factorial[place - 1] + std::log(static_cast<double>(i));
  }
  const auto factorial = [&](int64_t i) { return log_factorial[static_cast<size_t>(i)]; };
  std::map<int64_t, int64_t> row_sizes;
  std::map<int64_t, int64_t> column_sizes;
  for (const auto& [part, size] : table.rows) ++row_sizes[size];
  for (const auto& [part, size] : table.columns) ++column_sizes[size];
  double sum = 0;
  for (const auto& [a, rows] : row_sizes) {
    for (const auto& [b, columns] : column_sizes) {
      double expectation = 0;
      const int64_t least = std::max<int64_t>(1, a + b - n);
      for (int64_t both = least; both <= std::min(a, b); ++both) {
        const double log_probability = factorial(a) + factorial(b) + factorial(n - a) +
                                       factorial(n - b) - factorial(n) - factorial(both) -
                                       factorial(a - both) - factorial(b - both) -
                                       factorial(n - a - b + both);
        const auto x = static_cast<double>(both);
        expectation += x / static_cast<double>(n) *
                       std::log(static_cast<double>(n) * x /
                                (static_cast<double>(a) * static_cast<double>(b))) *
                       std::exp(log_probability);
      }
      sum += static_cast<double>(rows) * static_cast<double>(columns) * expectation;
    }
  }
  return sum;
}

bool is_one_part_or_all_alone(const Contingency& table) {
  const auto parts = [&](const std::map<int64_t, int64_t>& sums) {
    return static_cast<int64_t>(sums.size());
  };
  return parts(table.rows) == parts(table.columns) &&
         (parts(table.rows) == 1 || parts(table.rows) == table.total);
}

}  // namespace

double adjusted_rand_index(std::span<const int64_t> classes, std::span<const int64_t> clusters) {
  const Contingency table = count(classes, clusters);
  if (is_one_part_or_all_alone(table)) return 1;
  double together = 0;
  double in_rows = 0;
  double in_columns = 0;
  for (const auto& [cell, size] : table.cells) together += pairs_of(size);
  for (const auto& [part, size] : table.rows) in_rows += pairs_of(size);
  for (const auto& [part, size] : table.columns) in_columns += pairs_of(size);
  const double expected = in_rows * in_columns / pairs_of(table.total);
  return (together - expected) / ((in_rows + in_columns) / 2 - expected);
}

double adjusted_mutual_information(std::span<const int64_t> classes,
                                   std::span<const int64_t> clusters) {
  const Contingency table = count(classes, clusters);
  if (is_one_part_or_all_alone(table)) return 1;
  const double expected = expected_mutual_information(table);
  const double mean_entropy =
      (entropy_of(table.rows, table.total) + entropy_of(table.columns, table.total)) / 2;
  const double range = mean_entropy - expected;
  // Nothing above chance is possible: for example one part against any other partition.
  if (std::abs(range) < 1e-15) return 0;
  return (mutual_information_of(table) - expected) / range;
}

}  // namespace swath::eval
