// Embedded chips where they lie, with their clusters: what `swath embed` wrote into a directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/report/json_fields.h"
#include "bench/report/picture.h"
#include "core/json.h"

namespace swath::bench {

// More would make a page that nobody reads to its end.
inline constexpr size_t kMostGranules = 12;
// A browser is slow with more points of one chart.
inline constexpr size_t kMostPositions = 5000;

struct EmbeddedChip {
  std::string name;
  double longitude = kNoNumber;  // degrees, of the centre
  double latitude = kNoNumber;
  int64_t row = -1;  // of the first pixel in the granule; -1: not known
  int64_t column = -1;
  int64_t cluster = -1;  // -1: none
};

// The swath of a granule as it was scanned: columns to the right, rows downwards, in pixels.
struct GranuleMap {
  std::string name;
  std::string platform;
  std::vector<size_t> chips;  // with known rows and columns
  int64_t rows = 0;           // as far as the picture or else the chips reach
  int64_t columns = 0;
  double side = 0;     // of the squares: chips', or less where chips overlap
  Picture quick_look;  // without bytes: there is none
};

struct EmbeddingMap {
  Json values = Json::object();  // embed.json; empty where it is missing
  std::vector<EmbeddedChip> chips;
  std::vector<int64_t> sizes;        // chips of each cluster; empty: there are no clusters
  double chip_size = kNoNumber;      // pixels a side
  std::vector<GranuleMap> granules;  // the first kMostGranules by name
  size_t num_granules = 0;           // of which chips have known rows and columns
  std::vector<size_t> positions;     // chips with longitude and latitude: at most kMostPositions
  size_t num_positions = 0;
};

// Reads places.csv and, where it is there, embed.json. Throws Error naming the file, and the line
// that cannot be used. Quick looks that cannot be used are named in `warnings` and left out.
EmbeddingMap read_embedding_map(const std::filesystem::path& directory,
                                std::vector<std::string>& warnings);

}  // namespace swath::bench
