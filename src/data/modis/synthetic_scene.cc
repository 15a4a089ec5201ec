#include "data/modis/synthetic_scene.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace swath::data::modis {
namespace {

constexpr double kDegree = std::numbers::pi / 180;
constexpr double kEarthKm = 6371.0;
constexpr double kAltitudeKm = 705.0;
constexpr double kOrbitSeconds = 98.88 * 60;
constexpr double kInclination = 98.2;
constexpr double kScanSeconds = 1.4771;
constexpr double kDaySeconds = 86400;
constexpr int64_t kRowsPerScan = 10;

// A finalizer of MurmurHash3: every bit of the input reaches every bit of the result.
uint64_t mix(uint64_t value) {
  value ^= value >> 33;
  value *= 0xff51afd7ed558ccdULL;
  value ^= value >> 33;
  value *= 0xc4ceb9fe1a85ec53ULL;
  return value ^ value >> 33;
}

double lattice(uint64_t key, int64_t row, int64_t column) {
  const uint64_t hash = mix(mix(key ^ static_cast<uint64_t>(row) * 0x9e3779b97f4a7c15ULL) ^
                            static_cast<uint64_t>(column) * 0xd1b54a32d192ed03ULL);
  return static_cast<double>(hash >> 11) * 0x1.0p-52 - 1;
}

double smooth(double share) { return share * share * (3 - 2 * share); }

struct Regime {
  double wavelength;  // km of its texture
  int octaves;
  double cover;  // texture below this is clear, in noise units
  double thickness;
  double drop_kelvin;  // cloud top below the surface
  double hectopascal;
  double particle_um;
  bool is_ice;
};

// In the order of CloudRegime.
constexpr std::array<Regime, kCloudRegimes> kRegimes = {{
    {40, 2, 0.9, 0.5, 8, 850, 12, false},
    {24, 3, -0.35, 14, 9, 880, 11, false},
    {12, 2, 0.25, 9, 16, 780, 15, false},
    {90, 3, -0.6, 22, 42, 520, 18, false},
    {60, 4, -0.15, 60, 78, 210, 32, true},
    {30, 4, -0.2, 2.2, 62, 290, 40, true},
}};

Vector scaled(const Vector& vector, double factor) {
  return {vector[0] * factor, vector[1] * factor, vector[2] * factor};
}

double length_of(const Vector& vector) { return std::hypot(vector[0], vector[1], vector[2]); }

// Unit vectors from the Earth's centre to the pixel, and from the pixel to the instrument; `now` in
// seconds since 1970.
PixelGeometry angles_at(const Vector& ground, const Vector& to_instrument, double now) {
  PixelGeometry geometry;
  const auto [latitude, longitude] = position_of(ground);
  geometry.latitude = latitude;
  geometry.longitude = longitude;

  // Local axes: east, north, up.
  const double phi = latitude * kDegree;
  const double lambda = longitude * kDegree;
  const Vector east = {-std::sin(lambda), std::cos(lambda), 0};
  const Vector north = {-std::sin(phi) * std::cos(lambda), -std::sin(phi) * std::sin(lambda),
                        std::cos(phi)};
  const auto angles_of = [&](const Vector& to) {
    double e = 0;
    double n = 0;
    double u = 0;
    for (size_t i = 0; i < 3; ++i) {
      e += to[i] * east[i];
      n += to[i] * north[i];
      u += to[i] * ground[i];
    }
    return std::array<double, 2>{std::acos(std::clamp(u, -1.0, 1.0)) / kDegree,
                                 std::atan2(e, n) / kDegree};
  };
  const auto view = angles_of(to_instrument);
  geometry.view_zenith = view[0];
  geometry.view_azimuth = view[1];
  // The sun: its declination by the day of the year, its hour angle by the time.
  const double day = std::fmod(now / kDaySeconds, 365.2422);
  const double declination =
      -23.44 * kDegree * std::cos(2 * std::numbers::pi * (day + 10) / 365.2422);
  const double noon = (12 - std::fmod(now, kDaySeconds) / 3600) * 15 * kDegree;
  const auto sun = angles_of({std::cos(declination) * std::cos(noon),
                              std::cos(declination) * std::sin(noon), std::sin(declination)});
  geometry.sun_zenith = sun[0];
  geometry.sun_azimuth = sun[1];
  return geometry;
}

}  // namespace

const char* cloud_regime_name(CloudRegime regime) {
  static constexpr const char* kNames[] = {"clear", "stratocumulus", "cumulus",
                                           "layer", "convection",    "cirrus"};
  return kNames[static_cast<size_t>(regime)];
}

