// An invented view of clouds, sea and land, for granules that are marked synthetic.
//
// Not weather: smooth random fields divide the swath into regimes (stratocumulus, cumulus, frontal
// layers, deep convection, cirrus, clear sky), each with its own texture, optical thickness, height
// and particle size. Reflectances and brightness temperatures follow from these by simple formulas,
// so that images look like what they are named and classes can be derived from known fields.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/modis/geolocation.h"

namespace swath::data::modis {

enum class CloudRegime : uint8_t {
  kClear = 0,
  kStratocumulus = 1,
  kCumulus = 2,
  kLayer = 3,
  kConvection = 4,
  kCirrus = 5,
};
inline constexpr int kCloudRegimes = 6;
// The field of a synthetic granule's MOD06 file that holds them.
inline constexpr const char* kRegimeField = "Synthetic_Cloud_Regime";
const char* cloud_regime_name(CloudRegime regime);

struct ScenePixel {
  CloudRegime regime = CloudRegime::kClear;  // of the neighbourhood
  bool is_land = false;
  double surface_kelvin = 290;
  double optical_thickness = 0;  // 0: clear
  double top_kelvin = 280;
  double top_hectopascal = 1013;
  double particle_um = 0;  // effective radius
  bool is_ice = false;

  bool is_cloudy() const { return optical_thickness > 0.3; }
};

class SyntheticScene {
 public:
  explicit SyntheticScene(uint64_t seed) : seed_(seed) {}

  // `row` and `column` in kilometres of the granule's own plane: neighbours are alike.
  ScenePixel at(int64_t row, int64_t column, double latitude) const;

 private:
  // In [-1, 1], smooth over `wavelength` kilometres, with finer detail in `octaves`.
  double noise(uint64_t field, double row, double column, double wavelength, int octaves) const;

  uint64_t seed_;
};

// Reflectance of a reflective band (before the cosine of the sun's zenith angle), and brightness
// temperature of an emissive one. `wavelength_um` is the band's centre.
double scene_reflectance(const ScenePixel& pixel, double wavelength_um);
double scene_temperature(const ScenePixel& pixel, double wavelength_um, double view_zenith);

// The view of an instrument in a sun-synchronous orbit at 705 km: `start` in seconds since 1970,
// `scans` scans of ten rows. Scans overlap towards the edges as the real ones do.
class SyntheticOrbit {
 public:
  SyntheticOrbit(double start, bool is_day, double phase);
  PixelGeometry at(int64_t row, int64_t column, int64_t columns) const;

 private:
  double start_;
  double phase_;  // degrees along the orbit at the granule's start, from the ascending node
  double node_;   // longitude of the ascending node, degrees
};

// The same for pixels that are known to lie somewhere, such as those of a real swath: `positions`
// are latitude and longitude of each, row by row; the instrument is above the middle of its row.
std::vector<PixelGeometry> geometry_of_positions(std::span<const float> positions, int64_t columns,
                                                 double start);

}  // namespace swath::data::modis
