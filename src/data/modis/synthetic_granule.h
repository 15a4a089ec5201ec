// Granules in the layout of MOD021KM / MYD021KM, with the masks and geolocation that belong to
// them, for tests, demonstrations and benchmarks: pixels of real granules are not free to ship.
//
// Every file says that it is synthetic: in its name, in the attribute `Synthetic`, and in
// LOCALGRANULEID. Layout, attributes and scales are those of the specification and of two real
// granules (Terra 2010-277 17:10, Aqua 2002-226 00:00); pixels are invented (synthetic_scene.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/modis/bands.h"
#include "data/modis/synthetic_scene.h"

namespace swath::data::modis {

struct SyntheticGranuleOptions {
  Platform platform = Platform::kTerra;
  int year = 2012;
  int day_of_year = 123;
  int hour = 10;
  int minute = 35;
  int64_t scans = 203;  // of ten rows
  int64_t columns = 1354;
  bool is_day = true;
  double orbit_degrees = -25;  // along the orbit from the equator: negative is north by day
  // Latitude and longitude of each pixel, scans * 10 rows of `columns`; empty: of an invented
  // orbit. They must outlive the writing.
  std::span<const float> positions;
  uint64_t seed = 1;
  int deflate_level = 0;  // 0: not compressed
  // As real files have them: a scan that is missing, a piece of one, dead detectors (Terra's band
  // 29, Aqua's band 6). Saturation comes by itself where clouds are bright.
  bool has_faults = true;
  std::vector<uint32_t> quality_flags;  // of the scans, from the first on; the others have none
  bool with_mod06 = true;
  bool with_mod35 = false;
  bool with_mod03 = false;
  int64_t threads = 0;  // that compute pixels; 0: one per core
};

struct SyntheticGranule {
  std::filesystem::path level_1b;
  std::filesystem::path mod06;  // empty where it was not asked for
  std::filesystem::path mod35;
  std::filesystem::path mod03;
  int64_t rows = 0;
  int64_t columns = 0;
  // CloudRegime of each pixel; kClear wherever there is no cloud. Also in the MOD06 file, as
  // `Synthetic_Cloud_Regime`.
  std::vector<uint8_t> regimes;
};

// Writes the files into `folder`, under names of the products' form. Each appears complete. Throws
// Error naming the file.
SyntheticGranule write_synthetic_granule(const std::filesystem::path& folder,
                                         const SyntheticGranuleOptions& options);

// `swath data synthesize`: granules to try things with.
struct SyntheticSetOptions {
  std::string output;
  std::string platform = "both";
  int64_t granules = 4;  // of each platform: six of an orbit's day side, then those of the next day
  int64_t scans = 203;
  int64_t columns = 1354;
  std::string positions;
  int64_t hour = 10;
  int64_t deflate_level = 5;
  int64_t seed = 1;
  bool faults = true;
  int64_t processes = 0;

  void describe(FieldTable& fields);
};

// Granules with their MOD06 files in options.output, which must not hold other files. Returns
// {"output", "granules", "files": [level 1B], "synthetic": true}.
Json write_synthetic_granules(const SyntheticSetOptions& options);

}  // namespace swath::data::modis