double SyntheticScene::noise(uint64_t field, double row, double column, double wavelength,
                             int octaves) const {
  double sum = 0;
  double weight = 1;
  double total = 0;
  for (int octave = 0; octave < octaves; ++octave) {
    const double y = row / wavelength;
    const double x = column / wavelength;
    const double top = std::floor(y);
    const double left = std::floor(x);
    const uint64_t key =
        mix(seed_ * 1315423911ULL + field * 2654435761ULL) + static_cast<uint64_t>(octave);
    const auto r = static_cast<int64_t>(top);
    const auto c = static_cast<int64_t>(left);
    const double down = smooth(y - top);
    const double right = smooth(x - left);
    const double upper = std::lerp(lattice(key, r, c), lattice(key, r, c + 1), right);
    const double lower = std::lerp(lattice(key, r + 1, c), lattice(key, r + 1, c + 1), right);
    sum += weight * std::lerp(upper, lower, down);
    total += weight;
    weight *= 0.5;
    wavelength *= 0.5;
  }
  return sum / total;
}

ScenePixel SyntheticScene::at(int64_t row, int64_t column, double latitude) const {
  const auto y = static_cast<double>(row);
  const auto x = static_cast<double>(column);
  ScenePixel pixel;
  // The regime with the strongest of smooth fields holds an area some hundred kilometres wide.
  size_t strongest = 0;
  double strength = -2;
  for (size_t i = 0; i < kRegimes.size(); ++i) {
    const double field = noise(10 + i, y, x, 260, 2);
    if (field <= strength) continue;
    strength = field;
    strongest = i;
  }
  pixel.regime = static_cast<CloudRegime>(strongest);
  const Regime& regime = kRegimes[strongest];
  pixel.is_land = noise(1, y, x, 700, 3) > 0.22;
  const double cold = std::abs(latitude) / 90;
  pixel.surface_kelvin = 302 - 45 * cold * cold + (pixel.is_land ? 6 * noise(2, y, x, 50, 2) : 0) +
                         noise(3, y, x, 400, 1);
  // Cirrus lies in streaks: its texture is stretched along one direction.
  const bool is_streaky = pixel.regime == CloudRegime::kCirrus;
  const double u = is_streaky ? 0.35 * y + 0.2 * x : y;
  const double v = is_streaky ? 1.6 * x - 0.9 * y : x;
  double texture = noise(30 + strongest, u, v, regime.wavelength, regime.octaves);
  if (pixel.regime == CloudRegime::kStratocumulus) texture = 0.6 - 1.8 * std::abs(texture);
  const double over = texture - regime.cover;
  if (over <= 0) return pixel;
  // Clouds of one kind are thin here and thick there, high here and low there, as real ones are:
  // what tells kinds apart is their texture more than their brightness.
  const double thicker = std::exp(1.3 * noise(60, y, x, 220, 2));
  const double higher = std::exp(0.6 * noise(61, y, x, 260, 2));
  // 150 is the most that MOD06 holds.
  pixel.optical_thickness = std::min(150.0, regime.thickness * thicker * std::min(1.5, over * 1.8));
  pixel.is_ice = regime.is_ice;
  pixel.particle_um = regime.particle_um * (1 + 0.2 * noise(50, y, x, 35, 2));
  const double rise = std::min(1.0, 0.6 + 0.5 * over) * higher;
  pixel.top_kelvin = std::max(195.0, pixel.surface_kelvin - regime.drop_kelvin * rise);
  pixel.top_hectopascal = std::max(150.0, 1013 - (1013 - regime.hectopascal) * rise);
  return pixel;
}

double scene_reflectance(const ScenePixel& pixel, double wavelength_um) {
  const bool is_infrared = wavelength_um > 0.7;
  double surface = is_infrared ? 0.02 : 0.05;
  if (pixel.is_land) surface = is_infrared ? 0.28 : 0.10;
  if (wavelength_um > 1.34 && wavelength_um < 1.42) surface = 0.002;  // water vapour: band 26
  if (pixel.optical_thickness <= 0) return surface;
  const double cover = pixel.optical_thickness / (pixel.optical_thickness + 7.7);
  // Particles absorb beyond 1 um: the more, the larger they are; ice more than water.
  double absorption = 0;
  if (wavelength_um > 1.5) absorption = 0.004 * pixel.particle_um * (pixel.is_ice ? 1.7 : 1);
  if (wavelength_um > 2.0) absorption *= 2;
  if (wavelength_um > 1.34 && wavelength_um < 1.42 && pixel.top_hectopascal > 450) return surface;
  return cover * std::exp(-absorption * std::sqrt(4 + pixel.optical_thickness)) +
         (1 - cover) * (1 - cover) * surface;
}

