#include "data/modis/chip_cutter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <type_traits>
#include <utility>

#include "data/modis/cloud_mask.h"
#include "data/modis/geolocation.h"
#include "data/modis/interleave.h"

namespace swath::data::modis {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kFirstCode = kLargestCount + 1;
constexpr uint16_t kBelowRange = 65530;

bool is_saturation(uint16_t count) {
  return count == kSaturated || count == kAboveRange || count == kAggregationFailed;
}

// Whether a window holds a code: the top bit of any count.
bool has_code(const uint16_t* counts, int64_t row_counts, int64_t height, int64_t width) {
  uint16_t all = 0;
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) all |= counts[row * row_counts + column];
  }
  return all > kLargestCount;
}

// Of the counts that are values; NaN where none is.
double mean_of_values(const uint16_t* counts, int64_t columns) {
  int64_t sum = 0;
  int64_t values = 0;
  for (int64_t column = 0; column < columns; ++column) {
    const int64_t is_value = counts[column] <= kLargestCount ? 1 : 0;
    sum += is_value * counts[column];
    values += is_value;
  }
  return values == 0 ? kNoValue : static_cast<double>(sum) / static_cast<double>(values);
}

// How far a row lies above the mean of the rows before and behind it, where all three have values;
// NaN where that is less than a quarter of the columns.
double difference_of_row(const uint16_t* counts, int64_t columns) {
  int64_t sum = 0;
  int64_t values = 0;
  for (int64_t column = 0; column < columns; ++column) {
    const uint16_t above = counts[column - columns];
    const uint16_t below = counts[column + columns];
    const int64_t is_value = (counts[column] | above | below) <= kLargestCount ? 1 : 0;
    sum += is_value * (2 * counts[column] - above - below);
    values += is_value;
  }
  if (4 * values < columns) return kNoValue;
  return 0.5 * static_cast<double>(sum) / static_cast<double>(values);
}

struct Shares {
  double ocean = kNoValue;
  double cloud = kNoValue;
};

Shares shares_of(const std::vector<int8_t>& mask, int64_t columns, int64_t top, int64_t left,
                 int64_t size) {
  int64_t water = 0;
  int64_t cloudy = 0;
  for (int64_t row = top; row < top + size; ++row) {
    for (int64_t column = left; column < left + size; ++column) {
      const CloudMaskByte byte(mask[static_cast<size_t>(row * columns + column)]);
      water += byte.is_water() ? 1 : 0;
      cloudy += byte.is_cloudy() ? 1 : 0;
    }
  }
  const auto pixels = static_cast<double>(size * size);
  return {static_cast<double>(water) / pixels, static_cast<double>(cloudy) / pixels};
}

// What `read` makes of a file that the chips can do without; nothing where it cannot be read.
template <class Read>
auto read_beside(const fs::path& path, const char* what, const Granule& granule, const Read& read,
                 GranuleReport* report) {
  std::optional<std::invoke_result_t<Read, const Hdf4File&>> result;
  try {
    const Hdf4File file(path);
    check_pair(file, granule.name(), granule.path().string());
    result = read(file);
  } catch (const BadGranule&) {
    throw;
  } catch (const BadSample& error) {
    report->unused.emplace_back(what);
    report->message += (report->message.empty() ? "" : " ") + error.message();
  }
  return result;
}

