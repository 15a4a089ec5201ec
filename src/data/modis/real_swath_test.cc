// The geometry of a real swath (Terra, 2016-01-15 00:00 UTC), where it lies in SWATH_DATA.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "data/modis/geolocation.h"
#include "data/modis/granule.h"
#include "data/modis/synthetic_granule.h"
#include "data/test_files.h"

namespace swath::data::modis {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSwath =
    "modis/20160115-MODIS_T-JPL-L2P-T2016015000000.L2_LAC_GHRSST_N-v01.nc.bz2";

double distance_km(double latitude, double longitude, const PixelGeometry& found) {
  const Vector u = unit_of_position(latitude, longitude);
  const Vector v = unit_of_position(found.latitude, found.longitude);
  return 6371 * std::hypot(u[0] - v[0], u[1] - v[1], u[2] - v[2]);
}

TEST(RealSwath, PositionsComeBackExactlyAndInterpolated) {
  const char* folder = std::getenv("SWATH_DATA");
  if (folder == nullptr) GTEST_SKIP() << "SWATH_DATA is not set";
  const fs::path swath = fs::path(folder) / kSwath;
  if (!fs::exists(swath)) GTEST_SKIP() << swath << " is not there";
  const test::TemporaryDirectory root;
  const fs::path file = root / "positions.npy";
  const std::string command = std::string("python3 ") + SWATH_SOURCE_DIR +
                              "/tools/positions_of_swath.py " + swath.string() + " " +
                              file.string();
  ASSERT_EQ(std::system(command.c_str()), 0) << command;  // NOLINT(bugprone-command-processor)
  const Image image = decode_image(ImageSource::from_file(file));
  ASSERT_EQ(image.height, 2030);
  ASSERT_EQ(image.width, 1354);

  SyntheticGranuleOptions options;
  options.positions = {image.as<float>(), static_cast<size_t>(2 * image.height * image.width)};
  options.has_faults = false;
  options.with_mod06 = false;
  options.with_mod03 = true;
  const SyntheticGranule files = write_synthetic_granule(root / "granules", options);
  const Granule granule(files.level_1b);
  const auto interpolated =
      Geolocation::from_level_1b(granule.file(), granule.rows(), granule.columns());
  const auto exact =
      Geolocation::from_mod03(Hdf4File(files.mod03), granule.rows(), granule.columns());
  std::vector<double> distances;
  for (int64_t row = 0; row < granule.rows(); row += 3) {
    for (int64_t column = 0; column < granule.columns(); column += 7) {
      const float* position = options.positions.data() + 2 * (row * granule.columns() + column);
      ASSERT_EQ(static_cast<float>(exact.at(row, column)->latitude), position[0]);
      ASSERT_EQ(static_cast<float>(exact.at(row, column)->longitude), position[1]);
      distances.push_back(
          distance_km(position[0], position[1], interpolated.at(row, column).value()));
    }
  }
  // Pixels are 1 km wide below the instrument and 4.8 km at the edges. Real positions are those of
  // the terrain: over the mountains of the Canary Islands they jump by up to 2 km within a cell of
  // the 5-km grid, which nobody can interpolate.
  std::sort(distances.begin(), distances.end());
  EXPECT_LT(distances[distances.size() / 2], 0.02);
  EXPECT_LT(distances[distances.size() * 99 / 100], 0.15);
  EXPECT_LT(distances.back(), 2.5);
  // The instrument sees 55 degrees to both sides, which is 65 at the ground.
  const int64_t middle = granule.rows() / 2;
  EXPECT_LT(exact.at(middle, 677)->view_zenith, 1);
  for (const int64_t edge : {int64_t{0}, granule.columns() - 1}) {
    EXPECT_NEAR(exact.at(middle, edge)->view_zenith, 65, 2);
  }
}

}  // namespace
}  // namespace swath::data::modis
