#include "data/modis/synthetic_granule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <optional>
#include <utility>

#include "core/error.h"
#include "data/image.h"
#include "data/modis/granule.h"
#include "data/modis/hdf4_writer.h"
#include "data/modis/synthetic_bands.h"
#include "data/modis/synthetic_metadata.h"
#include "data/modis/worker_processes.h"
#include "data/parallel.h"

namespace swath::data::modis {
namespace fs = std::filesystem;
namespace {

constexpr double kScanSeconds = 1.4771;
constexpr int64_t kGridStep = 5;
constexpr int64_t kGridFirst = 2;
constexpr uint8_t kUncertaintyFill = 255;
constexpr uint8_t kUnusable = 15;
constexpr int64_t kOfADay = 6;
constexpr int64_t kMostGranules = 365 * kOfADay;  // of one year

// All that is known of the swath before it becomes counts.
struct Swath {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<ScenePixel> pixels;
  std::vector<PixelGeometry> geometry;
};

Swath make_swath(const SyntheticGranuleOptions& options, double start) {
  Swath swath;
  swath.rows = options.scans * kRowsPerScan;
  swath.columns = options.columns;
  const auto size = static_cast<size_t>(swath.rows * swath.columns);
  swath.pixels.resize(size);
  if (!options.positions.empty()) {
    swath.geometry = geometry_of_positions(options.positions, swath.columns, start);
  }
  const bool is_invented = swath.geometry.empty();
  swath.geometry.resize(size);
  const SyntheticScene scene(options.seed);
  const SyntheticOrbit orbit(start, options.is_day, options.orbit_degrees);
  parallel_for(swath.rows, options.threads, [&](int64_t row) {
    for (int64_t column = 0; column < swath.columns; ++column) {
      const auto place = static_cast<size_t>(row * swath.columns + column);
      if (is_invented) swath.geometry[place] = orbit.at(row, column, swath.columns);
      swath.pixels[place] = scene.at(row, column, swath.geometry[place].latitude);
    }
  });
  return swath;
}

// The missing pieces of a granule with faults.
struct Faults {
  int64_t missing_scan = -1;
  int64_t broken_scan = -1;  // its last columns are missing

