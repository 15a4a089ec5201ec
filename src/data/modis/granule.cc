#include "data/modis/granule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <string_view>
#include <utility>

namespace swath::data::modis {
namespace {

constexpr const char* kSwathTable = "Level 1B Swath Metadata";
constexpr const char* kArrays[] = {"EV_250_Aggr1km_RefSB", "EV_500_Aggr1km_RefSB", "EV_1KM_RefSB",
                                   "EV_1KM_Emissive"};
// Band 26 once more: written by day and night, while EV_1KM_RefSB is fill at night.
constexpr const char* kBand26Array = "EV_Band26";

constexpr double kScanSeconds = 1.4771;

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    std::string name = text.substr(begin, end - begin);
    name.erase(0, name.find_first_not_of(" \t\n"));
    name.erase(name.find_last_not_of(" \t\n") + 1);
    names.push_back(name);
    begin = end + 1;
  }
  return names;
}

// The text as digits alone.
std::optional<int> whole_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

int day_of_year(int year, int month, int day) {
  using std::chrono::sys_days;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  const std::chrono::year_month_day first{std::chrono::year(year), std::chrono::January,
                                          std::chrono::day(1)};
  return static_cast<int>((sys_days(date) - sys_days(first)).count()) + 1;
}

}  // namespace

const char* count_code_name(uint16_t count) {
  if (count <= kLargestCount) return "valid";
  switch (count) {
    case kFill:
      return "fill";
    case 65534:
      return "missing";
    case kSaturated:
      return "saturated";
    case 65532:
      return "no_zero_point";
    case 65531:
      return "dead_detector";
    case 65530:
      return "below_range";
    case kAboveRange:
      return "above_range";
    case kAggregationFailed:
      return "aggregation_failed";
    case 65527:
      return "sector_rotation";
    case 65526:
      return "not_calibrated";
    case 65525:
      return "dead_subframe";
    case 65524:
      return "electronics";
    case kUncertain:
      return "uncertain";
    default:
      return count > 65500 ? "reserved" : "door_closed";
  }
}

std::string GranuleName::time_text() const {
  return fmt::format("A{:04}{:03}.{:02}{:02}", year, day_of_year, hour, minute);
}

double GranuleName::start() const {
  using std::chrono::sys_days;
  const std::chrono::year_month_day first{std::chrono::year(year), std::chrono::January,
                                          std::chrono::day(1)};
  const auto days = sys_days(first).time_since_epoch().count() + day_of_year - 1;
  return static_cast<double>(days) * 86400.0 + hour * 3600.0 + minute * 60.0;
}

std::optional<GranuleName> parse_granule_name(const std::string& file_name) {
  // PRODUCT.AYYYYDDD.HHMM.CCC. and whatever follows
  const size_t dot = file_name.find('.');
  const std::string_view rest =
      dot == std::string::npos ? "" : std::string_view(file_name).substr(dot);
  constexpr size_t kLength = 19;  // of ".A2010277.1710.005."
  if (rest.size() < kLength || !rest.starts_with(".A") || rest[9] != '.' || rest[14] != '.' ||
      rest[18] != '.') {
    return std::nullopt;
  }
  const auto year = whole_number(rest.substr(2, 4));
  const auto day = whole_number(rest.substr(6, 3));
  const auto hour = whole_number(rest.substr(10, 2));
  const auto minute = whole_number(rest.substr(12, 2));
  if (!year || !day || !hour || !minute || !whole_number(rest.substr(15, 3)) || *day < 1 ||
      *day > 366 || *hour > 23 || *minute > 59) {
    return std::nullopt;
  }
  GranuleName name;
  name.product = file_name.substr(0, dot);
  if (!name.product.starts_with("MOD") && !name.product.starts_with("MYD")) return std::nullopt;
  name.platform = name.product.starts_with("MYD") ? Platform::kAqua : Platform::kTerra;
  name.year = *year;
  name.day_of_year = *day;
  name.hour = *hour;
  name.minute = *minute;
  name.collection = rest.substr(15, 3);
  return name;
}