double scene_temperature(const ScenePixel& pixel, double wavelength_um, double view_zenith) {
  // What the gases above let through, and how cold they are themselves.
  double transmission = 0.92;
  double gas_kelvin = 262;
  if (wavelength_um > 6 && wavelength_um < 7) {
    transmission = 0.02;
    gas_kelvin = 242;
  } else if (wavelength_um > 7 && wavelength_um < 8) {
    transmission = 0.35;
    gas_kelvin = 254;
  } else if (wavelength_um > 9.5 && wavelength_um < 10) {
    transmission = 0.55;
    gas_kelvin = 245;
  } else if (wavelength_um > 13) {
    transmission = std::max(0.05, 0.75 - 0.9 * (wavelength_um - 13));
    gas_kelvin = 240;
  } else if (wavelength_um > 4.4 && wavelength_um < 4.6) {
    transmission = 0.4;
    gas_kelvin = 250;
  }
  transmission = std::pow(transmission, 1 / std::cos(std::min(60.0, view_zenith) * kDegree));
  const double emissivity = 1 - std::exp(-pixel.optical_thickness / (pixel.is_ice ? 2.2 : 1.4));
  const double below = emissivity * pixel.top_kelvin + (1 - emissivity) * pixel.surface_kelvin;
  // A cloud top above the gases hides them.
  const double above = std::clamp((pixel.top_hectopascal - 150) / 700, 0.0, 1.0);
  const double hidden = emissivity * (1 - above);
  const double through = transmission + (1 - transmission) * hidden;
  return through * below + (1 - through) * std::min(gas_kelvin, below);
}

SyntheticOrbit::SyntheticOrbit(double start, bool is_day, double phase) : start_(start) {
  // Descending by day, as Terra: half past ten, local time of the node.
  phase_ = is_day ? 180 + phase : phase;
  const double hours = std::fmod(start, kDaySeconds) / 3600;
  node_ = 15 * (22.5 - hours);
}

PixelGeometry SyntheticOrbit::at(int64_t row, int64_t column, int64_t columns) const {
  const int64_t scan = row / kRowsPerScan;
  const double seconds = static_cast<double>(scan) * kScanSeconds;
  const double along = (phase_ + 360 * seconds / kOrbitSeconds) * kDegree;
  // The orbit's plane turns against the Earth below it.
  const double node = (node_ - 360 * seconds / kDaySeconds) * kDegree;
  const double tilt = kInclination * kDegree;
  const auto place = [&](double angle) {
    const double x = std::cos(angle);
    const double y = std::sin(angle) * std::cos(tilt);
    const double z = std::sin(angle) * std::sin(tilt);
    return Vector{x * std::cos(node) - y * std::sin(node), x * std::sin(node) + y * std::cos(node),
                  z};
  };
  const Vector up = place(along);
  const Vector ahead = place(along + std::numbers::pi / 2);
  const Vector side = {up[1] * ahead[2] - up[2] * ahead[1], up[2] * ahead[0] - up[0] * ahead[2],
                       up[0] * ahead[1] - up[1] * ahead[0]};
  const double step = 1 / kAltitudeKm;  // one kilometre below
  const double across =
      (static_cast<double>(column) - 0.5 * static_cast<double>(columns - 1)) * step;
  const double forward = (static_cast<double>(row % kRowsPerScan) - 4.5) * step;
  Vector look{};
  for (size_t i = 0; i < 3; ++i) {
    look[i] = std::cos(forward) * (std::sin(across) * side[i] - std::cos(across) * up[i]) +
              std::sin(forward) * ahead[i];
  }
  const double radius = kEarthKm + kAltitudeKm;
  double down = 0;
  for (size_t i = 0; i < 3; ++i) down -= look[i] * up[i];
  const double range =
      radius * down -
      std::sqrt(std::max(0.0, kEarthKm * kEarthKm - radius * radius * (1 - down * down)));
  Vector ground{};
  for (size_t i = 0; i < 3; ++i) ground[i] = (radius * up[i] + range * look[i]) / kEarthKm;
  return angles_at(ground, {-look[0], -look[1], -look[2]}, start_ + seconds);
}

std::vector<PixelGeometry> geometry_of_positions(std::span<const float> positions, int64_t columns,
                                                 double start) {
  std::vector<PixelGeometry> geometry;
  geometry.reserve(positions.size() / 2);
  const auto ground_of = [&](int64_t pixel) {
    const float* position = positions.data() + 2 * pixel;
    return unit_of_position(position[0], position[1]);
  };
  const auto rows = static_cast<int64_t>(positions.size()) / 2 / columns;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t scan = row / kRowsPerScan;
    const double now = start + static_cast<double>(scan) * kScanSeconds;
    const Vector left = ground_of(row * columns + (columns - 1) / 2);
    const Vector right = ground_of(row * columns + columns / 2);
    Vector below = {left[0] + right[0], left[1] + right[1], left[2] + right[2]};
    below = scaled(below, 1 / length_of(below));
    for (int64_t column = 0; column < columns; ++column) {
      const Vector ground = ground_of(row * columns + column);
      constexpr double kRadii = (kEarthKm + kAltitudeKm) / kEarthKm;
      Vector up{};
      for (size_t i = 0; i < 3; ++i) up[i] = kRadii * below[i] - ground[i];
      geometry.push_back(angles_at(ground, scaled(up, 1 / length_of(up)), now));
    }
  }
  return geometry;
}

}  // namespace swath::data::modis