  explicit Faults(const SyntheticGranuleOptions& options) {
    if (!options.has_faults || options.scans < 4) return;
    missing_scan = options.scans / 2;
    broken_scan = options.scans / 4;
  }
  std::optional<uint16_t> code(int64_t row, int64_t column, int64_t columns) const {
    const int64_t scan = row / kRowsPerScan;
    if (scan == missing_scan) return kFill;
    if (scan == broken_scan && column >= columns - columns / 8) return uint16_t{65534};
    return std::nullopt;
  }
};

bool is_dead(const SyntheticGranuleOptions& options, const std::string& band, int64_t detector) {
  if (!options.has_faults) return false;
  if (options.platform == Platform::kTerra) return band == "29" && detector == 5;
  return band == "6" && (detector == 2 || detector == 5 || detector == 7 || detector == 8);
}

std::vector<uint16_t> counts_of(const SyntheticGranuleOptions& options, const Swath& swath,
                                const Faults& faults, const BandArray& array, size_t plane) {
  std::vector<uint16_t> counts(static_cast<size_t>(swath.rows * swath.columns));
  const std::string& band = array.bands[plane];
  const auto planck = planck_inverse(options.platform, band);
  const double wavelength = array.wavelengths[plane];
  parallel_for(swath.rows, options.threads, [&](int64_t row) {
    for (int64_t column = 0; column < swath.columns; ++column) {
      const auto place = static_cast<size_t>(row * swath.columns + column);
      const PixelGeometry& geometry = swath.geometry[place];
      if (const auto code = faults.code(row, column, swath.columns)) {
        counts[place] = *code;
        continue;
      }
      // Reflective bands are not sent at night, band 26 in its own array apart.
      if (!options.is_day && !planck) {
        counts[place] = kFill;
        continue;
      }
      if (is_dead(options, band, row % kRowsPerScan)) {
        counts[place] = 65531;
        continue;
      }
      double count = 0;
      if (planck) {
        const double kelvin =
            scene_temperature(swath.pixels[place], wavelength, geometry.view_zenith);
        count = radiance_of_temperature(*planck, kelvin) / array.radiance_scales[plane] +
                array.offsets[plane];
      } else {
        const double sun = std::max(0.0, std::cos(geometry.sun_zenith * std::numbers::pi / 180));
        count = scene_reflectance(swath.pixels[place], wavelength) * sun /
                    array.reflectance_scales[plane] +
                array.offsets[plane];
      }
      if (count > kLargestCount) {
        counts[place] = planck                                  ? kAboveRange
                        : plane < 2 && array.samples_used == 28 ? kAggregationFailed
                                                                : kSaturated;
      } else {
        counts[place] = static_cast<uint16_t>(std::lround(std::max(0.0, count)));
      }
    }
  });
  return counts;
}

uint8_t uncertainty_of(uint16_t count) {
  if (count == kFill) return kUncertaintyFill;
  return count > kLargestCount ? kUnusable : uint8_t{1};
}

// From the instrument to the pixel, on a sphere.
double range_metres(const PixelGeometry& geometry) {
  constexpr double kEarth = 6371e3;
  constexpr double kAltitude = 705e3;
  const double zenith = geometry.view_zenith * std::numbers::pi / 180;
  const double across = kEarth * std::sin(zenith);
  return std::sqrt((kEarth + kAltitude) * (kEarth + kAltitude) - across * across) -
         kEarth * std::cos(zenith);
}

int16_t hundredths(double degrees) { return static_cast<int16_t>(std::lround(degrees * 100)); }

// Positions and angles: every fifth pixel, or all of them.
std::vector<std::string> add_geolocation(Hdf4Writer& writer, const Swath& swath, bool is_exact,
                                         int deflate_level) {
  const int64_t step = is_exact ? 1 : kGridStep;
  const int64_t first = is_exact ? 0 : kGridFirst;
  const int64_t lines = swath.rows / step;
  const int64_t columns = is_exact ? swath.columns : swath.columns / kGridStep + 1;
  const std::vector<std::string> dimensions =
      is_exact ? std::vector<std::string>{"nscans*10", "mframes"}
               : std::vector<std::string>{"2*nscans", "1KM_geo_dim"};
  const auto grid = [&](const auto& value_of) {
    std::vector<decltype(value_of(PixelGeometry()))> values;
    values.reserve(static_cast<size_t>(lines * columns));
    for (int64_t line = 0; line < lines; ++line) {
      for (int64_t i = 0; i < columns; ++i) {
        const int64_t row = first + line * step;
        const int64_t column = std::min(swath.columns - 1, first + i * step);
        values.push_back(
            value_of(swath.geometry[static_cast<size_t>(row * swath.columns + column)]));
      }
    }
    return values;
  };
  const std::vector<int64_t> shape = {lines, columns};
  writer.add_array("Latitude", NumberType::kFloat32, shape, dimensions,
                   grid([](const PixelGeometry& g) { return static_cast<float>(g.latitude); }),
                   deflate_level);
  writer.add_array("Longitude", NumberType::kFloat32, shape, dimensions,
                   grid([](const PixelGeometry& g) { return static_cast<float>(g.longitude); }),
                   deflate_level);
  writer.add_text("Latitude", "units", "degrees");
  writer.add_text("Longitude", "units", "degrees");
  for (const char* name : {"Latitude", "Longitude"}) {
    writer.add_numbers(name, "_FillValue", NumberType::kFloat32, {-999.9});
  }
  const std::vector<std::pair<const char*, std::function<int16_t(const PixelGeometry&)>>> angles = {
      {"SensorZenith", [](const PixelGeometry& g) { return hundredths(g.view_zenith); }},
      {"SensorAzimuth", [](const PixelGeometry& g) { return hundredths(g.view_azimuth); }},
      {"SolarZenith", [](const PixelGeometry& g) { return hundredths(g.sun_zenith); }},
      {"SolarAzimuth", [](const PixelGeometry& g) { return hundredths(g.sun_azimuth); }}};
  std::vector<std::string> names;
  const auto describe_grid = [&](const char* name) {
    if (is_exact) return;
    writer.add_text(name, "line_numbers", "3,8");
    writer.add_text(name, "frame_numbers", "3,8,13,...");
  };
  writer.add_array("Height", NumberType::kInt16, shape, dimensions,
                   grid([](const PixelGeometry&) { return int16_t{0}; }), deflate_level);
  writer.add_text("Height", "units", "meters");
  writer.add_numbers("Height", "_FillValue", NumberType::kInt16, {-32767});
  describe_grid("Height");
  names.emplace_back("Height");
  for (const auto& [name, value_of] : angles) {
    writer.add_array(name, NumberType::kInt16, shape, dimensions, grid(value_of), deflate_level);
    writer.add_text(name, "units", "degrees");
    writer.add_numbers(name, "valid_range", NumberType::kInt16, {-18000, 18000});
    writer.add_numbers(name, "_FillValue", NumberType::kInt16, {-32767});
    writer.add_numbers(name, "scale_factor", NumberType::kFloat64, {0.01});
    describe_grid(name);
    names.emplace_back(name);
  }
  constexpr double kRangeStep = 25;
  writer.add_array("Range", NumberType::kUint16, shape, dimensions,
                   grid([](const PixelGeometry& g) {
                     return static_cast<uint16_t>(std::lround(range_metres(g) / kRangeStep));
                   }),
                   deflate_level);
  writer.add_text("Range", "units", "meters");
  writer.add_numbers("Range", "valid_range", NumberType::kUint16, {27000, kFill});
  writer.add_numbers("Range", "_FillValue", NumberType::kUint16, {0});
  writer.add_numbers("Range", "scale_factor", NumberType::kFloat64, {kRangeStep});
  describe_grid("Range");
  names.emplace_back("Range");
  writer.add_array("gflags", NumberType::kUint8, shape, dimensions,
                   grid([](const PixelGeometry&) { return uint8_t{0}; }), deflate_level);
  writer.add_numbers("gflags", "_FillValue", NumberType::kUint8, {255});
  names.emplace_back("gflags");
  return names;
}

std::vector<Hdf4Writer::Column> scan_table(const SyntheticGranuleOptions& options,
                                           const Swath& swath, const Faults& faults, double tai) {
  std::vector<Hdf4Writer::Column> columns = {
      {"Scan Number", NumberType::kInt32, {}, {}},
      {"Complete Scan Flag", NumberType::kInt32, {}, {}},
      {"Scan Type", NumberType::kText, {}, {}},
      {"Mirror Side", NumberType::kInt32, {}, {}},
      {"EV Sector Start Time", NumberType::kFloat64, {}, {}},
      {"EV_Frames", NumberType::kInt32, {}, {}},
      {"Nadir_Frame_Number", NumberType::kInt32, {}, {}},
      {"Latitude of Nadir Frame", NumberType::kFloat32, {}, {}},
      {"Longitude of Nadir Frame", NumberType::kFloat32, {}, {}},
      {"Solar Azimuth of Nadir Frame", NumberType::kFloat32, {}, {}},
      {"Solar Zenith of Nadir Frame", NumberType::kFloat32, {}, {}},
      {"No. OBC BB thermistor outliers", NumberType::kInt32, {}, {}},
      {"Bit QA Flags", NumberType::kUint32, {}, {}},
      {"Sector Rotation Angle", NumberType::kFloat32, {}, {}}};
  for (int64_t scan = 0; scan < options.scans; ++scan) {
    const int64_t nadir_frame = swath.columns / 2;
    const auto nadir = static_cast<size_t>(scan * kRowsPerScan * swath.columns + nadir_frame);
    const PixelGeometry& geometry = swath.geometry[nadir];
    const bool is_complete = scan != faults.missing_scan && scan != faults.broken_scan;
    const auto index = static_cast<size_t>(scan);
    const double flags = index < options.quality_flags.size() ? options.quality_flags[index] : 0;
    const std::vector<double> values = {static_cast<double>(scan + 1),
                                        is_complete ? 1.0 : 0.0,
                                        0,
                                        static_cast<double>(scan % 2),
                                        tai + static_cast<double>(scan) * kScanSeconds,
                                        static_cast<double>(swath.columns),
                                        static_cast<double>(nadir_frame),
                                        geometry.latitude,
                                        geometry.longitude,
                                        geometry.sun_azimuth,
                                        geometry.sun_zenith,
                                        0,
                                        flags,
                                        0};
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i].type == NumberType::kText) {
        columns[i].texts.emplace_back(scan == faults.missing_scan ? "O   "
                                      : options.is_day            ? "D   "
                                                                  : "N   ");
      } else {
        columns[i].values.push_back(values[i]);
      }
    }
  }
  return columns;
}

