#include "data/location_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "core/hash.h"

namespace swath::data {

std::set<BlockKey> choose_test_blocks(const BlockHistogram& blocks, double test_fraction,
                                      uint64_t seed) {
  if (blocks.empty()) return {};
  const size_t classes = blocks.begin()->second.size();
  std::vector<int64_t> total(classes, 0);
  std::vector<std::pair<std::string, BlockKey>> order;
  for (const auto& [key, counts] : blocks) {
    for (size_t c = 0; c < classes; ++c) total[c] += counts[c];
    order.emplace_back(sha256_hex(fmt::format("{}:block/{}/{}", seed, key.first, key.second)), key);
  }
  std::sort(order.begin(), order.end());

  std::vector<double> wanted(classes);
  for (size_t c = 0; c < classes; ++c) wanted[c] = test_fraction * static_cast<double>(total[c]);
  std::vector<int64_t> chosen_count(classes, 0);
  std::set<BlockKey> chosen;
  for (const auto& [hash, key] : order) {
    const std::vector<int64_t>& counts = blocks.at(key);
    bool helps = false;
    bool harms = false;
    for (size_t c = 0; c < classes; ++c) {
      if (counts[c] == 0) continue;
      helps = helps || static_cast<double>(chosen_count[c]) < wanted[c];
      harms = harms || static_cast<double>(chosen_count[c] + counts[c]) > 2 * wanted[c];
    }
    if (!helps || harms) continue;
    chosen.insert(key);
    for (size_t c = 0; c < classes; ++c) chosen_count[c] += counts[c];
  }
  return chosen;
}

BlockGrid::BlockGrid(double block_degrees)
    : block_degrees_(block_degrees),
      columns_(static_cast<int64_t>(std::ceil(360.0 / block_degrees - 1e-9))) {
  if (!(block_degrees > 0) || block_degrees > 180) {
    throw UsageError(fmt::format("blocks of {} degrees make no split.", block_degrees),
                     "give --block-degrees between 0 and 180, such as 5.");
  }
}

BlockKey BlockGrid::block_of(double longitude, double latitude) const {
  double east = std::fmod(longitude + 180.0, 360.0);
  if (east < 0) east += 360.0;
  const auto column = static_cast<int64_t>(std::floor(east / block_degrees_));
  const auto row = static_cast<int64_t>(std::floor((latitude + 90.0) / block_degrees_));
  return {row, std::min(column, columns_ - 1)};
}

bool BlockGrid::is_near(const std::set<BlockKey>& blocks, double longitude, double latitude,
                        double margin_degrees) const {
  const BlockKey own = block_of(longitude, latitude);
  // The square of +- margin around the place touches the blocks of its corners and, where the
  // margin is larger than a block, those between.
  const auto steps = static_cast<int64_t>(std::ceil(margin_degrees / block_degrees_));
  for (int64_t i = -steps; i <= steps; ++i) {
    for (int64_t j = -steps; j <= steps; ++j) {
      const double part = margin_degrees / static_cast<double>(std::max<int64_t>(steps, 1));
      const BlockKey block = block_of(longitude + part * static_cast<double>(j),
                                      latitude + part * static_cast<double>(i));
      if (block != own && blocks.contains(block)) return true;
    }
  }
  return false;
}

}  // namespace swath::data
