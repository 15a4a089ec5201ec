#include "data/modis/geolocation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "data/modis/granule.h"

namespace swath::data::modis {
namespace {

constexpr double kDegree = std::numbers::pi / 180;
constexpr double kAngleStep = 0.01;  // degrees per count of the angles
constexpr int16_t kAngleFill = -32767;
// The products' fill of positions; some files have -999.
constexpr float kLargestFill = -998.0F;
constexpr int64_t kStep = 5;
constexpr int64_t kFirst = 2;

struct Names {
  const char* sun_zenith;
  const char* sun_azimuth;
  const char* view_zenith;
  const char* view_azimuth;
};

Geolocation read_grid(const Hdf4File& file, int64_t lines, int64_t columns, bool is_exact) {
  const auto latitude = file.read<float>("Latitude");
  const auto longitude = file.read<float>("Longitude");
  const Names names{"SolarZenith", "SolarAzimuth", "SensorZenith", "SensorAzimuth"};
  const auto sun_zenith = file.read<int16_t>(names.sun_zenith);
  const auto sun_azimuth = file.read<int16_t>(names.sun_azimuth);
  const auto view_zenith = file.read<int16_t>(names.view_zenith);
  const auto view_azimuth = file.read<int16_t>(names.view_azimuth);
  const auto size = static_cast<size_t>(lines * columns);
  for (const size_t found : {latitude.size(), longitude.size(), sun_zenith.size(),
                             sun_azimuth.size(), view_zenith.size(), view_azimuth.size()}) {
    if (found == size) continue;
    throw BadGranule(is_exact ? "pair" : "missing_data_set",
                     fmt::format("{}: its geolocation has {} points where {} x {} belong to the "
                                 "pixels (Latitude is {}).",
                                 file.path().string(), found, lines, columns,
                                 fmt::join(file.array("Latitude").shape, " x ")),
                     "give the geolocation file of the same granule.");
  }
  std::vector<PixelGeometry> grid(size);
  std::vector<bool> is_known(size);
  for (size_t i = 0; i < size; ++i) {
    is_known[i] = latitude[i] > kLargestFill && longitude[i] > kLargestFill &&
                  sun_zenith[i] != kAngleFill && view_zenith[i] != kAngleFill;
    grid[i] = {latitude[i],
               longitude[i],
               kAngleStep * sun_zenith[i],
               kAngleStep * sun_azimuth[i],
               kAngleStep * view_zenith[i],
               kAngleStep * view_azimuth[i]};
  }
  return {std::move(grid), std::move(is_known), columns, is_exact};
}

// Points and weights around a row or column of one scan's grid; ends are extrapolated.
struct Between {
  int64_t low = 0;
  double share = 0;  // of low + 1
};

Between between(int64_t pixel, int64_t points) {
  const double place = static_cast<double>(pixel - kFirst) / static_cast<double>(kStep);
  const int64_t low = std::clamp(static_cast<int64_t>(std::floor(place)), int64_t{0}, points - 2);
  return {low, place - static_cast<double>(low)};
}

void add(Vector* sum, const Vector& term, double weight) {
  for (size_t i = 0; i < 3; ++i) (*sum)[i] += weight * term[i];
}

}  // namespace

Vector unit_of_position(double latitude, double longitude) {
  const double around = std::cos(latitude * kDegree);
  return {around * std::cos(longitude * kDegree), around * std::sin(longitude * kDegree),
          std::sin(latitude * kDegree)};
}

Vector unit_of_direction(double zenith, double azimuth) {
  const double flat = std::sin(zenith * kDegree);
  return {flat * std::cos(azimuth * kDegree), flat * std::sin(azimuth * kDegree),
          std::cos(zenith * kDegree)};
}

std::array<double, 2> position_of(const Vector& vector) {
  const double around = std::hypot(vector[0], vector[1]);
  return {std::atan2(vector[2], around) / kDegree, std::atan2(vector[1], vector[0]) / kDegree};
}

std::array<double, 2> direction_of(const Vector& vector) {
  const double flat = std::hypot(vector[0], vector[1]);
  return {std::atan2(flat, vector[2]) / kDegree, std::atan2(vector[1], vector[0]) / kDegree};
}

Geolocation::Geolocation(std::vector<PixelGeometry> grid, std::vector<bool> is_known,
                         int64_t grid_columns, bool is_exact)
    : grid_(std::move(grid)),
      is_known_(std::move(is_known)),
      grid_columns_(grid_columns),
      is_exact_(is_exact) {}

Geolocation Geolocation::from_level_1b(const Hdf4File& file, int64_t rows, int64_t columns) {
  return read_grid(file, rows / kStep, columns / kStep + 1, false);
}

Geolocation Geolocation::from_mod03(const Hdf4File& file, int64_t rows, int64_t columns) {
  return read_grid(file, rows, columns, true);
}

std::optional<PixelGeometry> Geolocation::at(int64_t row, int64_t column) const {
  if (is_exact_) {
    const auto place = static_cast<size_t>(row * grid_columns_ + column);
    if (!is_known_[place]) return std::nullopt;
    return grid_[place];
  }
  const int64_t scan = row / kRowsPerScan;
  const Between lines = between(row % kRowsPerScan, kRowsPerScan / kStep);
  const Between columns = between(column, grid_columns_);
  Vector position{};
  Vector sun{};
  Vector view{};
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 2; ++j) {
      const auto place =
          static_cast<size_t>((2 * scan + lines.low + i) * grid_columns_ + columns.low + j);
      const double weight =
          (i == 0 ? 1 - lines.share : lines.share) * (j == 0 ? 1 - columns.share : columns.share);
      if (!is_known_[place]) return std::nullopt;
      const PixelGeometry& point = grid_[place];
      add(&position, unit_of_position(point.latitude, point.longitude), weight);
      add(&sun, unit_of_direction(point.sun_zenith, point.sun_azimuth), weight);
      add(&view, unit_of_direction(point.view_zenith, point.view_azimuth), weight);
    }
  }
  const auto [latitude, longitude] = position_of(position);
  const auto [sun_zenith, sun_azimuth] = direction_of(sun);
  const auto [view_zenith, view_azimuth] = direction_of(view);
  return PixelGeometry{latitude, longitude, sun_zenith, sun_azimuth, view_zenith, view_azimuth};
}

}  // namespace swath::data::modis