void add_band_array(Hdf4Writer& writer, const BandArray& array, const std::vector<uint16_t>& counts,
                    const Swath& swath, int deflate_level) {
  const auto bands = static_cast<int64_t>(array.bands.size());
  const std::vector<int64_t> shape = {bands, swath.rows, swath.columns};
  const std::vector<std::string> dimensions = {array.dimension, "10*nscans", "Max_EV_frames"};
  const auto same = [&](double value) { return std::vector<double>(array.bands.size(), value); };
  writer.add_array(array.name, NumberType::kUint16, shape, dimensions, counts, deflate_level);
  writer.add_text(array.name, "units", "none");
  writer.add_numbers(array.name, "valid_range", NumberType::kUint16, {0, kLargestCount});
  writer.add_numbers(array.name, "_FillValue", NumberType::kUint16, {kFill});
  writer.add_text(array.name, "long_name", array.long_name);
  writer.add_text(array.name, "band_names", array.band_names);
  writer.add_numbers(array.name, "radiance_scales", NumberType::kFloat32, array.radiance_scales);
  writer.add_numbers(array.name, "radiance_offsets", NumberType::kFloat32, array.offsets);
  writer.add_text(array.name, "radiance_units", "Watts/m^2/micrometer/steradian");
  if (!array.is_emissive()) {
    writer.add_numbers(array.name, "reflectance_scales", NumberType::kFloat32,
                       array.reflectance_scales);
    writer.add_numbers(array.name, "reflectance_offsets", NumberType::kFloat32, array.offsets);
    writer.add_text(array.name, "reflectance_units", "none");
    writer.add_numbers(array.name, "corrected_counts_scales", NumberType::kFloat32,
                       same(0.12619403));
    writer.add_numbers(array.name, "corrected_counts_offsets", NumberType::kFloat32, array.offsets);
    writer.add_text(array.name, "corrected_counts_units", "counts");
  }
  std::vector<uint8_t> indexes(counts.size());
  std::transform(counts.begin(), counts.end(), indexes.begin(), uncertainty_of);
  const std::string uncertainty = array.name + "_Uncert_Indexes";
  writer.add_array(uncertainty, NumberType::kUint8, shape, dimensions, indexes, deflate_level);
  writer.add_text(uncertainty, "units", "none");
  writer.add_numbers(uncertainty, "valid_range", NumberType::kUint8, {0, kUnusable});
  writer.add_numbers(uncertainty, "_FillValue", NumberType::kUint8, {kUncertaintyFill});
  std::vector<double> specified;
  std::vector<double> scaling;
  for (const std::string& band : array.bands) {
    specified.push_back(uncertainty_scale(band).specified);
    scaling.push_back(uncertainty_scale(band).scaling);
  }
  writer.add_numbers(uncertainty, "specified_uncertainty", NumberType::kFloat32, specified);
  writer.add_numbers(uncertainty, "scaling_factor", NumberType::kFloat32, scaling);
  writer.add_text(uncertainty, "uncertainty_units", "percent");
  if (array.samples_used > 0) {
    const std::vector<int8_t> used(counts.size(), static_cast<int8_t>(array.samples_used));
    writer.add_array(array.name + "_Samples_Used", NumberType::kInt8, shape, dimensions, used,
                     deflate_level);
    writer.add_numbers(array.name + "_Samples_Used", "valid_range", NumberType::kInt8,
                       {0, static_cast<double>(array.samples_used)});
    writer.add_numbers(array.name + "_Samples_Used", "_FillValue", NumberType::kInt8, {-1});
  }
}

