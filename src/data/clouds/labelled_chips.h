// What a directory of labelled chips says of each: beside the lists, for scores by granule,
// platform and season, and for the physical properties of the classes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/clouds/chip_place.h"

namespace swath::data::clouds {

struct LabelledChip {
  std::string name;
  std::string class_name;
  std::string part;
  ChipPlace place;
};

struct LabelledChips {
  std::vector<LabelledChip> chips;
  std::vector<std::string> property_names;
  std::vector<double> properties;  // one row per chip; NaN: none

  std::span<const double> properties_of(int64_t index) const;
};

inline constexpr const char* kLabelledChipsFile = "chips.csv";

// chips.csv: name, class, part, platform, date (year * 1000 + day), start (hour * 100 + minute),
// row, column, latitude, longitude, then the properties.
std::string labelled_chips_text(const LabelledChips& chips);
// Throws Error naming file and line.
LabelledChips read_labelled_chips(const std::filesystem::path& path);

}  // namespace swath::data::clouds
