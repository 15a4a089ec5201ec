// A MODIS Level-1B granule at 1 km (MOD021KM, MYD021KM): five minutes of one satellite's swath.
//
// Layout after MCST's file specifications (Terra V6.1.8, Aqua V6.1.9). Sizes come from the science
// data sets, bands from their `band_names`, scales from the granule itself: they change from one to
// the next.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/modis/bands.h"
#include "data/modis/chip_fields.h"
#include "data/modis/hdf4_file.h"

namespace swath::data::modis {

// Counts from here down to kLargestCount + 1 say why there is no value [specification, section 2].
inline constexpr uint16_t kFill = 65535;
inline constexpr uint16_t kSaturated = 65533;
inline constexpr uint16_t kAboveRange = 65529;
inline constexpr uint16_t kAggregationFailed = 65528;  // also: saturated at 250 m, bands 1 and 2
inline constexpr uint16_t kLargestCount = 32767;
// Ours, out of the range that the product reserves: the value's uncertainty index is too high.
inline constexpr uint16_t kUncertain = 65501;
// The highest uncertainty index: the value is not usable.
inline constexpr int64_t kWorstUncertainty = 15;

// "fill", "missing", "saturated" ...; "door_closed" for counts with the top bit flipped; "valid".
const char* count_code_name(uint16_t count);
inline constexpr int64_t kRowsPerScan = 10;

// A granule that cannot be used, with a short reason to count it by: "unreadable",
// "missing_data_set", "platform", "pair", "night", "all_fill", "layout", "crash".
class BadGranule : public BadSample {
 public:
  BadGranule(std::string reason, const std::string& message, const std::string& hint = {})
      : BadSample(message, hint), reason_(std::move(reason)) {}
  const std::string& reason() const { return reason_; }

 private:
  std::string reason_;
};

// What a file's name says: MOD021KM.A2010277.1710.005.2010278082807.hdf.
struct GranuleName {
  std::string product;  // "MOD021KM"
  Platform platform = Platform::kTerra;
  int year = 0;
  int day_of_year = 0;
  int hour = 0;
  int minute = 0;
  std::string collection;  // "005"

  // "A2010277.1710": the same for all products of a granule.
  std::string time_text() const;
  // Seconds since 1970, UTC.
  double start() const;
};
// Nothing for names of another form.
std::optional<GranuleName> parse_granule_name(const std::string& file_name);

// The same from a file's CoreMetadata.0; nothing where that names no product of MODIS or no time.
std::optional<GranuleName> parse_core_metadata(const std::string& odl);

// The first value of an object in ODL text such as CoreMetadata.0, without quotes.
std::optional<std::string> metadata_value(const std::string& odl, const std::string& object);

// Seconds of TAI since 1993 (MODIS time) as seconds since 1970, UTC.
double utc_of_tai93(double seconds);

struct Scan {
  char type = 'D';          // D day, N night, M mixed, O other
  double start = kNoValue;  // seconds since 1970, UTC
  uint32_t quality_flags = 0;
};
// Bits of Scan::quality_flags: manoeuvre, sector rotation, door closed, and abnormal science data.
inline constexpr uint32_t kUnusableScan = 1U << 1 | 1U << 2 | 1U << 8 | 1U << 26;

class Granule {
 public:
  // Reads everything but pixels. Throws BadGranule for files of another product, metadata that
  // contradict the name, and data sets that are missing or have other sizes than the rest.
  explicit Granule(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const Hdf4File& file() const { return file_; }
  Platform platform() const { return name_.platform; }
  // By its metadata, else by the file's name; where both say when it was taken, they agree.
  const GranuleName& name() const { return name_; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  const std::vector<Scan>& scans() const { return scans_; }
  // "Day", "Night" or "Both".
  const std::string& day_night() const { return day_night_; }
  bool is_synthetic() const { return is_synthetic_; }

  // Throw BadGranule when the granule has no such band.
  BandScales scales(const std::string& band) const;
  // Counts of the bands, rows * columns each, to the memory at `out[i]`.
  void read_bands(const std::vector<std::string>& bands, const std::vector<uint16_t*>& out) const;
  // Turns counts of the bands, as read_bands gives them, into kUncertain where their uncertainty
  // index (0 to 15) is above `most`.
  void mark_uncertain(const std::vector<std::string>& bands, int64_t most,
                      const std::vector<uint16_t*>& counts) const;

 private:
  struct Place {
    std::string array;
    int64_t plane = 0;
  };
  const Place& place_of(const std::string& band) const;
  void find_bands();
  void read_metadata();
  void read_scans();

  Hdf4File file_;
  GranuleName name_;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  std::vector<Scan> scans_;
  std::string day_night_;
  bool is_synthetic_ = false;
  std::map<std::string, Place> places_;
};

}  // namespace swath::data::modis
