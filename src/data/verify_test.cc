#include "data/verify.h"

#include <gtest/gtest.h>

#include <limits>

#include "data/pack.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using test::TemporaryDirectory;
using test::write_chip;

VerifyOptions options_for(const fs::path& root) {
  VerifyOptions options;
  options.data.root = root.string();
  return options;
}

std::string reason_of(const Json& report, const std::string& name) {
  for (const Json& problem : report["problems"]) {
    if (problem["name"].get<std::string>().ends_with(name)) return problem["reason"];
  }
  return "(no problem reported)";
}

TEST(Verify, FindsEveryBadFileAndSaysWhy) {
  TemporaryDirectory root;
  const fs::path jpeg = fs::path(SWATH_TESTDATA) / "data/ucm";
  fs::path photo;
  for (const auto& entry : fs::recursive_directory_iterator(jpeg)) {
    if (entry.path().extension() == ".jpg") photo = entry.path();
  }
  ASSERT_FALSE(photo.empty());
  fs::copy_file(photo, root / "good.jpg");
  fs::copy_file(photo, root / "cut.jpg");
  test::truncate_file(root / "cut.jpg", fs::file_size(photo) / 2);
  test::write_text(root / "empty.jpg", "");
  fs::copy_file(photo, root / "photo.png");
  test::write_text(root / "page.jpg", "<!DOCTYPE html><html></html>");
  write_chip(root / "four_bands.npy", 1, 8, 4);
  write_chip(root / "good.npy", 1, 8, 3);
  std::vector<float> pixels(size_t{8} * 8 * 3, 0.5f);
  pixels[7] = std::numeric_limits<float>::quiet_NaN();
  test::write_npy(root / "nan.npy", pixels, 8, 8, 3);
  pixels[7] = std::numeric_limits<float>::infinity();
  test::write_npy(root / "infinite.npy", pixels, 8, 8, 3);
  VerifyOptions options = options_for(root.path());
  options.bands = 3;
  const Json report = verify_dataset(options);
  EXPECT_EQ(report["images"], 9);
  EXPECT_EQ(report["good"], 2) << report.dump(1);
  EXPECT_EQ(report["bad"], 7);
  EXPECT_CONTAINS(reason_of(report, "cut.jpg"), "cut.jpg");
  EXPECT_CONTAINS(reason_of(report, "empty.jpg"), "empty");
  EXPECT_CONTAINS(reason_of(report, "photo.png"), "holds JPEG data under the extension .png");
  EXPECT_CONTAINS(reason_of(report, "page.jpg"), "HTML");
  EXPECT_CONTAINS(reason_of(report, "four_bands.npy"), "has 4 bands, expected 3");
  EXPECT_CONTAINS(reason_of(report, "nan.npy"), "NaN");
  EXPECT_CONTAINS(reason_of(report, "infinite.npy"), "nfinite");
}

TEST(Verify, SizesWhenAsked) {
  TemporaryDirectory root;
  write_chip(root / "a.npy", 1, 8);
  write_chip(root / "b.npy", 1, 9);
  EXPECT_EQ(verify_dataset(options_for(root.path()))["bad"], 0);
  VerifyOptions options = options_for(root.path());
  options.size = 8;
  EXPECT_CONTAINS(reason_of(verify_dataset(options), "b.npy"), "has 9 x 9 pixels, expected 8 x 8");
}

TEST(Verify, ShardsNameShardAndRecord) {
  TemporaryDirectory root;
  test::write_class_folders(root / "images", 2, 40, 16);
  PackOptions pack;
  pack.data.root = root / "images";
  pack.output = root / "set";
  pack.encoding = "raw";
  pack_dataset(pack);
  EXPECT_EQ(verify_dataset(options_for(root / "set"))["bad"], 0);

  test::flip_byte(root / "set/shard-00000.shard", 4096 + 5 * 768 + 11);
  Json report = verify_dataset(options_for(root / "set"));
  EXPECT_EQ(report["good"], 79);
  EXPECT_CONTAINS(reason_of(report, "a/chip13.npy"), "shard-00000.shard record 5");
  EXPECT_CONTAINS(reason_of(report, "shard-00000.shard"), "SHA-256");

  test::truncate_file(root / "set/shard-00000.shard", 4096 + 30 * 768 + 1);
  report = verify_dataset(options_for(root / "set"));
  EXPECT_EQ(report["bad"], 1);
  EXPECT_CONTAINS(reason_of(report, "shard-00000.shard"), "records from 30 on are lost");
}

}  // namespace
}  // namespace swath::data
