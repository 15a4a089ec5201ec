#include "data/record_shard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "data/test_files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::flip_byte;
using test::message_of;
using test::random_pixels;
using test::TemporaryDirectory;
using test::truncate_file;

constexpr uint64_t kHeaderBytes = 4096;

RecordLayout small_layout(RecordEncoding encoding, PixelType type) {
  RecordLayout layout;
  layout.encoding = encoding;
  layout.type = type;
  layout.height = 5;
  layout.width = 7;
  layout.bands = 3;
  layout.band_info = {{"red", 0.5, 1}, {"green", 1e-4, 0}, {"blue", 1, -7}};
  layout.class_names = {"city", "river"};
  return layout;
}

template <class Value>
void write_shard(const fs::path& path, RecordEncoding encoding, int count) {
  RecordShardWriter writer(path, small_layout(encoding, test::pixel_type_of<Value>()));
  for (int i = 0; i < count; ++i) {
    const auto pixels = random_pixels<Value>(5 * 7 * 3, static_cast<uint64_t>(i));
    Record record;
    record.name = "folder/chip" + std::to_string(i);
    record.label = i % 2;
    if (i != 1) record.longitude_latitude = {{i * 0.25, -i * 0.5}};
    if (i == 2) record.time = 1.5e9;
    record.bytes = bytes_of(pixels);
    writer.add(record);
  }
  writer.finish({{"note", "seen"}});
}

template <class Value>
void expect_round_trip(RecordEncoding encoding) {
  TemporaryDirectory root;
  write_shard<Value>(root / "a.shard", encoding, 4);
  const RecordShard shard(root / "a.shard");
  ASSERT_EQ(shard.size(), 4);
  EXPECT_EQ(to_json(shard.layout()), to_json(small_layout(encoding, test::pixel_type_of<Value>())));
  EXPECT_EQ(shard.statistics().at("note"), "seen");
  std::vector<std::byte> scratch;
  for (const int64_t i : {3, 0, 2, 1}) {
    const auto expected = random_pixels<Value>(5 * 7 * 3, static_cast<uint64_t>(i));
    const auto found = shard.bytes(i, &scratch);
    ASSERT_EQ(found.size(), expected.size() * sizeof(Value));
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size()), 0);
    EXPECT_EQ(shard.name(i), "folder/chip" + std::to_string(i));
    EXPECT_EQ(shard.label(i), i % 2);
    const Image image = decode_image(shard.source(i, &scratch));
    EXPECT_EQ(image.width, 7);
    EXPECT_EQ(image.height, 5);
    EXPECT_EQ(image.as<Value>()[20], expected[20]);
  }
  EXPECT_FALSE(shard.longitude_latitude(1));
  EXPECT_EQ((*shard.longitude_latitude(3))[0], 0.75);
  EXPECT_EQ((*shard.longitude_latitude(3))[1], -1.5);
  EXPECT_EQ(shard.time(2), 1.5e9);
  EXPECT_FALSE(shard.time(0));
}

TEST(RecordShard, RawRoundTrip) {
  expect_round_trip<uint8_t>(RecordEncoding::kRaw);
  expect_round_trip<uint16_t>(RecordEncoding::kRaw);
  expect_round_trip<int16_t>(RecordEncoding::kRaw);
  expect_round_trip<float>(RecordEncoding::kRaw);
}

TEST(RecordShard, Lz4RoundTrip) {
  expect_round_trip<uint8_t>(RecordEncoding::kLz4);
  expect_round_trip<uint16_t>(RecordEncoding::kLz4);
  expect_round_trip<int16_t>(RecordEncoding::kLz4);
  expect_round_trip<float>(RecordEncoding::kLz4);
}

TEST(RecordShard, ByteShuffleCompressesSlowlyChangingPixels) {
  TemporaryDirectory root;
  RecordLayout layout;
  layout.encoding = RecordEncoding::kLz4;
  layout.type = PixelType::kUint16;
  layout.height = layout.width = 64;
  layout.bands = 1;
  std::vector<uint16_t> pixels(size_t{64} * 64);
  Random random(1, RandomPurpose::kTest);
  for (uint16_t& pixel : pixels) pixel = static_cast<uint16_t>(3072 + random.below(100));
  RecordShardWriter writer(root / "a.shard", layout);
  Record record;
  record.bytes = bytes_of(pixels);
  writer.add(record);
  writer.finish();
  // 8192 bytes raw, of which the 4096 high bytes are equal and vanish. Without the regrouping LZ4
  // finds no match of four bytes and the record would not shrink.
  EXPECT_LT(fs::file_size(root / "a.shard"), kHeaderBytes + 4096 + 400);
}

TEST(RecordShard, ShuffleGroupsBytes) {
  const std::vector<uint16_t> values = {0x0102, 0x0304, 0x0506};
  std::vector<std::byte> planes(6);
  shuffle_bytes(std::as_bytes(std::span(values)).data(), 3, 2, planes.data());
  const std::vector<int> expected = {2, 4, 6, 1, 3, 5};
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(std::to_integer<int>(planes[i]), expected[i]);
}

TEST(RecordShard, KeepsEncodedImages) {
  TemporaryDirectory root;
  RecordLayout layout;
  layout.encoding = RecordEncoding::kFile;
  layout.bands = 3;
  const std::string small = npy_header(PixelType::kUint8, {2, 3, 3}) + std::string(18, 'a');
  const std::string large = npy_header(PixelType::kUint8, {4, 5, 3}) + std::string(60, 'b');
  {
    RecordShardWriter writer(root / "a.shard", layout);
    for (const std::string* file : {&small, &large}) {
      Record record;
      record.name = "x.npy";
      record.bytes = std::as_bytes(std::span(*file));
      writer.add(record);
    }
    writer.finish();
  }
  const RecordShard shard(root / "a.shard");
  std::vector<std::byte> scratch;
  EXPECT_EQ(decode_image(shard.source(0, &scratch)).width, 3);
  EXPECT_EQ(decode_image(shard.source(1, &scratch)).width, 5);
  const auto bytes = shard.bytes(1, &scratch);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), large);
}