// Band 26 once more, by day and night.
void add_band_26(Hdf4Writer& writer, const BandArray& array, const std::vector<uint16_t>& counts,
                 const Swath& swath, int deflate_level) {
  const std::vector<int64_t> shape = {swath.rows, swath.columns};
  const std::vector<std::string> dimensions = {"10*nscans", "Max_EV_frames"};
  writer.add_array("EV_Band26", NumberType::kUint16, shape, dimensions, counts, deflate_level);
  writer.add_text("EV_Band26", "units", "none");
  writer.add_numbers("EV_Band26", "valid_range", NumberType::kUint16, {0, kLargestCount});
  writer.add_numbers("EV_Band26", "_FillValue", NumberType::kUint16, {kFill});
  writer.add_text("EV_Band26", "long_name", "Earth View Band 26 Scaled Integers");
  const auto one = [&](const char* name, double value) {
    writer.add_numbers("EV_Band26", name, NumberType::kFloat32, {value});
  };
  one("radiance_scales", array.radiance_scales[kPlaneOfBand26]);
  one("radiance_offsets", array.offsets[kPlaneOfBand26]);
  one("reflectance_scales", array.reflectance_scales[kPlaneOfBand26]);
  one("reflectance_offsets", array.offsets[kPlaneOfBand26]);
  writer.add_text("EV_Band26", "radiance_units", "Watts/m^2/micrometer/steradian");
  writer.add_text("EV_Band26", "reflectance_units", "none");
  std::vector<uint8_t> indexes(counts.size());
  std::transform(counts.begin(), counts.end(), indexes.begin(), uncertainty_of);
  writer.add_array("EV_Band26_Uncert_Indexes", NumberType::kUint8, shape, dimensions, indexes,
                   deflate_level);
  writer.add_numbers("EV_Band26_Uncert_Indexes", "_FillValue", NumberType::kUint8,
                     {kUncertaintyFill});
}

