#include "data/shard_set.h"

#include <gtest/gtest.h>

#include "core/hash.h"
#include "data/shard_dataset.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TemporaryDirectory;

RecordLayout layout_of(int64_t bands) {
  RecordLayout layout;
  layout.height = layout.width = 8;
  layout.bands = bands;
  layout.class_names = {"city", "river"};
  return layout;
}

void add_records(ShardSetWriter& writer, int first, int count, int64_t bands) {
  for (int i = first; i < first + count; ++i) {
    const auto pixels = test::random_pixels<uint8_t>(64 * bands, static_cast<uint64_t>(i));
    Record record;
    record.name = "r" + std::to_string(i);
    record.label = i % 2;
    record.bytes = test::bytes_of(pixels);
    writer.add(record);
  }
}

Json write_set(const fs::path& folder, int count, uint64_t shard_bytes = 1 << 20,
               int64_t bands = 3) {
  ShardSetWriter writer(folder, layout_of(bands), {shard_bytes, false, "a test"});
  add_records(writer, 0, count, bands);
  return writer.finish();
}

TEST(ShardSet, SplitsAtTheGivenSize) {
  TemporaryDirectory root;
  const Json manifest = write_set(root / "set", 30, 4096 + 10 * (192 + 64 + 3));
  EXPECT_EQ(manifest["records"], 30);
  ASSERT_GE(manifest["shards"].size(), 3u);
  for (const Json& shard : manifest["shards"]) {
    const fs::path path = root / "set" / shard["file"].get<std::string>();
    EXPECT_EQ(fs::file_size(path), shard["bytes"].get<uint64_t>());
    EXPECT_EQ(sha256_hex_of_file(path), shard["sha256"].get<std::string>());
  }
  const ShardDataset dataset(root / "set");
  ASSERT_EQ(dataset.size(), 30);
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < 30; ++i) {
    EXPECT_EQ(dataset.sample(i).name, "r" + std::to_string(i));
    const Image image = decode_image(dataset.source(i, &scratch));
    EXPECT_EQ(image.as<uint8_t>()[100],
              test::random_pixels<uint8_t>(192, static_cast<uint64_t>(i))[100]);
  }
  EXPECT_EQ(dataset.sample(1).id, xxh3("r1"));
  message_of<UsageError>([&] { dataset.sample(30); });
}

TEST(ShardSet, ManifestHoldsStatistics) {
  TemporaryDirectory root;
  const Json manifest = write_set(root / "set", 5);
  const BandStatistics statistics = BandStatistics::from_json(manifest["statistics"], "manifest");
  EXPECT_EQ(statistics.images(), 5);
  double sum = 0;
  for (uint64_t i = 0; i < 5; ++i) {
    const auto pixels = test::random_pixels<uint8_t>(192, i);
    for (size_t p = 0; p < 192; p += 3) sum += pixels[p];
  }
  EXPECT_NEAR(statistics.mean()[0], sum / (5 * 64), 1e-9);
}

TEST(ShardSet, InterruptedWriterLeavesNoSet) {
  TemporaryDirectory root;
  {
    ShardSetWriter writer(root / "set", layout_of(3), {4096 + 700, false, ""});
    add_records(writer, 0, 10, 3);
    EXPECT_FALSE(is_shard_set(root / "set"));
  }
  EXPECT_TRUE(fs::is_empty(root / "set"));
  // What a killed writer leaves is removed by the next.
  test::write_text(root / "set/shard-00007.shard", "rest");
  test::write_text(root / "set/shard-00008.shard.partial-1", "rest");
  test::write_text(root / "set/.partial/shard-00009.shard", "rest");
  EXPECT_TRUE(is_shard_set(root / "set"));
  EXPECT_CONTAINS(message_of<UsageError>([&] { ShardDataset(root / "set"); }), "interrupted");
  write_set(root / "set", 3);
  EXPECT_FALSE(fs::exists(root / "set/shard-00007.shard"));
  EXPECT_FALSE(fs::exists(root / "set/shard-00008.shard.partial-1"));
  EXPECT_FALSE(fs::exists(root / "set/.partial"));
  EXPECT_EQ(ShardDataset(root / "set").size(), 3);
}

TEST(ShardSet, AnUnfinishedReplacementLeavesTheOldSet) {
  TemporaryDirectory root;
  write_set(root / "set", 20, 4096 + 1500);
  const int64_t size = ShardDataset(root / "set").size();
  const std::string manifest = read_file(root / "set/manifest.json");
  {
    ShardSetWriter writer(root / "set", layout_of(3), {4096 + 700, true, ""});
    add_records(writer, 0, 10, 3);
    EXPECT_EQ(ShardDataset(root / "set").size(), size);
  }
  EXPECT_EQ(read_file(root / "set/manifest.json"), manifest);
  EXPECT_EQ(ShardDataset(root / "set").size(), size);
  EXPECT_FALSE(fs::exists(root / "set/.partial"));
}