std::optional<std::string> metadata_value(const std::string& odl, const std::string& object) {
  // OBJECT = NAME, NUM_VAL = 1, VALUE = "text", each on a line of its own, spaces as they like.
  for (size_t place = odl.find("OBJECT"); place != std::string::npos;
       place = odl.find("OBJECT", place + 1)) {
    if (place > 0 && odl[place - 1] == '_') continue;  // END_OBJECT
    const size_t name = odl.find_first_not_of(" =", place + 6);
    if (name == std::string::npos || odl.compare(name, object.size(), object) != 0) continue;
    const size_t after = name + object.size();
    if (after < odl.size() && odl[after] != '\n' && odl[after] != ' ' && odl[after] != '\r')
      continue;
    const size_t end_of_object = odl.find("END_OBJECT", after);
    const size_t value = odl.find("VALUE", odl.find("NUM_VAL", after) + 7);
    if (value == std::string::npos || value > end_of_object) continue;
    size_t begin = odl.find_first_not_of(" =(\"", value + 5);
    const size_t end = odl.find_first_of("\"\n\r,)", begin);
    if (begin == std::string::npos) return std::nullopt;
    return odl.substr(begin, end - begin);
  }
  return std::nullopt;
}

std::optional<GranuleName> parse_core_metadata(const std::string& odl) {
  GranuleName name;
  name.product = metadata_value(odl, "SHORTNAME").value_or("");
  if (!name.product.starts_with("MOD") && !name.product.starts_with("MYD")) return std::nullopt;
  name.platform = name.product.starts_with("MYD") ? Platform::kAqua : Platform::kTerra;
  const std::string date = metadata_value(odl, "RANGEBEGINNINGDATE").value_or("");
  const std::string time = metadata_value(odl, "RANGEBEGINNINGTIME").value_or("");
  // "2010-10-04" and "17:10:00.000000".
  const auto part = [](const std::string& text, size_t begin, size_t count) {
    return text.size() < begin + count ? std::nullopt
                                       : whole_number(std::string_view(text).substr(begin, count));
  };
  const auto year = part(date, 0, 4);
  const auto month = part(date, 5, 2);
  const auto day = part(date, 8, 2);
  const auto hour = part(time, 0, 2);
  const auto minute = part(time, 3, 2);
  if (!year || !month || !day || !hour || !minute) return std::nullopt;
  name.year = *year;
  name.day_of_year = day_of_year(*year, *month, *day);
  name.hour = *hour;
  name.minute = *minute;
  name.collection = fmt::format("{:0>3}", metadata_value(odl, "VERSIONID").value_or("0"));
  return name;
}

double utc_of_tai93(double seconds) {
  // Days since 1970 on whose midnight a leap second had been added, since 1993 [IERS Bulletin C].
  constexpr double kLeapDays[] = {8582,  8947,  9496,  10043, 10592,
                                  13149, 14245, 15522, 16617, 17167};
  constexpr double kDaysTo1993 = 8401;
  double utc = kDaysTo1993 * 86400.0 + seconds;
  double leaps = 0;
  for (const double day : kLeapDays) {
    if (utc - leaps - 1 >= day * 86400.0 - 0.5) leaps += 1;
  }
  return utc - leaps;
}

Granule::Granule(const std::filesystem::path& path) try : file_(path) {
  read_metadata();
  find_bands();
  read_scans();
} catch (const BadGranule&) {
  throw;
} catch (const BadSample& error) {
  throw BadGranule("unreadable", error.message(), error.hint());
}