// What the product says of its detectors, all of them good.
void add_detectors(Hdf4Writer& writer, int64_t scans) {
  struct Kind {
    const char* name;
    const char* bands_name;
    int64_t bands;
    const char* detectors_name;
    int64_t detectors;
  };
  constexpr Kind kThermal = {"Thermal", "number of emissive bands", 16, "detectors per 1km band",
                             10};
  constexpr Kind kKinds[] = {
      kThermal,
      {"Reflective 250m", "number of 250m bands", 2, "detectors per 250m band", 40},
      {"Reflective 500m", "number of 500m bands", 5, "detectors per 500m band", 20},
      {"Reflective 1km", "number of 1km reflective bands", 15, "detectors per 1km band", 10}};
  for (const char* name :
       {"Noise in Thermal Detectors", "Change in relative responses of thermal detectors"}) {
    writer.add_array(name, NumberType::kUint8, {kThermal.bands, kThermal.detectors},
                     {kThermal.bands_name, kThermal.detectors_name},
                     std::vector<uint8_t>(static_cast<size_t>(kThermal.bands * kThermal.detectors)),
                     0);
  }
  for (const Kind& kind : kKinds) {
    writer.add_array(fmt::format("DC Restore Change for {} Bands", kind.name), NumberType::kInt8,
                     {scans, kind.bands, kind.detectors},
                     {"number of scans", kind.bands_name, kind.detectors_name},
                     std::vector<int8_t>(static_cast<size_t>(scans * kind.bands * kind.detectors)),
                     0);
  }
}

// Beside its place, then renamed: a file under its name is complete.
void write_complete(const fs::path& path, const std::function<void(Hdf4Writer&)>& fill) {
  fs::create_directories(path.parent_path());
  const fs::path partial = path.string() + ".partial";
  {
    Hdf4Writer writer(partial);
    fill(writer);
    writer.close();
  }
  fs::rename(partial, path);
}

void write_level_1b(const fs::path& path, const SyntheticGranuleOptions& options,
                    const GranuleName& name, const Swath& swath, double start) {
  const Faults faults(options);
  const int level = options.deflate_level;
  write_complete(path, [&](Hdf4Writer& writer) {
    std::vector<std::string> data_fields;
    std::vector<StructText::FieldText> field_texts;
    const std::vector<BandArray> arrays = band_arrays(options.platform, options.seed);
    for (const BandArray& array : arrays) {
      std::vector<uint16_t> counts;
      for (size_t plane = 0; plane < array.bands.size(); ++plane) {
        const std::vector<uint16_t> of_band = counts_of(options, swath, faults, array, plane);
        counts.insert(counts.end(), of_band.begin(), of_band.end());
      }
      add_band_array(writer, array, counts, swath, level);
      const std::string list =
          fmt::format("\"{}\",\"10*nscans\",\"Max_EV_frames\"", array.dimension);
      for (const auto& [suffix, type] :
           {std::pair{"", "UINT16"}, std::pair{"_Uncert_Indexes", "UINT8"},
            std::pair{"_Samples_Used", "INT8"}}) {
        if (array.samples_used == 0 && std::string(type) == "INT8") continue;
        data_fields.push_back(array.name + suffix);
        field_texts.push_back({array.name + suffix, type, list});
      }
      writer.add_array(array.dimension, NumberType::kFloat32,
                       {static_cast<int64_t>(array.numbers.size())}, {array.dimension},
                       std::vector<float>(array.numbers.begin(), array.numbers.end()), 0);
      data_fields.push_back(array.dimension);
      field_texts.push_back({array.dimension, "FLOAT32", fmt::format("\"{}\"", array.dimension)});
    }
    {
      SyntheticGranuleOptions by_day = options;
      by_day.is_day = true;
      add_band_26(writer, arrays[2], counts_of(by_day, swath, faults, arrays[2], kPlaneOfBand26),
                  swath, level);
      for (const auto& [field, type] :
           {std::pair{"EV_Band26", "UINT16"}, std::pair{"EV_Band26_Uncert_Indexes", "UINT8"}}) {
        data_fields.emplace_back(field);
        field_texts.push_back({field, type, "\"10*nscans\",\"Max_EV_frames\""});
      }
    }
    for (const std::string& field : add_geolocation(writer, swath, false, level)) {
      data_fields.push_back(field);
      field_texts.push_back({field,
                             field == "gflags"  ? "UINT8"
                             : field == "Range" ? "UINT16"
                                                : "INT16",
                             "\"2*nscans\",\"1KM_geo_dim\""});
    }
    add_detectors(writer, options.scans);
    StructText structure("MODIS_SWATH_Type_L1B", {{"Band_250M", 2},
                                                  {"Band_500M", 5},
                                                  {"Band_1KM_RefSB", 15},
                                                  {"Band_1KM_Emissive", 16},
                                                  {"10*nscans", swath.rows},
                                                  {"Max_EV_frames", swath.columns},
                                                  {"2*nscans", swath.rows / kGridStep},
                                                  {"1KM_geo_dim", swath.columns / kGridStep + 1}});
    structure.maps({{"2*nscans", "10*nscans"}, {"1KM_geo_dim", "Max_EV_frames"}});
    structure.fields("GeoField", {{"Latitude", "FLOAT32", "\"2*nscans\",\"1KM_geo_dim\""},
                                  {"Longitude", "FLOAT32", "\"2*nscans\",\"1KM_geo_dim\""}});
    structure.fields("DataField", field_texts);
    const std::string file = path.filename().string();
    writer.add_text("", "HDFEOSVersion", "HDFEOS_V2.9");
    writer.add_text("", "StructMetadata.0", structure.done());
    writer.add_text("", "CoreMetadata.0", core_metadata(name, file, options.is_day));
    writer.add_text("", "Synthetic", kNotice);
    const auto whole = [&](const char* attribute, int64_t value) {
      writer.add_numbers("", attribute, NumberType::kInt32, {static_cast<double>(value)});
    };
    whole("Number of Scans", options.scans);
    whole("Number of Day mode scans", options.is_day ? options.scans : 0);
    whole("Number of Night mode scans", options.is_day ? 0 : options.scans);
    whole("Incomplete Scans",
          (faults.missing_scan >= 0 ? 1 : 0) + (faults.broken_scan >= 0 ? 1 : 0));
    whole("Max Earth View Frames", swath.columns);
    writer.add_numbers("", "Earth-Sun Distance", NumberType::kFloat32, {1.0});
    for (const char* dimension : {"10*nscans", "Max_EV_frames"}) {
      writer.add_numbers("",
                         fmt::format("HDFEOS_FractionalOffset_{}_MODIS_SWATH_Type_L1B", dimension),
                         NumberType::kFloat32, {0});
    }
    writer.finish_arrays();
    // MODIS time: TAI seconds since 1993.
    double tai = start - 725846400.0;
    tai += start - utc_of_tai93(tai);
    writer.add_table("Level 1B Swath Metadata", scan_table(options, swath, faults, tai));
    writer.add_group("MODIS_SWATH_Type_L1B", "SWATH",
                     {{"Geolocation Fields", {"Latitude", "Longitude"}},
                      {"Data Fields", data_fields},
                      {"Swath Attributes", {}}},
                     "SWATH Vgroup");
  });
}

