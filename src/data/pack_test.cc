#include "data/pack.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/hash.h"
#include "data/shard_dataset.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TemporaryDirectory;
using test::write_chip;
using test::write_class_folders;

PackOptions options_for(const TemporaryDirectory& root) {
  PackOptions options;
  options.data.root = (root / "images").string();
  options.output = (root / "out").string();
  return options;
}

std::unique_ptr<Dataset> open(const fs::path& root) {
  DatasetOptions options;
  options.root = root.string();
  return open_dataset(options);
}

void expect_same_samples(const Dataset& left, const Dataset& right,
                         const std::vector<int64_t>& bands = {}) {
  ASSERT_EQ(left.size(), right.size());
  EXPECT_EQ(left.class_names(), right.class_names());
  std::vector<std::byte> scratch;
  DecodeOptions decode;
  decode.bands = bands;
  for (int64_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left.sample(i).label, right.sample(i).label);
    const Image a = decode_image(left.source(i, &scratch), decode);
    const Image b = decode_image(right.source(i, &scratch));
    ASSERT_EQ(a.pixels, b.pixels) << left.sample(i).name;
  }
}

TEST(Pack, ShardsHoldTheSamePixelsNamesAndIds) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 3, 9, 8, 5);
  for (const char* encoding : {"auto", "raw", "lz4", "file"}) {
    SCOPED_TRACE(encoding);
    PackOptions options = options_for(root);
    options.encoding = encoding;
    options.overwrite = true;
    const Json report = pack_dataset(options);
    EXPECT_EQ(report["records"], 27);
    EXPECT_EQ(report["labelled"], 27);
    EXPECT_EQ(report["skipped"], 0);
    const auto images = open(root / "images");
    const auto shards = open(root / "out");
    expect_same_samples(*images, *shards);
    EXPECT_EQ(images->sample(7).id, shards->sample(7).id);
  }
}

TEST(Pack, ManyThreadsGiveTheSameBytes) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 300, 4, 1);
  PackOptions options = options_for(root);
  options.workers = 1;
  const Json one = pack_dataset(options);
  options.workers = 4;
  options.overwrite = true;
  EXPECT_EQ(pack_dataset(options)["sha256"], one["sha256"]);
}

TEST(Pack, TheDataSetIsNeverTheOutput) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 5);
  pack_dataset(options_for(root));
  const std::string manifest = read_file(root / "out/manifest.json");
  fs::create_directory_symlink(root / "out", root / "link");
  for (const char* output : {"out", "out/", "images/../out", "link", "out/packed", ""}) {
    SCOPED_TRACE(output);
    for (const char* data : {"out", "out/", "link"}) {
      PackOptions options;
      options.data.root = root / data;
      options.output = root / output;
      options.overwrite = true;
      EXPECT_CONTAINS(message_of<UsageError>([&] { pack_dataset(options); }), "in one another");
    }
  }
  EXPECT_EQ(read_file(root / "out/manifest.json"), manifest);
  EXPECT_EQ(open(root / "out")->size(), 10);
  // A name that only begins alike is another folder.
  PackOptions options = options_for(root);
  options.output = root / "images_packed";
  EXPECT_EQ(pack_dataset(options)["records"], 10);
}

TEST(Pack, AFailedOverwriteLeavesTheOldShards) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 5);
  PackOptions options = options_for(root);
  pack_dataset(options);
  const std::string manifest = read_file(root / "out/manifest.json");
  write_chip(root / "images/b/larger.npy", 5, 9);
  options.overwrite = true;
  message_of<BadSample>([&] { pack_dataset(options); });
  EXPECT_EQ(read_file(root / "out/manifest.json"), manifest);
  EXPECT_EQ(open(root / "out")->size(), 10);
}

TEST(Pack, AFailedFolderLeavesNothing) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 5);
  write_chip(root / "images/b/larger.npy", 5, 9);
  PackOptions options = options_for(root);
  options.format = "folder";
  options.encoding = "raw";
  options.output += '/';  // as shells complete it
  message_of<BadSample>([&] { pack_dataset(options); });
  EXPECT_FALSE(fs::exists(root / "out"));
  EXPECT_FALSE(fs::exists(root / "out.partial"));
  test::write_text(root / "out/a/chip0.npy", "old");
  options.overwrite = true;
  message_of<BadSample>([&] { pack_dataset(options); });
  EXPECT_EQ(read_file(root / "out/a/chip0.npy"), "old");
  EXPECT_FALSE(fs::exists(root / "out/.partial"));
  fs::remove(root / "images/b/larger.npy");
  pack_dataset(options);
  EXPECT_FALSE(fs::exists(root / "out/.partial"));
  expect_same_samples(*open(root / "images"), *open(root / "out"));
  fs::remove_all(root / "out");
  pack_dataset(options);
  EXPECT_FALSE(fs::exists(root / "out.partial"));
  expect_same_samples(*open(root / "images"), *open(root / "out"));
  // What another call may still be writing is left alone.
  fs::remove_all(root / "out");
  test::write_text(root / "out.partial/a/chip0.npy", "half");
  EXPECT_CONTAINS(message_of<UsageError>([&] { pack_dataset(options); }), "out.partial");
  EXPECT_TRUE(fs::exists(root / "out.partial/a/chip0.npy"));
}

