#include "data/clouds/chip_place.h"

#include <gtest/gtest.h>

#include <map>

#include "data/test_files.h"

namespace swath::data::clouds {
namespace {

TEST(ChipPlace, ReadsGranulesOutOfProductNames) {
  const auto granule = parse_granule("CMPST_MOD021KM.A2012123.1015.061.2017.hdf.nc");
  ASSERT_TRUE(granule);
  EXPECT_EQ(*granule, (Granule{Platform::kTerra, 2012123, 1015}));
  EXPECT_EQ(granule->text(), "Terra A2012123.1015");
  EXPECT_EQ(granule->name(), "MOD021KM.A2012123.1015");
  EXPECT_EQ(granule->day_text(), "2012-05-02");
  EXPECT_EQ(granule->month(), 5);
  EXPECT_EQ(parse_granule("MOD/MYD021KM.A2012366.2355")->platform, Platform::kAqua);
  EXPECT_EQ(parse_granule("MOD/MYD021KM.A2012001.0005")->name(), "MYD021KM.A2012001.0005");
}

TEST(ChipPlace, RefusesWhatIsNoTime) {
  EXPECT_FALSE(parse_granule("MOD021KM.A2011366.0000"));
  EXPECT_FALSE(parse_granule("MOD021KM.A2012000.0000"));
  EXPECT_FALSE(parse_granule("MOD021KM.A2012123.2460"));
  EXPECT_FALSE(parse_granule("VNP02.A2012123.1015"));
  EXPECT_FALSE(parse_granule("MOD021KM.A2012123"));
  EXPECT_THROW(granule_at(Platform::kTerra, 2011, 2, 29, 0, 0), Error);
  EXPECT_THROW(granule_at(Platform::kTerra, 2011, 2, 28, 24, 0), Error);
  EXPECT_FALSE(parse_platform("Landsat"));
}

TEST(ChipPlace, ReadsPixelsOutOfNames) {
  data::test::TemporaryDirectory root;
  std::vector<std::string> names = {"MOD021KM.A2012123.1015/r00128c01280",
                                    "MYD021KM.A2012123.1015.061.hdf_r256_c0",
                                    "MOD021KM.A2012123.1015/center", "r1/MOD021KM.A2012123.1015_7"};
  for (const std::string& name : names) data::test::write_chip(root / (name + ".npy"), 1);
  DatasetOptions options;
  options.root = root.path().string();
  options.labels = "none";
  const auto dataset = open_dataset(options);
  std::map<std::string, ChipPlace> places;
  const std::vector<ChipPlace> found = chip_places(*dataset);
  for (int64_t i = 0; i < dataset->size(); ++i) {
    places[dataset->sample(i).name] = found[static_cast<size_t>(i)];
  }
  EXPECT_EQ(places[names[0] + ".npy"].row, 128);
  EXPECT_EQ(places[names[0] + ".npy"].column, 1280);
  EXPECT_EQ(places[names[1] + ".npy"].row, 256);
  EXPECT_EQ(places[names[1] + ".npy"].column, 0);
  EXPECT_EQ(places[names[1] + ".npy"].granule.platform, Platform::kAqua);
  EXPECT_FALSE(places[names[2] + ".npy"].has_pixel());
  EXPECT_FALSE(places[names[3] + ".npy"].has_pixel());
  EXPECT_FALSE(places[names[0] + ".npy"].has_position());
}

// A table's time may lie within the five minutes that the granule's name begins.
TEST(ChipPlace, TimesAreOfTheGranuleThatHoldsThem) {
  EXPECT_EQ(granule_at(Platform::kAqua, 2012, 12, 31, 23, 59),
            (Granule{Platform::kAqua, 2012366, 2355}));
  EXPECT_EQ(granule_at(Platform::kAqua, 2012, 5, 2, 10, 15),
            (Granule{Platform::kAqua, 2012123, 1015}));
}

TEST(ChipPlace, GreatCircleByHand) {
  // One degree of the mean sphere: 6371.0088 km * pi / 180.
  EXPECT_NEAR(great_circle_km(10, 20, 11, 20), 111.19508, 1e-5);
  EXPECT_NEAR(great_circle_km(60, 0, 60, 0.001), 0.5 * 0.11119508, 1e-8);
  EXPECT_NEAR(great_circle_km(0, 179.5, 0, -179.5), 111.19508, 1e-5);
  EXPECT_NEAR(great_circle_km(90, 0, -90, 50), 111.19508 * 180, 1e-2);
}

}  // namespace
}  // namespace swath::data::clouds