// Every byte of the file is covered by a checksum: flip any and it is noticed, at opening or when
// the record is read, and an undamaged record next to it still reads.
TEST(RecordShard, FlippedBytesAreFound) {
  TemporaryDirectory root;
  for (const RecordEncoding encoding : {RecordEncoding::kRaw, RecordEncoding::kLz4}) {
    write_shard<uint16_t>(root / "good.shard", encoding, 3);
    const uint64_t size = fs::file_size(root / "good.shard");
    for (uint64_t offset = 0; offset < size; offset += offset < kHeaderBytes ? 1 : 37) {
      if (offset >= 112 && offset < kHeaderBytes) continue;  // the unused rest of the header
      fs::copy_file(root / "good.shard", root / "bad.shard", fs::copy_options::overwrite_existing);
      flip_byte(root / "bad.shard", offset);
      int64_t bad_records = 0;
      bool opened = false;
      try {
        const RecordShard shard(root / "bad.shard");
        opened = true;
        std::vector<std::byte> scratch;
        for (int64_t i = 0; i < shard.size(); ++i) {
          try {
            shard.bytes(i, &scratch);
          } catch (const BadSample& error) {
            ++bad_records;
            EXPECT_CONTAINS(error.what(), "bad.shard record " + std::to_string(i));
          }
        }
      } catch (const Error& error) {
        EXPECT_CONTAINS(error.what(), "bad.shard");
      }
      // Up to 7 bytes of padding lie between records and index.
      if (opened) {
        EXPECT_EQ(bad_records, 1) << "byte " << offset << " of " << size;
      }
    }
  }
}

TEST(RecordShard, TruncationNamesTheFirstLostRecord) {
  TemporaryDirectory root;
  write_shard<uint8_t>(root / "a.shard", RecordEncoding::kRaw, 10);
  truncate_file(root / "a.shard", kHeaderBytes + uint64_t{3} * 105 + 50);
  const std::string message = message_of<Error>([&] { RecordShard(root / "a.shard"); });
  EXPECT_CONTAINS(message, "a.shard is truncated");
  EXPECT_CONTAINS(message, "with 10 records");
  EXPECT_CONTAINS(message, "records from 3 on are lost");
  EXPECT_CONTAINS(message, "swath data verify");
  truncate_file(root / "a.shard", 50);
  EXPECT_CONTAINS(message_of<Error>([&] { RecordShard(root / "a.shard"); }), "not even a header");
  truncate_file(root / "a.shard", 0);
  EXPECT_CONTAINS(message_of<Error>([&] { RecordShard(root / "a.shard"); }), "not even a header");
}

TEST(RecordShard, OtherFilesAndVersionsAreRefused) {
  TemporaryDirectory root;
  test::write_text(root / "a.shard", std::string(5000, 'x'));
  EXPECT_CONTAINS(message_of<Error>([&] { RecordShard(root / "a.shard"); }),
                  "is not a record shard");
  write_shard<uint8_t>(root / "b.shard", RecordEncoding::kRaw, 1);
  flip_byte(root / "b.shard", 8);
  EXPECT_CONTAINS(message_of<Error>([&] { RecordShard(root / "b.shard"); }), "has version 17");
}

TEST(RecordShard, AbsentUntilFinished) {
  TemporaryDirectory root;
  {
    RecordShardWriter writer(root / "a.shard",
                             small_layout(RecordEncoding::kRaw, PixelType::kUint8));
    const auto pixels = random_pixels<uint8_t>(105, 1);
    Record record;
    record.bytes = bytes_of(pixels);
    writer.add(record);
    EXPECT_FALSE(fs::exists(root / "a.shard"));
  }
  EXPECT_TRUE(fs::is_empty(root.path()));
}

TEST(RecordShard, WriterRefusesWrongRecords) {
  TemporaryDirectory root;
  RecordShardWriter writer(root / "a.shard", small_layout(RecordEncoding::kRaw, PixelType::kUint8));
  const auto pixels = random_pixels<uint8_t>(105, 1);
  Record record;
  record.name = "chip";
  record.bytes = bytes_of(pixels).first(104);
  EXPECT_CONTAINS(message_of<UsageError>([&] { writer.add(record); }),
                  "record chip has 104 bytes, the shard's records have 105");
  record.bytes = bytes_of(pixels);
  record.label = 2;
  EXPECT_CONTAINS(message_of<UsageError>([&] { writer.add(record); }), "label 2");
  RecordLayout layout = small_layout(RecordEncoding::kRaw, PixelType::kUint8);
  layout.band_info.pop_back();
  message_of<UsageError>([&] { RecordShardWriter(root / "b.shard", layout); });
}

TEST(RecordShard, ManyThreadsReadAtOnce) {
  TemporaryDirectory root;
  write_shard<uint16_t>(root / "a.shard", RecordEncoding::kLz4, 50);
  const RecordShard shard(root / "a.shard");
  std::vector<std::jthread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::byte> scratch;
      for (int64_t i = 0; i < 500; ++i) {
        const int64_t record = (i * 7 + t) % 50;
        const auto expected = random_pixels<uint16_t>(105, static_cast<uint64_t>(record));
        const auto found = shard.bytes(record, &scratch);
        if (std::memcmp(found.data(), expected.data(), found.size()) != 0) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace swath::data
