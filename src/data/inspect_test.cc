#include "data/inspect.h"

#include <gtest/gtest.h>

#include "data/normalization.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

using test::TemporaryDirectory;

TEST(Inspect, CountsClassesSizesBandsAndValues) {
  TemporaryDirectory root;
  test::write_class_folders(root / "images", 2, 3, 8, 4);
  test::write_chip(root / "images/b/large.npy", 1, 16, 4);
  test::write_text(root / "images/b/empty.npy", "");
  InspectOptions options;
  options.data.root = root / "images";
  options.save_normalization = root / "normalization.json";
  const Json report = inspect_dataset(options);
  EXPECT_EQ(report["images"], 8);
  EXPECT_EQ(report["classes"], (Json{{"a", 3}, {"b", 5}}));
  EXPECT_EQ(report["unlabelled"], 0);
  EXPECT_EQ(report["sizes"], (Json{{"16x16", 1}, {"8x8", 6}}));
  EXPECT_EQ(report["band_counts"], (Json{{"4", 7}}));
  EXPECT_EQ(report["pixel_types"], (Json{{"uint8", 7}}));
  EXPECT_EQ(report["georeferenced"], 0);
  ASSERT_EQ(report["bands"].size(), 4u);
  EXPECT_EQ(report["bands"][3]["name"], "band_3");
  EXPECT_LE(report["bands"][0]["maximum"], 250);
  EXPECT_GT(report["bands"][0]["standard_deviation"], 40);
  EXPECT_EQ(report["unusable_images"], 1);
  ASSERT_EQ(report["unusable"].size(), 1u);
  EXPECT_CONTAINS(report["unusable"][0].get<std::string>(), "empty.npy");
  EXPECT_EQ(load_normalization(root / "normalization.json").normalization().mean.size(), 4u);
}

}  // namespace
}  // namespace swath::data