TEST(Pack, SelectsAndNamesBands) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 1, 4, 8, 6);
  PackOptions options = options_for(root);
  options.bands = {5, 0};
  options.band_names = {"swir", "blue"};
  options.scale = {1e-4, 1e-4};
  options.offset = {0, -0.1};
  pack_dataset(options);
  const ShardDataset shards(root / "out");
  EXPECT_EQ(shards.layout().bands, 2);
  EXPECT_EQ(shards.band_names(), (std::vector<std::string>{"swir", "blue"}));
  EXPECT_EQ(shards.layout().band_info[1].offset, -0.1);
  expect_same_samples(*open(root / "images"), shards, {5, 0});
  options.overwrite = true;
  options.scale = {1};
  EXPECT_CONTAINS(message_of<UsageError>([&] { pack_dataset(options); }),
                  "1 scales are given for 2 bands");
  options.scale = {};
  options.bands = {6};
  message_of<BadSample>([&] { pack_dataset(options); });
}

TEST(Pack, SplitsIntoShards) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 1, 12, 256, 3);  // 192 KiB each
  PackOptions options = options_for(root);
  options.shard_mb = 1;
  const Json report = pack_dataset(options);
  EXPECT_EQ(report["shards"], 3);
  expect_same_samples(*open(root / "images"), *open(root / "out"));
}

TEST(Pack, WrongSizesBandsAndTypes) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 1, 3);
  write_chip(root / "images/b/larger.npy", 5, 9);
  EXPECT_CONTAINS(message_of<BadSample>([&] { pack_dataset(options_for(root)); }),
                  "larger.npy has 9 x 9 pixels, the images before have 8 x 8");
  EXPECT_FALSE(fs::exists(root / "out/manifest.json"));
  EXPECT_TRUE(fs::is_empty(root / "out"));
  write_chip(root / "images/b/more_bands.npy", 5, 8, 4);
  const auto floats = test::random_pixels<float>(int64_t{8} * 8 * 3, 1);
  test::write_npy(root / "images/b/other_type.npy", floats, 8, 8, 3);
  PackOptions options = options_for(root);
  options.data.skip_bad = true;
  const Json report = pack_dataset(options);
  EXPECT_EQ(report["records"], 3);
  EXPECT_EQ(report["skipped"], 3);
  EXPECT_EQ(report["skipped_names"][0]["name"], "b/larger.npy");
  EXPECT_CONTAINS(report["skipped_names"][1]["reason"].get<std::string>(), "4 bands");
  EXPECT_CONTAINS(report["skipped_names"][2]["reason"].get<std::string>(), "float32");
  options.size = 16;
  options.overwrite = true;
  message_of<Error>([&] { pack_dataset(options); });  // none is usable
}

TEST(Pack, UnreadableImagesStopOrAreSkipped) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 300, 4, 1);
  test::write_text(root / "images/a/000.npy", "");  // the first
  test::write_text(root / "images/b/zzz.npy", "text");
  PackOptions options = options_for(root);
  EXPECT_CONTAINS(message_of<BadSample>([&] { pack_dataset(options); }), "a/000.npy");
  options.data.skip_bad = true;
  const Json report = pack_dataset(options);
  EXPECT_EQ(report["records"], 600);
  EXPECT_EQ(report["skipped"], 2);
}

TEST(Pack, MislabelledExtensionsAreNotPacked) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 1, 2);
  fs::rename(root / "images/a/chip1.npy", root / "images/a/chip1.png");
  EXPECT_CONTAINS(message_of<BadSample>([&] { pack_dataset(options_for(root)); }),
                  "chip1.png: holds NPY data under the extension .png");
}

TEST(Pack, KeepsJpegBytes) {
  TemporaryDirectory root;
  fs::copy(fs::path(SWATH_TESTDATA) / "data/ucm", root / "images", fs::copy_options::recursive);
  for (const auto& entry : fs::recursive_directory_iterator(root / "images")) {
    if (entry.is_regular_file() && entry.path().extension() != ".jpg") fs::remove(entry.path());
  }
  PackOptions options = options_for(root);
  options.data.labels = "none";
  const Json report = pack_dataset(options);
  EXPECT_EQ(report["encoding"], "file");
  const auto shards = open(root / "out");
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < shards->size(); ++i) {
    const auto bytes = shards->source(i, &scratch).bytes;
    const std::string file = read_file(root / ("images/" + shards->sample(i).name));
    ASSERT_EQ(bytes.size(), file.size());
    EXPECT_EQ(std::memcmp(bytes.data(), file.data(), file.size()), 0);
  }
}

TEST(Pack, TarRoundTrip) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 5);
  for (const char* encoding : {"auto", "raw"}) {
    PackOptions options = options_for(root);
    options.format = "tar";
    options.encoding = encoding;
    options.output = root / (std::string(encoding) + ".tar");
    const Json report = pack_dataset(options);
    EXPECT_EQ(report["sha256"].get<std::string>(), sha256_hex_of_file(options.output));
    const auto archive = open(options.output);
    expect_same_samples(*open(root / "images"), *archive);
    EXPECT_EQ(archive->sample(3).name, "a/chip3.npy");
    EXPECT_CONTAINS(message_of<UsageError>([&] { pack_dataset(options); }), "exists already");
  }
}

TEST(Pack, FolderRoundTripFromShards) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 5, 8, 6);
  pack_dataset(options_for(root));
  PackOptions options;
  options.data.root = root / "out";
  options.format = "folder";
  options.output = root / "again";
  EXPECT_EQ(pack_dataset(options)["records"], 10);
  expect_same_samples(*open(root / "images"), *open(root / "again"));
  EXPECT_CONTAINS(message_of<UsageError>([&] { pack_dataset(options); }), "is not empty");
  // Shards of pixels cannot be kept "as files".
  options.output = root / "third";
  options.encoding = "file";
  message_of<UsageError>([&] { pack_dataset(options); });
}

}  // namespace
}  // namespace swath::data