// Byte 0 of the cloud mask.
int8_t mask_byte(const ScenePixel& pixel, bool is_day) {
  unsigned bits = 1;
  bits |= pixel.is_cloudy() ? 0U : 3U << 1;
  bits |= is_day ? 1U << 3 : 0U;
  bits |= 1U << 4 | 1U << 5;  // no glint, no snow
  bits |= pixel.is_land ? 3U << 6 : 0U;
  return static_cast<int8_t>(bits);
}

std::vector<int8_t> mask_bytes(const Swath& swath, bool is_day) {
  std::vector<int8_t> bytes;
  bytes.reserve(swath.pixels.size());
  for (const ScenePixel& pixel : swath.pixels) bytes.push_back(mask_byte(pixel, is_day));
  return bytes;
}

void write_mod06(const fs::path& path, const SyntheticGranuleOptions& options,
                 const GranuleName& name, const Swath& swath, const std::vector<uint8_t>& regimes) {
  write_complete(path, [&](Hdf4Writer& writer) {
    const int level = std::max(1, options.deflate_level);
    const std::vector<int64_t> shape = {swath.rows, swath.columns};
    const std::vector<std::string> dimensions = {"Cell_Along_Swath_1km:mod06",
                                                 "Cell_Across_Swath_1km:mod06"};
    const std::vector<int8_t> mask = mask_bytes(swath, options.is_day);
    std::vector<int8_t> pairs(mask.size() * 2, 0);
    for (size_t i = 0; i < mask.size(); ++i) pairs[2 * i] = mask[i];
    writer.add_array("Cloud_Mask_1km", NumberType::kInt8, {swath.rows, swath.columns, 2},
                     {dimensions[0], dimensions[1], "Cloud_Mask_1km_Num_Bytes:mod06"}, pairs,
                     level);
    writer.add_numbers("Cloud_Mask_1km", "_FillValue", NumberType::kInt8, {0});
    struct Property {
      const char* name;
      const char* units;
      double scale;
      std::function<double(const ScenePixel&)> value;
    };
    const std::vector<Property> properties = {
        {"Cloud_Optical_Thickness", "none", 0.01,
         [](const ScenePixel& pixel) { return pixel.optical_thickness; }},
        {"cloud_top_pressure_1km", "hPa", 0.1,
         [](const ScenePixel& pixel) { return pixel.top_hectopascal; }},
        {"cloud_top_temperature_1km", "K", 0.01,
         [](const ScenePixel& pixel) { return pixel.top_kelvin; }},
        {"Cloud_Effective_Radius", "micron", 0.01,
         [](const ScenePixel& pixel) { return pixel.particle_um; }}};
    for (const Property& property : properties) {
      // The temperature's offset of the product keeps it inside of 16 bits.
      const double offset = property.units[0] == 'K' ? -15000 : 0;
      std::vector<int16_t> values;
      values.reserve(swath.pixels.size());
      for (const ScenePixel& pixel : swath.pixels) {
        values.push_back(pixel.is_cloudy() ? static_cast<int16_t>(std::lround(
                                                 property.value(pixel) / property.scale + offset))
                                           : int16_t{-9999});
      }
      writer.add_array(property.name, NumberType::kInt16, shape, dimensions, values, level);
      writer.add_numbers(property.name, "_FillValue", NumberType::kInt16, {-9999});
      writer.add_numbers(property.name, "scale_factor", NumberType::kFloat64, {property.scale});
      writer.add_numbers(property.name, "add_offset", NumberType::kFloat64, {offset});
      writer.add_text(property.name, "units", property.units);
    }
    std::vector<int8_t> phases;
    for (const ScenePixel& pixel : swath.pixels) {
      phases.push_back(!pixel.is_cloudy() ? int8_t{0} : pixel.is_ice ? int8_t{2} : int8_t{1});
    }
    writer.add_array("Cloud_Phase_Infrared_1km", NumberType::kInt8, shape, dimensions, phases,
                     level);
    writer.add_array(kRegimeField, NumberType::kUint8, shape, dimensions, regimes, level);
    writer.add_text("", "CoreMetadata.0",
                    core_metadata(name, path.filename().string(), options.is_day));
    writer.add_text("", "Synthetic", kNotice);
  });
}

