#include "core/tensorboard.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "core/error.h"
#include "core/files.h"

namespace swath {
namespace {

namespace fs = std::filesystem;

constexpr double kWallTime = 1700000000.25;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string small_png() {
  return read_file(fs::path(SWATH_TESTDATA) / "core" / "tensorboard_image.png");
}

class TensorboardFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() / (std::string("swath_tensorboard_") + info->name());
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path directory_;
};

// RFC 3720, appendix B.4; the last is the check value of the CRC catalogues.
TEST(Tensorboard, CrcHasTheValuesOfTheStandard) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  std::string rising;
  std::string falling;
  for (int i = 0; i < 32; ++i) {
    rising += static_cast<char>(i);
    falling += static_cast<char>(31 - i);
  }
  EXPECT_EQ(crc32c(rising), 0x46dd794eU);
  EXPECT_EQ(crc32c(falling), 0x113fdb5cU);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(""), 0U);
}

// The fixture was written by TensorBoard's own classes: testdata/core/make_tensorboard_events.py.
TEST_F(TensorboardFiles, BytesAreThoseOfTensorboard) {
  fs::path path;
  {
    EventWriter events(directory_);
    path = events.path();
    events.scalar("train/loss", 0, 1.5, kWallTime);
    events.scalar("train/loss", 300, 0.1, kWallTime);
    events.scalar("train/loss", int64_t{1} << 40, kInfinity, kWallTime);
    events.text("run/config", 301, "# swath \xc3\xa9", kWallTime);
    events.image("reconstruction", 302, small_png(), kWallTime);
    events.restart_at(200, kWallTime);
  }
  const std::string expected =
      read_file(fs::path(SWATH_TESTDATA) / "core" / "tensorboard_events.bin");
  const std::string written = read_file(path);
  // The first record carries the time of the writing: 12 bytes of framing, tag and 8 bytes of time,
  // the text, CRC.
  constexpr size_t kFirstRecord = 12 + 9 + 15 + 4;
  ASSERT_EQ(written.size(), expected.size());
  EXPECT_EQ(written.substr(0, 13), expected.substr(0, 13));
  EXPECT_EQ(written.substr(12 + 9, 15), expected.substr(12 + 9, 15));
  EXPECT_EQ(written.substr(kFirstRecord), expected.substr(kFirstRecord));
  EXPECT_EQ(written.substr(0, kFirstRecord), tf_record(written.substr(12, 9 + 15)));
}

TEST_F(TensorboardFiles, AResumedRunGetsAFileOfItsOwn) {
  EventWriter first(directory_);
  EventWriter second(directory_);
  EXPECT_NE(first.path(), second.path());
  for (const EventWriter* events : {&first, &second}) {
    EXPECT_TRUE(events->path().filename().string().starts_with("events.out.tfevents."));
    EXPECT_TRUE(fs::exists(events->path()));
  }
}

TEST_F(TensorboardFiles, EventsAreOnDiskAfterFlush) {
  EventWriter events(directory_);
  const auto before = fs::file_size(events.path());
  events.scalar("loss", 1, 0.5);
  EXPECT_EQ(fs::file_size(events.path()), before);
  events.flush();
  EXPECT_GT(fs::file_size(events.path()), before);
}

TEST_F(TensorboardFiles, WhatIsNoPngIsRefused) {
  EventWriter events(directory_);
  EXPECT_THROW(events.image("grid", 1, "GIF89a"), Error);
  EXPECT_THROW(events.image("grid", 1, small_png().substr(0, 20)), Error);
}

TEST_F(TensorboardFiles, ADirectoryThatCannotBeIsNamed) {
  fs::create_directories(directory_);
  write_file_atomically(directory_ / "file", "x");
  try {
    EventWriter events(directory_ / "file");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find((directory_ / "file").string()), std::string::npos);
  }
}

}  // namespace
}  // namespace swath