TEST(ShardSet, ShardsOfOtherNamesAreNeverRemoved) {
  TemporaryDirectory root;
  for (const char* name : {"mine.shard", "shard-1.shard", "shard-0000x.shard"}) {
    SCOPED_TRACE(name);
    const fs::path folder = root / (std::string("of_") + name);
    test::write_text(folder / name, "precious");
    EXPECT_CONTAINS(message_of<UsageError>([&] { write_set(folder, 3); }), name);
    ShardSetWriter writer(folder, layout_of(3), {1 << 20, true, ""});
    add_records(writer, 0, 5, 3);
    writer.finish();
    EXPECT_EQ(ShardDataset(folder).size(), 5);
    EXPECT_EQ(read_file(folder / name), "precious");
  }
}

TEST(ShardSet, OverwritesOnlyWhenAsked) {
  TemporaryDirectory root;
  write_set(root / "set", 3);
  EXPECT_CONTAINS(message_of<UsageError>([&] { write_set(root / "set", 4); }), "--overwrite");
  EXPECT_EQ(ShardDataset(root / "set").size(), 3);
  ShardSetWriter writer(root / "set", layout_of(3), {1 << 20, true, ""});
  add_records(writer, 0, 5, 3);
  writer.finish();
  EXPECT_EQ(ShardDataset(root / "set").size(), 5);
  test::write_text(root / "other/manifest.json", "{\"name\": \"a web app\"}");
  message_of<Error>([&] { ShardSetWriter(root / "other", layout_of(3), {1 << 20, true, ""}); });
  EXPECT_TRUE(fs::exists(root / "other/manifest.json"));
}

TEST(ShardSet, EmptySetsAreRefused) {
  TemporaryDirectory root;
  ShardSetWriter writer(root / "set", layout_of(3), {});
  message_of<UsageError>([&] { writer.finish(); });
}

TEST(ShardSet, MissingTruncatedAndExchangedShards) {
  TemporaryDirectory root;
  write_set(root / "set", 20, 4096 + 1500);
  const fs::path second = root / "set/shard-00001.shard";
  fs::rename(second, root / "kept.shard");
  EXPECT_CONTAINS(message_of<Error>([&] { ShardDataset(root / "set"); }),
                  "shard-00001.shard is named in the manifest and missing");
  // With skip_bad the rest remains.
  const ShardDataset rest(root / "set", true);
  EXPECT_GT(rest.size(), 0);
  EXPECT_LT(rest.size(), 20);

  write_set(root / "other", 1);
  fs::copy_file(root / "other/shard-00000.shard", second);
  EXPECT_CONTAINS(message_of<Error>([&] { ShardDataset(root / "set"); }), "the manifest says");
  fs::remove(second);
  fs::copy_file(root / "kept.shard", second);
  test::truncate_file(second, fs::file_size(second) - 1);
  EXPECT_CONTAINS(message_of<Error>([&] { ShardDataset(root / "set"); }),
                  "shard-00001.shard is truncated");
}

TEST(ShardSet, ShardsOfDifferentKindsAreRefused) {
  TemporaryDirectory root;
  Json manifest = write_set(root / "set", 3);
  write_set(root / "other", 3, 1 << 20, 4);
  fs::copy_file(root / "other/shard-00000.shard", root / "set/shard-00001.shard");
  Json shard = manifest["shards"][0];
  shard["file"] = "shard-00001.shard";
  manifest["shards"].push_back(shard);
  test::write_text(root / "set/manifest.json", manifest.dump());
  EXPECT_CONTAINS(message_of<Error>([&] { ShardDataset(root / "set"); }), "different kinds");
}

TEST(ShardSet, DamagedManifests) {
  TemporaryDirectory root;
  write_set(root / "set", 3);
  const fs::path manifest = root / "set/manifest.json";
  const std::string text = read_file(manifest);
  write_file_atomically(manifest, text.substr(0, text.size() / 2));
  EXPECT_CONTAINS(message_of<Error>([&] { read_manifest(manifest); }), "manifest.json");
  Json json = Json::parse(text);
  json["version"] = 2;
  write_file_atomically(manifest, json.dump());
  EXPECT_CONTAINS(message_of<Error>([&] { read_manifest(manifest); }), "version 2");
  json["version"] = 1;
  json["shards"][0].erase("file");
  write_file_atomically(manifest, json.dump());
  EXPECT_CONTAINS(message_of<Error>([&] { read_manifest(manifest); }), "damaged");
}

}  // namespace
}  // namespace swath::data