Image read_positions(const fs::path& path) {
  Image image = decode_image(ImageSource::from_file(path));
  if (image.type == PixelType::kFloat32 && image.bands == 2 && image.height % kRowsPerScan == 0) {
    return image;
  }
  throw UsageError(fmt::format("synthesize: {} holds {} x {} values of {} bands.", path.string(),
                               image.height, image.width, image.bands),
                   "give float32 of (rows, columns, 2): latitude and longitude, in whole scans of "
                   "ten rows.");
}

GranuleName name_of(const SyntheticGranuleOptions& options) {
  GranuleName name;
  name.platform = options.platform;
  name.year = options.year;
  name.day_of_year = options.day_of_year;
  name.hour = options.hour;
  name.minute = options.minute;
  return name;
}

std::string product_of(Platform platform, const std::string& product) {
  return (platform == Platform::kTerra ? "MOD" : "MYD") + product;
}

std::string file_name_of(const GranuleName& name) {
  return fmt::format("{}.{}.061.synthetic.hdf", name.product, name.time_text());
}

}  // namespace

SyntheticGranule write_synthetic_granule(const fs::path& folder,
                                         const SyntheticGranuleOptions& options) {
  if (options.scans < 1 || options.columns < 10) {
    throw UsageError(fmt::format("synthetic granule: {} scans of {} columns are too few.",
                                 options.scans, options.columns));
  }
  const int64_t pixels = options.scans * kRowsPerScan * options.columns;
  if (!options.positions.empty() && std::ssize(options.positions) != 2 * pixels) {
    throw UsageError(fmt::format("synthetic granule: {} positions for {} pixels.",
                                 options.positions.size() / 2, pixels));
  }
  GranuleName name = name_of(options);
  const double start = name.start();
  const Swath swath = make_swath(options, start);
  SyntheticGranule granule;
  granule.rows = swath.rows;
  granule.columns = swath.columns;
  granule.regimes.reserve(swath.pixels.size());
  for (const ScenePixel& pixel : swath.pixels) {
    granule.regimes.push_back(pixel.is_cloudy() ? static_cast<uint8_t>(pixel.regime) : uint8_t{0});
  }
  const auto path_of = [&](const std::string& product) {
    name.product = product_of(options.platform, product);
    return folder / file_name_of(name);
  };
  granule.level_1b = path_of("021KM");
  write_level_1b(granule.level_1b, options, name, swath, start);
  if (options.with_mod06) {
    granule.mod06 = path_of("06_L2");
    write_mod06(granule.mod06, options, name, swath, granule.regimes);
  }
  if (options.with_mod35) {
    granule.mod35 = path_of("35_L2");
    write_complete(granule.mod35, [&](Hdf4Writer& writer) {
      std::vector<int8_t> planes = mask_bytes(swath, options.is_day);
      planes.resize(planes.size() * 6, 0);
      writer.add_array(
          "Cloud_Mask", NumberType::kInt8, {6, swath.rows, swath.columns},
          {"Byte_Segment:mod35", "Cell_Along_Swath_1km:mod35", "Cell_Across_Swath_1km:mod35"},
          planes, 1);
      writer.add_text("", "CoreMetadata.0",
                      core_metadata(name, granule.mod35.filename().string(), options.is_day));
      writer.add_text("", "Synthetic", kNotice);
    });
  }
  if (options.with_mod03) {
    granule.mod03 = path_of("03");
    write_complete(granule.mod03, [&](Hdf4Writer& writer) {
      add_geolocation(writer, swath, true, 1);
      writer.add_text("", "CoreMetadata.0",
                      core_metadata(name, granule.mod03.filename().string(), options.is_day));
      writer.add_text("", "Synthetic", kNotice);
    });
  }
  return granule;
}

