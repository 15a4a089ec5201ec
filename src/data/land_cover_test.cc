#include "data/land_cover.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "data/shard_dataset.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TemporaryDirectory;

// A globe of 480 x 240 pixels, with labels of 640 x 320. The label of a place is a function of its
// coordinates, and so is its colour: any error of placing shows.
class LandCover : public ::testing::Test {
 protected:
  static uint8_t class_at(double longitude, double latitude) {
    const auto column = static_cast<int>(std::floor((longitude + 180) / 12));
    const auto row = static_cast<int>(std::floor((latitude + 90) / 12));
    static constexpr uint8_t kClasses[] = {0, 2, 10, 12, 16};
    return kClasses[(column * 3 + row) % 5];
  }

  LandCover() {
    std::vector<uint8_t> image(size_t{480} * 240 * 3);
    for (int row = 0; row < 240; ++row) {
      for (int column = 0; column < 480; ++column) {
        const double longitude = -180 + (column + 0.5) * 0.75;
        const double latitude = 90 - (row + 0.5) * 0.75;
        uint8_t* pixel = &image[static_cast<size_t>((int64_t{row} * 480 + column) * 3)];
        pixel[0] = static_cast<uint8_t>(10 * class_at(longitude, latitude));
        pixel[1] = static_cast<uint8_t>(row);
        pixel[2] = static_cast<uint8_t>(column / 2);
      }
    }
    test::write_npy(root_ / "bmng.npy", image, 240, 480, 3);
    std::vector<uint8_t> labels(size_t{640} * 320);
    for (int row = 0; row < 320; ++row) {
      for (int column = 0; column < 640; ++column) {
        labels[static_cast<size_t>(int64_t{row} * 640 + column)] =
            class_at(-180 + (column + 0.5) * 0.5625, 90 - (row + 0.5) * 0.5625);
      }
    }
    test::write_npy(root_ / "labels.npy", labels, 320, 640, 1);
    files_ = {root_.path() / "bmng.npy", root_.path() / "labels.npy"};
    options_.chip_size = 8;
    options_.block_degrees = 24;
    options_.minimum_chips = 20;
  }

  TemporaryDirectory root_;
  LandCoverFiles files_;
  LandCoverOptions options_;
};

struct Place {
  int64_t row;
  int64_t column;
};

Place place_of(const Sample& sample) {
  return {std::stoi(sample.name.substr(3)),
          std::stoi(sample.name.substr(sample.name.find("column") + 6))};
}

TEST_F(LandCover, LabelsAndPixelsBelongTogether) {
  const Json summary = make_land_cover_chips(files_, root_.path() / "out", options_);
  EXPECT_EQ(summary["classes"].size(), 4u);  // water is no class
  EXPECT_EQ(summary["classes"][1], "grassland");
  for (const char* part : {"train", "test"}) {
    const ShardDataset chips(root_.path() / "out" / part);
    const ShardDataset rasters(root_.path() / "out" / (std::string(part) + "_classes"));
    ASSERT_EQ(chips.size(), rasters.size());
    ASSERT_EQ(chips.size(), summary[part].get<int64_t>());
    EXPECT_EQ(chips.band_names(), (std::vector<std::string>{"red", "green", "blue"}));
    std::vector<std::byte> scratch;
    for (int64_t i = 0; i < chips.size(); ++i) {
      const Sample sample = chips.sample(i);
      EXPECT_EQ(sample.name, rasters.sample(i).name);
      const Image image = decode_image(chips.source(i, &scratch));
      const Image raster = decode_image(rasters.source(i, &scratch));
      ASSERT_EQ(image.width, 8);
      const Place place = place_of(sample);
      EXPECT_EQ(image.as<uint8_t>()[1], place.row);
      EXPECT_EQ(image.as<uint8_t>()[2], static_cast<uint8_t>(place.column / 2));
      EXPECT_NEAR((*sample.longitude_latitude)[0],
                  -180 + 0.75 * (static_cast<double>(place.column) + 4), 1e-9);
      EXPECT_NEAR((*sample.longitude_latitude)[1], 90 - 0.75 * (static_cast<double>(place.row) + 4),
                  1e-9);
      int64_t of_label = 0;
      for (int64_t p = 0; p < 64; ++p) {
        // The colour was made from the class of the same place.
        ASSERT_EQ(image.as<uint8_t>()[3 * p], 10 * raster.as<uint8_t>()[p]);
        of_label += igbp_class_names()[raster.as<uint8_t>()[p]] ==
                    chips.class_names()[static_cast<size_t>(sample.label)];
      }
      EXPECT_GE(of_label, 0.6 * 64);
    }
  }
}