// The reason of most of a chip's missing pixels.
std::string most_frequent(const std::map<std::string, int64_t>& counts) {
  return std::max_element(counts.begin(), counts.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

}  // namespace

void check_pair(const Hdf4File& file, const GranuleName& granule, const std::string& owner) {
  const auto core = file.text("", "CoreMetadata.0");
  auto name = core ? parse_core_metadata(*core) : std::nullopt;
  if (!name) name = parse_granule_name(file.path().filename().string());
  if (!name || (name->platform == granule.platform && name->time_text() == granule.time_text())) {
    return;
  }
  throw BadGranule("pair",
                   fmt::format("{} belongs to {} {}, {} is {} {}.", file.path().string(),
                               platform_name(name->platform), name->time_text(), owner,
                               platform_name(granule.platform), granule.time_text()),
                   "give the file of the same granule, or leave it out with --skip-bad.");
}

Json GranuleReport::to_json() const {
  Json json = {{"name", name},
               {"problem", problem},
               {"message", message},
               {"unused", unused},
               {"positions", positions},
               {"chips", chips},
               {"rejected", rejected},
               {"codes", codes},
               {"striped_detectors", striped},
               {"mask", has_mask},
               {"exact_geolocation", has_exact_geolocation},
               {"synthetic", is_synthetic}};
  return json;
}

GranuleReport GranuleReport::from_json(const Json& json) {
  GranuleReport report;
  json.at("name").get_to(report.name);
  json.at("problem").get_to(report.problem);
  json.at("message").get_to(report.message);
  json.at("unused").get_to(report.unused);
  json.at("positions").get_to(report.positions);
  json.at("chips").get_to(report.chips);
  json.at("rejected").get_to(report.rejected);
  json.at("codes").get_to(report.codes);
  json.at("striped_detectors").get_to(report.striped);
  json.at("mask").get_to(report.has_mask);
  json.at("exact_geolocation").get_to(report.has_exact_geolocation);
  json.at("synthetic").get_to(report.is_synthetic);
  return report;
}

ChipCutter::ChipCutter(const ChipOptions& options) : options_(options), fields_(options.slots()) {
  options_.check();
  const std::map<std::string, CodePolicy> policies = options_.policies();
  for (int64_t count = kFirstCode; count <= kFill; ++count) {
    policies_.push_back(policies.at(count_code_name(static_cast<uint16_t>(count))));
  }
  chip_.resize(static_cast<size_t>(options_.size * options_.size) * fields_.slots().size());
}

void ChipCutter::count_codes(const std::vector<std::string>& bands, GranuleReport* report) const {
  for (size_t band = 0; band < bands.size(); ++band) {
    const std::vector<uint16_t>& plane = planes_[band];
    std::map<std::string, int64_t> found;
    for (int64_t row = 0; row < rows_; ++row) {
      const uint16_t* counts = plane.data() + row * columns_;
      if (!has_code(counts, columns_, 1, columns_)) continue;
      std::map<uint16_t, int64_t> of_row;
      for (int64_t column = 0; column < columns_;) {
        // Codes come in runs.
        const uint16_t count = counts[column];
        const int64_t begin = column;
        while (column < columns_ && (counts[column] == count ||
                                     (count <= kLargestCount && counts[column] <= kLargestCount))) {
          ++column;
        }
        if (count > kLargestCount) of_row[count] += column - begin;
      }
      for (const auto& [count, pixels] : of_row) found[count_code_name(count)] += pixels;
    }
    if (!found.empty()) report->codes[bands[band]] = found;
  }
}

// A detector is a stripe when its rows differ from their neighbours, over all scans, by more than
// chance (four standard errors) and by more than a hundredth of the band's signal. Rows are
// compared where all three have values: means of other pixels differ.
void ChipCutter::find_stripes(const std::vector<std::string>& bands,
                              const std::vector<BandScales>& scales, GranuleReport* report) const {
  const int64_t scans = rows_ / kRowsPerScan;
  std::vector<double> differences(static_cast<size_t>(rows_));
  for (size_t band = 0; band < bands.size(); ++band) {
    const uint16_t* plane = planes_[band].data();
    double total = 0;
    int64_t known = 0;
    for (int64_t row = 0; row < rows_; ++row) {
      const double mean = mean_of_values(plane + row * columns_, columns_);
      if (std::isnan(mean)) continue;
      total += mean;
      ++known;
    }
    if (known == 0) continue;
    differences.assign(static_cast<size_t>(rows_), kNoValue);
    for (int64_t row = 1; row + 1 < rows_; ++row) {
      differences[static_cast<size_t>(row)] = difference_of_row(plane + row * columns_, columns_);
    }
    const double signal = total / static_cast<double>(known) - scales[band].radiance_offset;
    const double least = 0.01 * std::abs(signal);
    for (int64_t detector = 0; detector < kRowsPerScan; ++detector) {
      double sum = 0;
      double squares = 0;
      int64_t count = 0;
      for (int64_t scan = 0; scan < scans; ++scan) {
        const auto row = static_cast<size_t>(scan * kRowsPerScan + detector);
        const double difference = differences[row];
        if (std::isnan(difference)) continue;
        sum += difference;
        squares += difference * difference;
        ++count;
      }
      if (count < 4) continue;
      const double average = sum / static_cast<double>(count);
      const double variance = squares / static_cast<double>(count) - average * average;
      const double error = std::sqrt(std::max(0.0, variance) / static_cast<double>(count));
      if (std::abs(average) > std::max(least, 4 * error)) {
        report->striped[bands[band]].push_back(detector);
      }
    }
  }
}

GranuleReport ChipCutter::cut(const GranuleFiles& files,
                              const std::function<void(const Chip&)>& take) {
  const Granule granule(files.level_1b);
  GranuleReport report;
  report.name = granule.name().product + "." + granule.name().time_text();
  report.is_synthetic = granule.is_synthetic();
  rows_ = granule.rows();
  columns_ = granule.columns();
  const int64_t size = options_.size;
  const int64_t step = options_.step();
  const auto places = [&](int64_t length) {
    return length < size ? 0 : (length - size) / step + 1;
  };
  report.positions = places(rows_) * places(columns_);
  const bool needs_day = options_.needs_day();
  if (needs_day && granule.day_night() == "Night") {
    throw BadGranule("night",
                     fmt::format("{}: is a night granule, and the bands or `time` ask for "
                                 "day.",
                                 files.level_1b.string()),
                     "select emissive bands, or leave it out with --skip-bad.");
  }

  // 1. Everything that can fail, before the first chip is given away.
  std::vector<std::string> bands;
  std::vector<BandScales> scales;
  planes_.resize(fields_.slots().size());
  std::vector<uint16_t*> out;
  for (const BandSlot& slot : fields_.slots()) {
    const std::string& band = slot.of(granule.platform());
    bands.push_back(band);
    scales.push_back(granule.scales(band));
    std::vector<uint16_t>& plane = planes_[bands.size() - 1];
    plane.resize(static_cast<size_t>(rows_ * columns_));
    out.push_back(plane.data());
  }
  granule.read_bands(bands, out);
  if (options_.max_uncertainty < kWorstUncertainty) {
    granule.mark_uncertain(bands, options_.max_uncertainty, out);
  }
  times_ = granule.file().times();
  std::optional<Geolocation> geolocation;
  if (!files.geolocation.empty()) {
    geolocation = read_beside(
        files.geolocation, "geolocation", granule,
        [&](const Hdf4File& file) { return Geolocation::from_mod03(file, rows_, columns_); },
        &report);
  }
  if (!geolocation) {
    try {
      geolocation = Geolocation::from_level_1b(granule.file(), rows_, columns_);
    } catch (const BadGranule&) {
      throw;
    } catch (const BadSample& error) {
      throw BadGranule("missing_data_set", error.message(), error.hint());
    }
  }
  std::vector<int8_t> mask;
  for (const fs::path& path : files.masks) {
    const auto found = read_beside(
        path, "mask", granule,
        [&](const Hdf4File& file) { return read_cloud_mask(file, rows_, columns_); }, &report);
    if (!found) continue;
    mask = *found;
    break;
  }
  if (mask.empty() && options_.needs_masks()) {
    if (!files.masks.empty()) throw BadGranule("unreadable", report.message);
    throw BadGranule("pair",
                     fmt::format("{}: shares of ocean or cloud are asked for, and no MOD06 "
                                 "or MOD35 file of it was found.",
                                 files.level_1b.string()),
                     "name their folder with --masks, or drop the filters of shares.");
  }
  report.has_mask = !mask.empty();
  report.has_exact_geolocation = geolocation->is_exact();
  count_codes(bands, &report);
  find_stripes(bands, scales, &report);
  for (const std::string& band : bands) {
    const auto found = report.codes.find(band);
    if (found == report.codes.end() || found->second.size() != 1 ||
        found->second.begin()->second != rows_ * columns_) {
      continue;
    }
    throw BadGranule("all_fill",
                     fmt::format("{}: band {} is {} everywhere.", files.level_1b.string(), band,
                                 found->second.begin()->first),
                     "select bands that were measured, or leave it out with --skip-bad.");
  }

  // 2. Position by position.
  Chip chip;
  std::vector<const uint16_t*> corners(bands.size());
  const auto look_at = [&](int64_t top, int64_t left) -> std::string {
    const auto first_scan = static_cast<size_t>(top / kRowsPerScan);
    const auto last_scan = static_cast<size_t>((top + size - 1) / kRowsPerScan);
    // Scans of type O were not taken: their pixels say so themselves.
    bool is_day = true;
    bool is_night = true;
    for (size_t scan = first_scan; scan <= last_scan; ++scan) {
      const Scan& of_scan = granule.scans()[scan];
      is_day = is_day && (of_scan.type == 'D' || of_scan.type == 'O');
      is_night = is_night && (of_scan.type == 'N' || of_scan.type == 'O');
      if ((of_scan.quality_flags & kUnusableScan) != 0) return "scan_quality";
    }
    if (needs_day && !is_day) return "night";
    if (options_.time == "night" && !is_night) return "day";
    const auto centre = geolocation->at(top + size / 2, left + size / 2);
    if (!centre) return "geolocation";
    if (centre->sun_zenith > options_.max_sun_zenith) return "sun_zenith";
    if (centre->view_zenith > options_.max_view_zenith) return "view_zenith";
    ChipValues& values = chip.values;
    values = ChipValues();
    if (!mask.empty()) {
      const Shares shares = shares_of(mask, columns_, top, left, size);
      values.ocean_share = shares.ocean;
      values.cloud_share = shares.cloud;
      if (shares.ocean < options_.min_ocean_share) return "ocean";
      if (shares.cloud < options_.min_cloud_share || shares.cloud > options_.max_cloud_share) {
        return "cloud";
      }
    }
    // Codes: whether they drop the chip, and how many pixels have all their bands.
    bool is_whole = true;
    for (size_t band = 0; band < bands.size(); ++band) {
      corners[band] = planes_[band].data() + top * columns_ + left;
      is_whole = is_whole && !has_code(corners[band], columns_, size, size);
    }
    const auto pixels = static_cast<double>(size * size);
    values.valid_share = 1;
    values.bands.assign(bands.size(), {});
    for (size_t band = 0; band < bands.size(); ++band) values.bands[band] = {1, scales[band]};
    interleave(corners, columns_, size, size, chip_.data());
    if (!is_whole) {
      std::map<std::string, int64_t> drops;
      int64_t valid = 0;
      int64_t saturated = 0;
      std::vector<int64_t> valid_of_band(bands.size(), 0);
      uint16_t* count = chip_.data();
      for (int64_t pixel = 0; pixel < size * size; ++pixel) {
        bool is_valid = true;
        bool is_saturated = false;
        for (size_t band = 0; band < bands.size(); ++band, ++count) {
          if (*count > kLargestCount) {
            const CodePolicy policy = policies_[static_cast<size_t>(*count - kFirstCode)];
            is_saturated = is_saturated || is_saturation(*count);
            if (policy == CodePolicy::kDrop) ++drops[count_code_name(*count)];
            if (policy == CodePolicy::kClamp) *count = *count == kBelowRange ? 0 : kLargestCount;
          }
          const bool has_value = *count <= kLargestCount;
          valid_of_band[band] += has_value ? 1 : 0;
          is_valid = is_valid && has_value;
        }
        valid += is_valid ? 1 : 0;
        saturated += is_saturated ? 1 : 0;
      }
      if (!drops.empty()) return most_frequent(drops);
      values.valid_share = static_cast<double>(valid) / pixels;
      values.saturated_share = static_cast<double>(saturated) / pixels;
      for (size_t band = 0; band < bands.size(); ++band) {
        values.bands[band].valid_share = static_cast<double>(valid_of_band[band]) / pixels;
      }
      if (values.valid_share < options_.min_valid_share) return "valid_share";
    }
    values.platform = granule.platform();
    values.date = granule.name().year * 1000 + granule.name().day_of_year;
    values.start = granule.name().hour * 100 + granule.name().minute;
    values.row = static_cast<double>(top);
    values.column = static_cast<double>(left);
    values.is_day = is_day ? 1 : 0;
    values.sun_zenith = centre->sun_zenith;
    values.sun_azimuth = centre->sun_azimuth;
    values.view_zenith = centre->view_zenith;
    values.view_azimuth = centre->view_azimuth;
    chip.latitude = centre->latitude;
    chip.longitude = centre->longitude;
    chip.time = granule.scans()[(first_scan + last_scan) / 2].start;
    return "";
  };
  for (int64_t top = 0; top + size <= rows_; top += step) {
    for (int64_t left = 0; left + size <= columns_; left += step) {
      const std::string rejection = look_at(top, left);
      if (!rejection.empty()) {
        ++report.rejected[rejection];
        continue;
      }
      chip.name = fmt::format("{}/r{:05}c{:05}", report.name, top, left);
      chip.counts = chip_;
      take(chip);
      report.accepted.emplace_back(top, left);
      ++report.chips;
    }
  }
  return report;
}

}  // namespace swath::data::modis
