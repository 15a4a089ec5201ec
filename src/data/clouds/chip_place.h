// Where on which granule a chip lies: what joins chips with labels that others computed.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/modis/bands.h"

namespace swath::data::clouds {

using modis::Platform;
using modis::platform_name;

// Takes any case, and the products' "MOD" and "MYD".
std::optional<Platform> parse_platform(std::string_view text);

// Five minutes of one platform.
struct Granule {
  Platform platform = Platform::kTerra;
  int32_t date = 0;   // year * 1000 + day of the year
  int32_t start = 0;  // hour * 100 + minute, UTC

  auto operator<=>(const Granule&) const = default;
  int32_t year() const { return date / 1000; }
  int32_t month() const;         // 1..12
  std::string text() const;      // "Terra A2012123.1015"
  std::string name() const;      // "MOD021KM.A2012123.1015", as `swath chips` names it
  std::string day_text() const;  // "2012-05-02"
};

// From year, month, day, hour and minute; minutes are rounded down to the granule's five. Throws
// Error for what is no date or time.
Granule granule_at(Platform platform, int year, int month, int day, int hour, int minute);

// From a product's name, such as "MOD021KM.A2012123.1015.061...", anywhere in `text`.
std::optional<Granule> parse_granule(std::string_view text);

// Of a chip's first pixel in its granule.
struct ChipPixel {
  int32_t row = 0;
  int32_t column = 0;
};

// From "r00128c00256" or "r128_c256", the last such text in the name.
std::optional<ChipPixel> parse_pixel(std::string_view name);

struct ChipPlace {
  Granule granule;
  // Of the chip's first pixel in its granule; -1: not known.
  int32_t row = -1;
  int32_t column = -1;
  // Degrees, of the chip's centre; NaN: not known.
  double latitude = std::numeric_limits<double>::quiet_NaN();
  double longitude = std::numeric_limits<double>::quiet_NaN();

  bool has_pixel() const { return row >= 0 && column >= 0; }
  bool has_position() const;
};

// On a sphere of 6371.0088 km (the mean radius of WGS 84).
double great_circle_km(double latitude_a, double longitude_a, double latitude_b,
                       double longitude_b);

// The place of each sample. Its name holds the granule's product and the chip's first pixel, as
// `swath chips` writes it ("MOD021KM.A2012123.1015/r00128c00256"); the position is the dataset's.
// Throws UsageError naming the first sample whose granule is not known.
std::vector<ChipPlace> chip_places(const Dataset& dataset);

}  // namespace swath::data::clouds