TEST_F(LandCover, NoPixelIsOnBothSides) {
  make_land_cover_chips(files_, root_.path() / "out", options_);
  std::set<std::pair<int64_t, int64_t>> test_pixels;
  const auto for_pixels = [&](const char* part, const auto& call) {
    const ShardDataset chips(root_.path() / "out" / part);
    EXPECT_GT(chips.size(), 20);
    for (int64_t i = 0; i < chips.size(); ++i) {
      const Place place = place_of(chips.sample(i));
      for (int64_t row = 0; row < 8; ++row) {
        for (int64_t column = 0; column < 8; ++column) {
          call(std::pair{place.row + row, place.column + column});
        }
      }
    }
  };
  for_pixels("test", [&](const auto& pixel) {
    EXPECT_TRUE(test_pixels.insert(pixel).second) << "test chips overlap";
  });
  for (const char* part : {"train", "pretrain"}) {
    for_pixels(part, [&](const auto& pixel) { ASSERT_FALSE(test_pixels.contains(pixel)) << part; });
  }
}

TEST_F(LandCover, OptionsAreObeyed) {
  options_.most_train_chips = 7;
  options_.most_test_chips = 3;
  options_.most_latitude = 45;
  options_.include_water = true;
  options_.pretrain_size = 16;
  options_.land = 0.9;
  const Json summary = make_land_cover_chips(files_, root_.path() / "out", options_);
  EXPECT_EQ(summary["classes"].size(), 5u);
  for (const auto& [name, count] : summary["train_per_class"].items()) EXPECT_EQ(count, 7) << name;
  for (const auto& [name, count] : summary["test_per_class"].items()) EXPECT_EQ(count, 3) << name;
  const ShardDataset pretrain(root_.path() / "out/pretrain");
  EXPECT_EQ(pretrain.layout().width, 16);
  EXPECT_TRUE(pretrain.class_names().empty());
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < pretrain.size(); ++i) {
    EXPECT_LT(std::abs((*pretrain.sample(i).longitude_latitude)[1]), 45 - 0.75 * 8 + 1e-9);
    const Image image = decode_image(pretrain.source(i, &scratch));
    int64_t water = 0;
    for (int64_t p = 0; p < 256; ++p) water += image.as<uint8_t>()[3 * p] == 0;
    EXPECT_LE(water, 26);
  }
}

TEST_F(LandCover, IsRepeatableAndSeeded) {
  const Json one = make_land_cover_chips(files_, root_.path() / "one", options_);
  const Json two = make_land_cover_chips(files_, root_.path() / "two", options_);
  EXPECT_EQ(one["sha256"], two["sha256"]);
  options_.seed = 1;
  EXPECT_NE(make_land_cover_chips(files_, root_.path() / "three", options_)["sha256"],
            one["sha256"]);
  EXPECT_CONTAINS(message_of<UsageError>(
                      [&] { make_land_cover_chips(files_, root_.path() / "one", options_); }),
                  "--overwrite");
  // Without its summary the output counts as interrupted, and is made again.
  fs::remove(root_.path() / "one/land_cover.json");
  make_land_cover_chips(files_, root_.path() / "one", options_);
}

TEST_F(LandCover, WrongInputsAreNamed) {
  EXPECT_CONTAINS(message_of<UsageError>([&] { find_land_cover_files(root_.path()); }), "bmng.jpg");
  EXPECT_CONTAINS(message_of<Error>([&] {
                    make_land_cover_chips({files_.labels, files_.labels}, root_.path() / "x",
                                          options_);
                  }),
                  "expected a whole globe in RGB");
  EXPECT_CONTAINS(message_of<Error>([&] {
                    make_land_cover_chips({files_.image, files_.image}, root_.path() / "x",
                                          options_);
                  }),
                  "one class per pixel");
  options_.minimum_chips = 100000;
  EXPECT_CONTAINS(
      message_of<UsageError>([&] { make_land_cover_chips(files_, root_.path() / "x", options_); }),
      "lower minimum_chips");
}

// The real files, where set-up has fetched them.
TEST_F(LandCover, TheRealGlobeHasNineClasses) {
  const fs::path demo_data = fs::path(SWATH_SOURCE_DIR) / ".deps/demo-data";
  if (!fs::exists(demo_data)) GTEST_SKIP() << demo_data << " is not there";
#ifndef SWATH_WITH_GDAL
  GTEST_SKIP() << "built without GDAL";
#endif
  const Json summary =
      make_land_cover_chips(find_land_cover_files(demo_data), root_.path() / "out", {});
  EXPECT_EQ(summary["classes"].size(), 9u);
  EXPECT_GT(summary["pretrain"], 5000);
  for (const auto& [name, count] : summary["test_per_class"].items()) EXPECT_GE(count, 15) << name;
  EXPECT_LT(summary["seconds"], 20);
}

}  // namespace
}  // namespace swath::data