void Granule::read_metadata() {
  const std::string file = path().filename().string();
  const auto core = file_.text("", "CoreMetadata.0");
  const auto by_name = parse_granule_name(file);
  if (!core) {
    throw BadGranule("layout", fmt::format("{}: has no CoreMetadata.0.", path().string()),
                     "chips are cut from MOD021KM and MYD021KM files.");
  }
  const std::string product = metadata_value(*core, "SHORTNAME").value_or("");
  if (product != "MOD021KM" && product != "MYD021KM") {
    throw BadGranule("layout",
                     fmt::format("{}: its metadata say `{}`, not MOD021KM or MYD021KM.",
                                 path().string(), product),
                     "chips are cut from Level-1B granules at 1 km.");
  }
  const Platform platform = product == "MYD021KM" ? Platform::kAqua : Platform::kTerra;
  const std::string said = metadata_value(*core, "ASSOCIATEDPLATFORMSHORTNAME").value_or("");
  if (!said.empty() && said != platform_name(platform)) {
    throw BadGranule("platform", fmt::format("{}: is {} by its product, {} by its platform.",
                                             path().string(), product, said));
  }
  const auto by_metadata = parse_core_metadata(*core);
  if (!by_metadata && !by_name) {
    throw BadGranule("layout", fmt::format("{}: neither its name nor its metadata say when it was "
                                           "taken.",
                                           path().string()));
  }
  if (by_name && by_name->platform != platform) {
    throw BadGranule("platform",
                     fmt::format("{}: is named as {}, its metadata say {}.", path().string(),
                                 platform_name(by_name->platform), platform_name(platform)),
                     "rename it after what it holds.");
  }
  if (by_name && by_metadata && by_name->time_text() != by_metadata->time_text()) {
    throw BadGranule("platform",
                     fmt::format("{}: is named as {}, its metadata say {}.", path().string(),
                                 by_name->time_text(), by_metadata->time_text()),
                     "rename it after what it holds.");
  }
  name_ = by_metadata ? *by_metadata : *by_name;
  day_night_ = metadata_value(*core, "DAYNIGHTFLAG").value_or("");
  is_synthetic_ = file_.text("", "Synthetic").has_value();
}

void Granule::find_bands() {
  for (const char* array : kArrays) {
    if (!file_.has_array(array)) continue;
    const ArrayInfo& info = file_.array(array);
    const auto names = file_.text(array, "band_names");
    if (info.shape.size() != 3 || info.type != NumberType::kUint16 || !names) {
      throw BadGranule("layout", fmt::format("{}: `{}` is no uint16 array (band, row, column) with "
                                             "band_names.",
                                             path().string(), array));
    }
    const std::vector<std::string> bands = split_names(*names);
    if (std::cmp_not_equal(bands.size(), info.shape[0])) {
      throw BadGranule(
          "layout", fmt::format("{}: `{}` has {} planes and names {} bands ({}).", path().string(),
                                array, info.shape[0], bands.size(), *names));
    }
    for (size_t plane = 0; plane < bands.size(); ++plane) {
      places_[bands[plane]] = {array, static_cast<int64_t>(plane)};
    }
    if (rows_ == 0) {
      rows_ = info.shape[1];
      columns_ = info.shape[2];
    }
    if (info.shape[1] != rows_ || info.shape[2] != columns_) {
      throw BadGranule("layout", fmt::format("{}: `{}` has {} x {} pixels, others have {} x {}.",
                                             path().string(), array, info.shape[2], info.shape[1],
                                             columns_, rows_));
    }
  }
  if (file_.has_array(kBand26Array)) {
    const ArrayInfo& info = file_.array(kBand26Array);
    if (info.type != NumberType::kUint16 || info.shape != std::vector<int64_t>{rows_, columns_}) {
      throw BadGranule("layout",
                       fmt::format("{}: `{}` is {} of {} pixels; others have {} x {}.",
                                   path().string(), kBand26Array, number_type_name(info.type),
                                   fmt::join(info.shape, " x "), rows_, columns_));
    }
    places_["26"] = {kBand26Array, 0};
  }
  if (rows_ < kRowsPerScan || rows_ % kRowsPerScan != 0 || columns_ < 1) {
    throw BadGranule("missing_data_set",
                     fmt::format("{}: has {} x {} pixels of bands; whole scans of {} rows were "
                                 "expected. It has: {}.",
                                 path().string(), columns_, rows_, kRowsPerScan,
                                 fmt::join(file_.array_names(), ", ")));
  }
}

