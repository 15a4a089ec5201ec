#include "core/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "core/error.h"

namespace swath {
namespace {
namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  Files() : directory_(fs::temp_directory_path() / ("swath_files_" + std::to_string(getpid()))) {
    fs::create_directories(directory_);
  }
  ~Files() override { fs::remove_all(directory_); }
  int64_t entries() const {
    return std::distance(fs::directory_iterator(directory_), fs::directory_iterator());
  }
  fs::path directory_;
};

TEST_F(Files, AnAbandonedWriterLeavesTheOldFileAndNothingElse) {
  const fs::path path = directory_ / "a.txt";
  write_file_atomically(path, "old");
  {
    AtomicFileWriter writer(path);
    writer.write("new");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(entries(), 1);
}

TEST_F(Files, PublishedBytesArriveInPlace) {
  AtomicFileWriter writer(directory_ / "b");
  writer.write("0123");
  writer.write("4567");
  writer.write_at(1, "xy", 2);
  writer.publish();
  EXPECT_EQ(read_file(directory_ / "b"), "0xy34567");
}

TEST_F(Files, AFullDiskIsNamed) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  // /dev/full takes no byte: the writer's temporary file is a link to it.
  const fs::path path = directory_ / "c";
  fs::create_symlink("/dev/full", partial_path(path));
  try {
    AtomicFileWriter writer(path);
    writer.write("x");
    FAIL() << "a full disk went unnoticed";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("disk is full"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos);
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(Files, AFullDiskIsMeasuredForARelativePathToo) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const fs::path old = fs::current_path();
  fs::current_path(directory_);
  fs::create_symlink("/dev/full", partial_path("d"));
  std::string message;
  try {
    AtomicFileWriter("d").write("x");
  } catch (const Error& error) {
    message = error.what();
  }
  fs::current_path(old);
  EXPECT_NE(message.find("disk is full"), std::string::npos) << message;
  // What std::filesystem says when it could not ask.
  EXPECT_EQ(message.find(std::to_string(static_cast<uintmax_t>(-1))), std::string::npos) << message;
}

TEST_F(Files, OutputDirectoriesAreNumberedAndNeverReused) {
  const fs::path old = fs::current_path();
  fs::current_path(directory_);
  EXPECT_EQ(make_output_directory("", "probe", false), fs::path("runs/probe-1"));
  EXPECT_EQ(make_output_directory("", "probe", false), fs::path("runs/probe-2"));
  fs::current_path(old);
}

TEST_F(Files, ResultsAreOnlyReplacedWhenAskedAndRecognised) {
  const fs::path run = directory_ / "run";
  fs::create_directories(run);
  EXPECT_EQ(make_output_directory(run, "probe", false), run);
  std::ofstream(run / "precious.txt") << "mine";
  EXPECT_THROW(make_output_directory(run, "probe", false), UsageError);
  EXPECT_THROW(make_output_directory(run, "probe", true), UsageError);  // not a run directory
  EXPECT_TRUE(fs::exists(run / "precious.txt"));
  std::ofstream(run / "config.toml") << "";
  EXPECT_EQ(make_output_directory(run, "probe", true), run);
  EXPECT_TRUE(fs::is_empty(run));
}

TEST_F(Files, MissingFilesAreNamed) {
  EXPECT_THROW(read_file(directory_ / "nothing"), Error);
  EXPECT_THROW(MappedFile(directory_ / "nothing"), Error);
}

TEST_F(Files, EnvironmentVariablesAreExpanded) {
  setenv("SWATH_TEST_ROOT", "/data", 1);
  EXPECT_EQ(expand_environment("${SWATH_TEST_ROOT}/ucm"), "/data/ucm");
  EXPECT_EQ(expand_environment("plain/$path"), "plain/$path");
  unsetenv("SWATH_TEST_ROOT");
  EXPECT_THROW(expand_environment("${SWATH_TEST_ROOT}/ucm"), UsageError);
}

}  // namespace
}  // namespace swath
