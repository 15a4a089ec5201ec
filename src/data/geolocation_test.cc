#include "data/geolocation.h"

#include <gtest/gtest.h>

#include "data/test_files.h"

namespace swath::data {
namespace {

constexpr const char* kWgs84 =
    "GEOGCS[\"WGS 84\",DATUM[\"WGS_1984\",SPHEROID[\"WGS 84\",6378137,298.257223563]],"
    "PRIMEM[\"Greenwich\",0],UNIT[\"degree\",0.0174532925199433]]";

ImageInfo image_at(double origin_x, double origin_y, double step, std::string coordinate_system) {
  ImageInfo info;
  info.width = 100;
  info.height = 60;
  info.georeference = Georeference{origin_x, origin_y, step, -step, std::move(coordinate_system)};
  return info;
}

TEST(Geolocation, CenterInDegrees) {
  const auto center = center_of(image_at(10, 50, 0.01, kWgs84));
  ASSERT_TRUE(center);
  EXPECT_NEAR((*center)[0], 10.5, 1e-9);
  EXPECT_NEAR((*center)[1], 49.7, 1e-9);
}

TEST(Geolocation, NothingWithoutACoordinateSystem) {
  ImageInfo info = image_at(10, 50, 0.01, "");
  EXPECT_FALSE(center_of(info));
  info.georeference.reset();
  EXPECT_FALSE(center_of(info));
}

TEST(Geolocation, ProjectedCoordinates) {
#ifndef SWATH_WITH_GDAL
  GTEST_SKIP() << "built without GDAL";
#endif
  const std::string utm_33_north =
      std::string("PROJCS[\"WGS 84 / UTM zone 33N\",") + kWgs84 +
      ",PROJECTION[\"Transverse_Mercator\"],PARAMETER[\"latitude_of_origin\",0],"
      "PARAMETER[\"central_meridian\",15],PARAMETER[\"scale_factor\",0.9996],"
      "PARAMETER[\"false_easting\",500000],PARAMETER[\"false_northing\",0],UNIT[\"metre\",1]]";
  // The centre lies on the central meridian, 5,000 km north: 45.153477183356 degrees, from the
  // meridian arc of the ellipsoid (integrated numerically) times 0.9996.
  const auto center = center_of(image_at(500000 - 50 * 10, 5000000 + 30 * 10, 10, utm_33_north));
  ASSERT_TRUE(center);
  EXPECT_NEAR((*center)[0], 15, 1e-7);
  EXPECT_NEAR((*center)[1], 45.153477183356, 1e-7);
}

TEST(Geolocation, OfDatasetsWithoutCoordinates) {
  test::TemporaryDirectory root;
  test::write_chip(root / "a.npy", 1);
  DatasetOptions options;
  options.root = root.path();
  EXPECT_FALSE(longitude_latitude_of(*open_dataset(options), 0));
}

}  // namespace
}  // namespace swath::data
