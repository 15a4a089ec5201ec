// From one granule to its chips.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/modis/chip_fields.h"
#include "data/modis/chip_options.h"
#include "data/modis/granule.h"

namespace swath::data::modis {

// The files of one granule; empty: there is none.
struct GranuleFiles {
  std::string key;  // granule_key()
  std::filesystem::path level_1b;
  std::filesystem::path geolocation;         // MOD03 / MYD03
  std::vector<std::filesystem::path> masks;  // MOD06, MOD35: the first that can be read counts
};

// A file beside a granule that belongs to another one has the right size and wrong contents. Throws
// BadGranule ("pair") when its metadata, or else its name, say so. `owner` is whom it was found
// for, as the message calls it.
void check_pair(const Hdf4File& file, const GranuleName& granule, const std::string& owner);

struct Chip {
  std::string name;  // "MOD021KM.A2012123.1035/r00128c00256"
  ChipValues values;
  double longitude = kNoValue;
  double latitude = kNoValue;
  double time = kNoValue;            // of its middle scan
  std::span<const uint16_t> counts;  // (row, column, band), until the next chip
};

struct GranuleReport {
  std::string name;     // "MOD021KM.A2012123.1035"
  std::string problem;  // BadGranule's reason; empty: none
  std::string message;  // of the problem, or of files beside the granule that cannot be read
  // Files beside it that cannot be read and that its chips do without: "geolocation", "mask".
  std::vector<std::string> unused;
  int64_t positions = 0;  // chips that there would be without filters
  int64_t chips = 0;
  std::map<std::string, int64_t> rejected;                      // chips by reason
  std::map<std::string, std::map<std::string, int64_t>> codes;  // pixels by band and code
  std::map<std::string, std::vector<int64_t>> striped;          // detectors (0 to 9) by band
  bool has_mask = false;
  bool has_exact_geolocation = false;
  bool is_synthetic = false;
  std::vector<std::pair<int64_t, int64_t>> accepted;  // row and column of each chip

  Json to_json() const;
  static GranuleReport from_json(const Json& json);
};

// Cuts granules one after the other, with memory that is used again. One thread at a time.
class ChipCutter {
 public:
  explicit ChipCutter(const ChipOptions& options);

  // Calls `take` for every accepted chip, row by row. Throws BadGranule naming the file; nothing
  // was taken then.
  GranuleReport cut(const GranuleFiles& files, const std::function<void(const Chip&)>& take);

  const ChipFields& fields() const { return fields_; }
  // Spent in the last granule's file.
  const Hdf4Times& times() const { return times_; }
  // Of the last granule: rows, columns and planes in the order of the bands.
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  const std::vector<std::vector<uint16_t>>& planes() const { return planes_; }

 private:
  void count_codes(const std::vector<std::string>& bands, GranuleReport* report) const;
  void find_stripes(const std::vector<std::string>& bands, const std::vector<BandScales>& scales,
                    GranuleReport* report) const;

  ChipOptions options_;
  std::vector<CodePolicy> policies_;  // of counts from kLargestCount + 1 on
  ChipFields fields_;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  std::vector<std::vector<uint16_t>> planes_;
  std::vector<uint16_t> chip_;
  Hdf4Times times_;
};

}  // namespace swath::data::modis
