// Where the pixels of a granule lie, and how the sun and the instrument stood there.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/modis/hdf4_file.h"

namespace swath::data::modis {

// Degrees. Azimuths count from north, clockwise, -180 to 180.
struct PixelGeometry {
  double latitude = 0;
  double longitude = 0;
  double sun_zenith = 0;
  double sun_azimuth = 0;
  double view_zenith = 0;
  double view_azimuth = 0;
};

// Level-1B files carry every fifth pixel: grid line 2 s + k and grid column i are row 10 s + 2 + 5
// k and column 2 + 5 i. In between, positions and directions are interpolated as vectors (so that
// the date line and the poles are nothing special), and only inside of one scan of ten rows: scans
// overlap towards the edges, so neighbouring rows of two scans are no neighbours on the ground.
class Geolocation {
 public:
  // From a Level-1B file of `rows` x `columns` pixels, or a MOD03 / MYD03 file of as many: exact,
  // nothing is interpolated. Throw BadSample for arrays that are missing, and BadGranule for those
  // of other sizes.
  static Geolocation from_level_1b(const Hdf4File& file, int64_t rows, int64_t columns);
  static Geolocation from_mod03(const Hdf4File& file, int64_t rows, int64_t columns);
  // Points of the 5-km grid (or, exact, of all pixels) in lines of `grid_columns`.
  Geolocation(std::vector<PixelGeometry> grid, std::vector<bool> is_known, int64_t grid_columns,
              bool is_exact);

  // Nothing where the file has no position.
  std::optional<PixelGeometry> at(int64_t row, int64_t column) const;
  bool is_exact() const { return is_exact_; }

 private:
  std::vector<PixelGeometry> grid_;
  std::vector<bool> is_known_;
  int64_t grid_columns_ = 0;
  bool is_exact_ = false;
};

using Vector = std::array<double, 3>;
// Unit vectors of latitude and longitude, and of zenith angle and azimuth; and back.
Vector unit_of_position(double latitude, double longitude);
Vector unit_of_direction(double zenith, double azimuth);
std::array<double, 2> position_of(const Vector& vector);
std::array<double, 2> direction_of(const Vector& vector);

}  // namespace swath::data::modis
