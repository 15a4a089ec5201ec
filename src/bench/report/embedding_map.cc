#include "bench/report/embedding_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <set>

#include "core/csv.h"
#include "core/error.h"
#include "core/files.h"
#include "data/modis/granule_table.h"
#include "eval/places_table.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;

// Beyond these, a number is a mistake.
constexpr int64_t kMostClusters = 10000;
constexpr int64_t kMostRows = 1000000;

class PlacesReader {
 public:
  PlacesReader(const fs::path& path, EmbeddingMap& map)
      : path_(path), map_(map), reader_(read_file(path)) {}

  // Granules by name, each with the chips whose rows and columns are known.
  std::map<std::string, GranuleMap> read() {
    const bool is_table = reader_.next() && reader_.line() == eval::kPlacesHeader;
    if (!is_table) fail("this is no table of places");
    while (reader_.next()) read_line();
    if (map_.chips.empty()) fail("it lists no chip");
    return std::move(granules_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}:{}: {}.", path_.string(), reader_.line_number(), what),
                "write it again with `swath embed`.");
  }

  // `otherwise` for an empty cell.
  template <class Number>
  Number number(size_t cell, Number otherwise) const {
    const std::string& text = reader_.cells()[cell];
    if (text.empty()) return otherwise;
    Number value = otherwise;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
      fail(fmt::format("`{}` is no number", text));
    }
    return value;
  }

  // -1 for an empty cell.
  int64_t whole_number(size_t cell, int64_t limit) const {
    const auto value = number<int64_t>(cell, -1);
    if (value < -1 || value >= limit) fail(fmt::format("{} is not in 0 to {}", value, limit - 1));
    return value;
  }

  void read_line() {
    const std::vector<std::string>& cells = reader_.cells();
    if (cells.size() != 8) fail(fmt::format("{} cells instead of 8", cells.size()));
    EmbeddedChip chip;
    chip.name = cells[0];
    chip.longitude = number(1, kNoNumber);
    chip.latitude = number(2, kNoNumber);
    chip.row = whole_number(5, kMostRows);
    chip.column = whole_number(6, kMostRows);
    chip.cluster = whole_number(7, kMostClusters);
    const size_t index = map_.chips.size();
    if (!cells[3].empty() && chip.row >= 0 && chip.column >= 0) {
      GranuleMap& granule = granules_[cells[3]];
      granule.name = cells[3];
      granule.platform = cells[4];
      granule.chips.push_back(index);
    }
    if (chip.cluster >= 0) {
      const auto cluster = static_cast<size_t>(chip.cluster);
      if (cluster >= map_.sizes.size()) map_.sizes.resize(cluster + 1);
      ++map_.sizes[cluster];
    }
    map_.chips.push_back(std::move(chip));
  }

  fs::path path_;
  EmbeddingMap& map_;
  CsvReader reader_;
  std::map<std::string, GranuleMap> granules_;
};

// The smallest distance between two different numbers; infinite where there is none.
double smallest_step(const std::set<int64_t>& numbers) {
  double step = std::numeric_limits<double>::infinity();
  for (auto number = numbers.begin(); number != numbers.end(); ++number) {
    if (number == numbers.begin()) continue;
    step = std::min(step, static_cast<double>(*number - *std::prev(number)));
  }
  return step;
}

// Extent and side of the squares.
void measure(const EmbeddingMap& map, GranuleMap& granule) {
  std::set<int64_t> rows;
  std::set<int64_t> columns;
  for (const size_t chip : granule.chips) {
    rows.insert(map.chips[chip].row);
    columns.insert(map.chips[chip].column);
  }
  granule.side = std::min(smallest_step(rows), smallest_step(columns));
  if (!std::isnan(map.chip_size)) granule.side = std::min(granule.side, map.chip_size);
  // One chip of unknown size.
  if (std::isinf(granule.side)) granule.side = 1;
  const double size = std::isnan(map.chip_size) ? granule.side : map.chip_size;
  granule.rows = *rows.rbegin() + std::llround(size);
  granule.columns = *columns.rbegin() + std::llround(size);
  if (granule.quick_look.bytes.empty()) return;
  granule.rows =
      std::max(granule.rows, data::modis::kQuickLookStep * int64_t{granule.quick_look.height});
  granule.columns =
      std::max(granule.columns, data::modis::kQuickLookStep * int64_t{granule.quick_look.width});
}

void add_quick_look(const fs::path& folder, GranuleMap& granule,
                    std::vector<std::string>& warnings) {
  const fs::path file = granule.name + ".png";
  // A name with a directory in it could reach outside the folder.
  if (folder.empty() || file != file.filename() || !fs::exists(folder / file)) return;
  try {
    granule.quick_look = read_picture(folder / file);
  } catch (const Error& error) {
    warnings.push_back(error.message() + " It was left out.");
  }
}

}  // namespace

EmbeddingMap read_embedding_map(const fs::path& directory, std::vector<std::string>& warnings) {
  EmbeddingMap map;
  const fs::path description = directory / eval::kEmbeddingFile;
  if (fs::exists(description)) {
    map.values = Json::parse(read_file(description), nullptr, false);
    if (!map.values.is_object()) {
      throw Error(fmt::format("{} is not a JSON object.", description.string()),
                  "write it again with `swath embed`.");
    }
  }
  const double chip_size = number_of(map.values, "chip_size");
  if (chip_size > 0) map.chip_size = chip_size;
  std::map<std::string, GranuleMap> granules =
      PlacesReader(directory / eval::kPlacesFile, map).read();
  map.num_granules = granules.size();
  for (auto& [name, granule] : granules) {
    if (map.granules.size() == kMostGranules) break;
    add_quick_look(text_of(map.values, "quick_looks"), granule, warnings);
    measure(map, granule);
    map.granules.push_back(std::move(granule));
  }
  for (size_t i = 0; i < map.chips.size(); ++i) {
    const bool is_placed =
        std::isfinite(map.chips[i].longitude) && std::isfinite(map.chips[i].latitude);
    if (is_placed) map.positions.push_back(i);
  }
  map.num_positions = map.positions.size();
  if (map.num_positions > kMostPositions) {
    for (size_t i = 0; i < kMostPositions; ++i) {
      map.positions[i] = map.positions[i * map.num_positions / kMostPositions];
    }
    map.positions.resize(kMostPositions);
  }
  return map;
}

}  // namespace swath::bench