void SyntheticSetOptions::describe(FieldTable& fields) {
  fields.add("output", &output, "folder of the granules");
  fields.add("platform", &platform, "whose granules").one_of({"terra", "aqua", "both"});
  fields.add("granules", &granules, "of each platform").at_least(1).at_most(kMostGranules);
  fields.add("scans", &scans, "of ten rows each; whole granules have 203").at_least(1);
  fields.add("columns", &columns, "of pixels; whole granules have 1354").at_least(10);
  fields.add("positions", &positions,
             "latitude and longitude of each pixel of a real swath, .npy of (rows, columns, 2) "
             "float32: gives scans and columns; empty: an invented orbit");
  fields.add("hour", &hour, "UTC, at which each day's first granule begins")
      .at_least(0)
      .at_most(23);
  fields.add("deflate_level", &deflate_level, "compression; 0: none").at_least(0).at_most(9);
  fields.add("seed", &seed, "of what is invented").at_least(0);
  fields.add("faults", &faults, "missing scans and dead detectors, as real files have them");
  fields.add("processes", &processes, "that write at once; 0: one per core").at_least(0);
}

Json write_synthetic_granules(const SyntheticSetOptions& options) {
  if (options.output.empty()) {
    throw UsageError("synthesize: no output.", "give one with --output FOLDER.");
  }
  const fs::path folder(options.output);
  if (fs::exists(folder) && !fs::is_empty(folder)) {
    throw UsageError(fmt::format("synthesize: output {} is not empty.", options.output),
                     "choose another output: invented granules must not lie among others.");
  }
  Image positions;
  if (!options.positions.empty()) positions = read_positions(options.positions);
  constexpr double kFirstDegrees = -52;
  constexpr double kStepDegrees = 18.2;  // of an orbit in five minutes
  std::vector<SyntheticGranuleOptions> granules;
  for (const Platform platform : {Platform::kTerra, Platform::kAqua}) {
    if (options.platform == (platform == Platform::kTerra ? "aqua" : "terra")) continue;
    for (int64_t i = 0; i < options.granules; ++i) {
      SyntheticGranuleOptions granule;
      granule.platform = platform;
      granule.day_of_year = static_cast<int>(1 + i / kOfADay * 7 % 365);
      granule.hour = static_cast<int>(options.hour);
      granule.minute = static_cast<int>(i % kOfADay * 5);
      granule.orbit_degrees = kFirstDegrees + kStepDegrees * static_cast<double>(i % kOfADay);
      granule.scans = options.scans;
      granule.columns = options.columns;
      if (!options.positions.empty()) {
        granule.scans = positions.height / kRowsPerScan;
        granule.columns = positions.width;
        granule.positions = {positions.as<float>(),
                             static_cast<size_t>(2 * positions.height * positions.width)};
      }
      granule.deflate_level = static_cast<int>(options.deflate_level);
      granule.has_faults = options.faults;
      granule.seed = static_cast<uint64_t>(options.seed * 100000 + 2 * i) +
                     (platform == Platform::kAqua ? 1 : 0);
      granules.push_back(std::move(granule));
    }
  }

  // HDF4 compresses in one thread of a process.
  WorkerPlan plan;
  plan.name = "synthesize";
  plan.task_name = "granule";
  plan.tasks = plan.items = std::ssize(granules);
  plan.processes = std::min<int64_t>(thread_count(options.processes), plan.tasks);
  const int64_t threads = std::max<int64_t>(1, thread_count(0) / plan.processes);
  for (SyntheticGranuleOptions& granule : granules) granule.threads = threads;
  plan.make_task = [&] {
    return [&](int64_t task, ItemLog&) {
      write_synthetic_granule(folder, granules[static_cast<size_t>(task)]);
    };
  };
  plan.name_of_item = [&](int64_t item) {
    return name_of(granules[static_cast<size_t>(item)]).time_text();
  };
  run_in_processes(plan);

  Json files = Json::array();
  for (const SyntheticGranuleOptions& granule : granules) {
    GranuleName name = name_of(granule);
    name.product = product_of(granule.platform, "021KM");
    files.push_back((folder / file_name_of(name)).string());
  }
  return {{"output", options.output},
          {"granules", files.size()},
          {"files", files},
          {"synthetic", true}};
}

}  // namespace swath::data::modis
