// What `swath chips` is asked for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"
#include "data/modis/bands.h"

namespace swath::data::modis {

// What becomes of a chip with a pixel that has a code instead of a value.
enum class CodePolicy {
  kDrop,   // the chip is rejected
  kMask,   // the code stays: readers see that the value is missing
  kClamp,  // saturated becomes the largest count, below range 0
};

// Which granules and which parts of them become chips. Shares count pixels of a chip, 0 to 1.
struct ChipOptions {
  std::vector<std::string> bands = {"6/5", "7", "20", "28", "29", "31"};
  int64_t size = 128;
  int64_t stride = 0;  // 0: size
  std::string invalid = "drop";
  std::vector<std::string> codes;  // "saturated=clamp": other policies for single codes
  double min_valid_share = 0.5;    // of pixels that have all bands
  int64_t max_uncertainty = 15;    // of the product's index; 15: indexes are not read
  std::string time = "auto";
  double max_sun_zenith = 180;
  double max_view_zenith = 90;
  double min_ocean_share = 0;
  double min_cloud_share = 0;
  double max_cloud_share = 1;

  void describe(FieldTable& fields);
  // Throws UsageError for fields that contradict each other.
  void check() const;

  std::vector<BandSlot> slots() const;
  int64_t step() const { return stride > 0 ? stride : size; }
  // By the names of count_code_name(). Throws UsageError for others.
  std::map<std::string, CodePolicy> policies() const;
  bool needs_day() const;  // "auto": when a band is reflective
  bool needs_masks() const {
    return min_ocean_share > 0 || min_cloud_share > 0 || max_cloud_share < 1;
  }
};

}  // namespace swath::data::modis