void Granule::read_scans() {
  const auto count = static_cast<size_t>(rows_ / kRowsPerScan);
  scans_.resize(count);
  const auto types = file_.text_column(kSwathTable, "Scan Type");
  const auto starts = file_.column(kSwathTable, "EV Sector Start Time");
  const auto flags = file_.column(kSwathTable, "Bit QA Flags");
  for (size_t i = 0; i < count; ++i) {
    Scan& scan = scans_[i];
    scan.start = name_.start() + static_cast<double>(i) * kScanSeconds;
    if (types && i < types->size()) {
      scan.type = (*types)[i].front();
    } else {
      scan.type = day_night_ == "Day" ? 'D' : day_night_ == "Night" ? 'N' : 'M';
    }
    // A missing scan has a fill value for its time.
    if (starts && i < starts->size() && (*starts)[i] > 0) scan.start = utc_of_tai93((*starts)[i]);
    if (flags && i < flags->size()) scan.quality_flags = static_cast<uint32_t>((*flags)[i]);
  }
}

const Granule::Place& Granule::place_of(const std::string& band) const {
  const auto found = places_.find(band);
  if (found != places_.end()) return found->second;
  throw BadGranule("missing_data_set",
                   fmt::format("{}: has no band {}; the science data set that holds it is missing.",
                               path().string(), band),
                   "download the file again, or select bands that it has.");
}

BandScales Granule::scales(const std::string& band) const {
  const Place& place = place_of(band);
  const auto plane = static_cast<size_t>(place.plane);
  const auto take = [&](const char* attribute, double* value) {
    const auto values = file_.numbers(place.array, attribute);
    if (values && plane < values->size()) *value = (*values)[plane];
  };
  BandScales scales;
  take("radiance_scales", &scales.radiance_scale);
  take("radiance_offsets", &scales.radiance_offset);
  take("reflectance_scales", &scales.reflectance_scale);
  take("reflectance_offsets", &scales.reflectance_offset);
  const bool has_reflectance = std::isfinite(scales.reflectance_scale);
  if (!std::isfinite(scales.radiance_scale) || !std::isfinite(scales.radiance_offset) ||
      scales.radiance_scale <= 0 || has_reflectance == is_emissive(band)) {
    throw BadGranule("layout",
                     fmt::format("{}: `{}` has no usable scales for band {}: radiance {} ({}), "
                                 "reflectance {}.",
                                 path().string(), place.array, band, scales.radiance_scale,
                                 scales.radiance_offset, scales.reflectance_scale));
  }
  return scales;
}

void Granule::read_bands(const std::vector<std::string>& bands,
                         const std::vector<uint16_t*>& out) const {
  std::map<std::string, std::pair<std::vector<int64_t>, std::vector<uint16_t*>>> by_array;
  for (size_t i = 0; i < bands.size(); ++i) {
    const Place& place = place_of(bands[i]);
    by_array[place.array].first.push_back(place.plane);
    by_array[place.array].second.push_back(out[i]);
  }
  try {
    for (const auto& [array, planes] : by_array) {
      file_.read_planes(array, planes.first, planes.second);
    }
  } catch (const BadSample& error) {
    throw BadGranule("unreadable", error.message(), error.hint());
  }
}

void Granule::mark_uncertain(const std::vector<std::string>& bands, int64_t most,
                             const std::vector<uint16_t*>& counts) const {
  const auto pixels = static_cast<size_t>(rows_ * columns_);
  std::map<std::string, std::vector<uint8_t>> indexes;
  for (size_t band = 0; band < bands.size(); ++band) {
    const Place& place = place_of(bands[band]);
    const std::string name = place.array + "_Uncert_Indexes";
    if (!file_.has_array(name) || file_.array(name).type != NumberType::kUint8 ||
        file_.array(name).shape != file_.array(place.array).shape) {
      throw BadGranule("missing_data_set",
                       fmt::format("{}: has no uint8 `{}` of the shape of `{}`.", path().string(),
                                   name, place.array),
                       "read it without uncertainties: max_uncertainty=15.");
    }
    std::vector<uint8_t>& of_array = indexes[name];
    try {
      if (of_array.empty()) of_array = file_.read<uint8_t>(name);
    } catch (const BadSample& error) {
      throw BadGranule("unreadable", error.message(), error.hint());
    }
    const uint8_t* index = of_array.data() + static_cast<size_t>(place.plane) * pixels;
    for (size_t i = 0; i < pixels; ++i) {
      uint16_t& count = counts[band][i];
      if (count <= kLargestCount && (index[i] & kWorstUncertainty) > most) count = kUncertain;
    }
  }
}

}  // namespace swath::data::modis
