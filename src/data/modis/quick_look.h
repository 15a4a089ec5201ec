// A picture of a granule with its chips, to see what was cut.
#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "data/image.h"

namespace swath::data::modis {

struct QuickLookBand {
  const std::vector<uint16_t>* counts = nullptr;  // rows * columns
  bool is_emissive = false;                       // drawn inverted: cold clouds are bright
};

// Red, green and blue from three bands, each stretched between the 2nd and 98th percentile; every
// fourth pixel. Pixels without a value are dark violet, chips of `size` pixels framed in yellow.
Image draw_quick_look(const std::vector<QuickLookBand>& red_green_blue, int64_t rows,
                      int64_t columns, const std::vector<std::pair<int64_t, int64_t>>& chips,
                      int64_t size);

}  // namespace swath::data::modis
