#include "data/modis/geolocation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "data/modis/synthetic_scene.h"

namespace swath::data::modis {
namespace {

constexpr int64_t kColumns = 1354;
constexpr int64_t kGridColumns = 271;

// Kilometres on the ground.
double distance_km(const PixelGeometry& a, const PixelGeometry& b) {
  const Vector u = unit_of_position(a.latitude, a.longitude);
  const Vector v = unit_of_position(b.latitude, b.longitude);
  return 6371 * std::hypot(u[0] - v[0], u[1] - v[1], u[2] - v[2]);
}

// Every fifth pixel of an orbit, as the files have them.
Geolocation grid_of(const SyntheticOrbit& orbit, int64_t scans) {
  std::vector<PixelGeometry> grid;
  const int64_t columns = kColumns / 5 + 1;
  for (int64_t line = 0; line < 2 * scans; ++line) {
    for (int64_t i = 0; i < columns; ++i) {
      grid.push_back(orbit.at(2 + 5 * line, 2 + 5 * i, kColumns));
    }
  }
  const std::vector<bool> is_known(grid.size(), true);
  return {grid, is_known, columns, false};
}

// The largest distance between interpolated and true positions.
double worst_km(double degrees, double start) {
  const SyntheticOrbit orbit(start, true, degrees);
  const Geolocation geolocation = grid_of(orbit, 4);
  double worst = 0;
  for (int64_t row = 0; row < 40; ++row) {
    for (int64_t column = 0; column < kColumns; ++column) {
      const PixelGeometry found = geolocation.at(row, column).value();
      const PixelGeometry expected = orbit.at(row, column, kColumns);
      worst = std::max(worst, distance_km(found, expected));
      EXPECT_NEAR(found.sun_zenith, expected.sun_zenith, 0.02);
      EXPECT_NEAR(found.view_zenith, expected.view_zenith,
                  0.35);  // its azimuth turns over at nadir
    }
  }
  return worst;
}

TEST(Geolocation, InterpolationStaysWithinAScanAndAFewHundredMetres) {
  // A pixel is 1 km wide at nadir and 4.8 km at the edges, where the grid's cells are bent most.
  EXPECT_LT(worst_km(-20, 1.335e9), 0.3);
}

TEST(Geolocation, DateLineAndPolesAreNothingSpecial) {
  EXPECT_LT(worst_km(-83, 1.335e9), 0.3);  // over the northern pole
  bool crosses = false;
  for (int hour = 0; hour < 24; ++hour) {
    const double start = 1.335e9 + hour * 3600.0;
    const SyntheticOrbit orbit(start, true, -10);
    const double left = orbit.at(0, 0, kColumns).longitude;
    const double right = orbit.at(0, kColumns - 1, kColumns).longitude;
    if (std::abs(left - right) < 180) continue;
    crosses = true;
    EXPECT_LT(worst_km(-10, start), 0.3);
  }
  EXPECT_TRUE(crosses);
}

TEST(Geolocation, PixelsNextToAnUnknownPointAreUnknown) {
  const SyntheticOrbit orbit(1.335e9, true, -20);
  std::vector<PixelGeometry> grid;
  for (int64_t i = 0; i < 2 * kGridColumns; ++i)
    grid.push_back(orbit.at(2 + 5 * (i / kGridColumns), 2 + 5 * (i % kGridColumns), kColumns));
  std::vector<bool> is_known(grid.size(), true);
  is_known[10] = false;
  const Geolocation geolocation(grid, is_known, kGridColumns, false);
  EXPECT_FALSE(geolocation.at(3, 52).has_value());
  EXPECT_FALSE(geolocation.at(3, 49).has_value());
  EXPECT_TRUE(geolocation.at(3, 100).has_value());
}

TEST(Geolocation, ScansOverlapAtTheEdgesAsTheInstrumentsDo) {
  const SyntheticOrbit orbit(1.335e9, true, -20);
  // At nadir the first row of a scan follows the last one of the scan before; at the edge it lies
  // well before it.
  const auto step_km = [&](int64_t column) {
    return distance_km(orbit.at(9, column, kColumns), orbit.at(10, column, kColumns));
  };
  EXPECT_LT(step_km(kColumns / 2), 1.5);
  EXPECT_GT(step_km(0), 5);
}

}  // namespace
}  // namespace swath::data::modis
