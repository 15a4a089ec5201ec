// The numbers beside a chip's counts in a record shard: where and when it lies, how the sun and the
// instrument stood, and its granule's scales.
#pragma once

#include <array>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/calibration.h"
#include "data/modis/bands.h"
#include "data/record_shard.h"

namespace swath::data::modis {

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

// Of one band of a granule.
struct BandScales {
  double radiance_scale = kNoValue;  // W m^-2 um^-1 sr^-1 per count
  double radiance_offset = kNoValue;
  double reflectance_scale = kNoValue;  // emissive bands have none
  double reflectance_offset = kNoValue;
};

struct ChipValues {
  Platform platform = Platform::kTerra;
  double date = 0;   // year * 1000 + day of the year, of the granule
  double start = 0;  // hour * 100 + minute of the granule, UTC
  double row = 0;    // of the chip's first pixel in the granule
  double column = 0;
  double is_day = 0;  // 1: all its scans are in day mode
  // Degrees, at the chip's centre.
  double sun_zenith = kNoValue;
  double sun_azimuth = kNoValue;
  double view_zenith = kNoValue;
  double view_azimuth = kNoValue;
  double valid_share = 0;         // pixels with all bands
  double saturated_share = 0;     // pixels with a saturated band
  double ocean_share = kNoValue;  // without a mask nothing is known
  double cloud_share = kNoValue;
  struct OfBand {
    double valid_share = 0;
    BandScales scales;
  };
  std::vector<OfBand> bands;  // one per slot
};

// "radiance", "reflectance", "brightness_temperature": reflectances are those of the product, times
// the cosine of the sun's zenith angle; where a band has no such value (the reflectance of emissive
// bands, the temperature of reflective ones) it takes its radiance or its reflectance instead.
const std::vector<std::string>& unit_names();

// Fields by place. Thread rule: const functions may be called from many threads at once.
class ChipFields {
 public:
  explicit ChipFields(std::vector<BandSlot> slots);
  // Throws Error when the layout's records are not chips.
  explicit ChipFields(const RecordLayout& layout);
  static bool describes(const RecordLayout& layout);

  const std::vector<BandSlot>& slots() const { return slots_; }
  // Names of `RecordLayout::field_names`, and the values in that order.
  std::vector<std::string> names() const;
  std::vector<double> pack(const ChipValues& values) const;
  ChipValues unpack(std::span<const double> fields) const;

  std::shared_ptr<const Calibration> calibration(std::span<const double> fields,
                                                 const std::string& units) const;

 private:
  std::vector<BandSlot> slots_;
};

}  // namespace swath::data::modis
