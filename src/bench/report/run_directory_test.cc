#include "bench/report/run_directory.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "core/error.h"
#include "core/files.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;

fs::path samples() { return fs::path(SWATH_TESTDATA) / "bench"; }

// A run directory made of texts.
class RunDirectoryFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() / (std::string("swath_run_directory_") + info->name());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  void write(const std::string& file, const std::string& contents) {
    write_file_atomically(directory_ / file, contents);
  }

  fs::path directory_;
};

bool any_contains(const std::vector<std::string>& texts, const std::string& part) {
  for (const std::string& text : texts) {
    if (text.find(part) != std::string::npos) return true;
  }
  return false;
}

TEST(RunDirectory, SampleIsReadWhole) {
  const RunDirectory run = read_run_directory(samples() / "sample_run");
  EXPECT_EQ(run.name, "sample_run");
  EXPECT_EQ(run.steps.size(), 120U);
  EXPECT_EQ(run.steps.front().step, 10);
  EXPECT_EQ(run.steps.back().step, 2390);
  EXPECT_GT(run.steps.back().elapsed_seconds, run.steps.front().elapsed_seconds);
  EXPECT_EQ(text_of(run.run, "command"), "swath demo");
  EXPECT_EQ(number_of(run.end, "steps"), 2400);
  EXPECT_EQ(run.checkpoints.size(), 2U);
  EXPECT_EQ(run.events.size(), 1U);
  ASSERT_EQ(run.probes.size(), 1U);
  ASSERT_EQ(run.pictures.size(), 1U);
  EXPECT_EQ(run.pictures[0].mime, "image/png");
  EXPECT_GT(run.pictures[0].width, run.pictures[0].height);
  EXPECT_NE(run.pictures[0].caption.find("never trained on"), std::string::npos);
  EXPECT_TRUE(run.missing.empty());
  EXPECT_TRUE(run.warnings.empty());
}

// Steps 610 to 900 were done twice, 3100 s lie between the two processes, the last line breaks off.
TEST(RunDirectory, KilledAndResumedRunIsOneRisingLine) {
  const RunDirectory run = read_run_directory(samples() / "sample_killed");
  EXPECT_EQ(run.num_resumes, 1);
  EXPECT_TRUE(run.end.empty());
  EXPECT_TRUE(run.warnings.empty()) << run.warnings.front();
  for (size_t i = 1; i < run.steps.size(); ++i) {
    ASSERT_EQ(run.steps[i].step, run.steps[i - 1].step + 30);
    const double seconds = run.steps[i].elapsed_seconds - run.steps[i - 1].elapsed_seconds;
    EXPECT_GE(seconds, 0);
    // The pause does not count, the work that was lost does.
    EXPECT_LT(seconds, 200) << run.steps[i].step;
  }
  EXPECT_EQ(run.missing.size(), 3U);
  EXPECT_TRUE(any_contains(run.missing, "probe"));
}

TEST_F(RunDirectoryFiles, EpochsThatAResumeRepeatedAreThereOnce) {
  write("log.jsonl",
        "{\"kind\":\"epoch\",\"step\":5,\"epoch\":1,\"seconds\":2,\"test_loss\":0.9}\n"
        "{\"kind\":\"epoch\",\"step\":10,\"epoch\":2,\"seconds\":2,\"test_loss\":0.7}\n"
        "{\"kind\":\"run\"}\n"
        "{\"kind\":\"epoch\",\"step\":10,\"epoch\":2,\"seconds\":2,\"test_loss\":0.6}\n"
        "{\"kind\":\"step\",\"step\":10,\"loss\":0.5}\n");
  const RunDirectory run = read_run_directory(directory_);
  ASSERT_EQ(run.epochs.size(), 2U);
  EXPECT_EQ(run.epochs[1].step, 10);
  EXPECT_EQ(run.epochs[1].test_loss, 0.6);
}

TEST_F(RunDirectoryFiles, DamagedLinesAreNamedAndLeftOut) {
  write("log.jsonl",
        "{\"kind\":\"step\",\"step\":1,\"loss\":2}\n"
        "garbage\n"
        "{\"kind\":\"step\",\"loss\":2}\n"
        "\n"
        "[1, 2]\n"
        "{\"kind\":\"later\",\"what\":1}\n"
        "{\"kind\":\"step\",\"step\":2,\"loss\":1}\n");
  const RunDirectory run = read_run_directory(directory_);
  EXPECT_EQ(run.steps.size(), 2U);
  ASSERT_EQ(run.warnings.size(), 3U);
  EXPECT_TRUE(any_contains(run.warnings, "log.jsonl:2 "));
  EXPECT_TRUE(any_contains(run.warnings, "log.jsonl:3 "));
  EXPECT_TRUE(any_contains(run.warnings, "log.jsonl:5 "));
}

TEST_F(RunDirectoryFiles, RecordAfterAHalfLineIsRead) {
  write("log.jsonl",
        "{\"kind\":\"run\",\"time\":0}\n{\"kind\":\"step\",\"step\":1,\"loss\":2}\n{\"kind\":\"st"
        "{\"kind\":\"run\",\"time\":50}\n{\"kind\":\"step\",\"step\":2,\"loss\":1}\n");
  const RunDirectory run = read_run_directory(directory_);
  EXPECT_EQ(run.num_resumes, 1);
  EXPECT_EQ(run.steps.size(), 2U);
  EXPECT_TRUE(run.warnings.empty());
}

TEST_F(RunDirectoryFiles, NonFiniteNumbersAreGapsAndCounted) {
  write("log.jsonl",
        "{\"kind\":\"step\",\"step\":1,\"loss\":2.5,\"lr\":0.1}\n"
        "{\"kind\":\"step\",\"step\":2,\"loss\":NaN,\"lr\":-Infinity}\n"
        "{\"kind\":\"step\",\"step\":3,\"loss\":null,\"note\":\"NaN, -inf \\\" NaN\"}\n"
        "{\"kind\":\"step\",\"step\":4,\"loss\":\"much\",\"lr\":0.3}\n");
  const RunDirectory run = read_run_directory(directory_);
  ASSERT_EQ(run.steps.size(), 4U);
  EXPECT_TRUE(run.warnings.empty());
  EXPECT_EQ(run.num_non_finite, 3);
  EXPECT_EQ(run.first_non_finite_step, 2);
  EXPECT_TRUE(std::isnan(run.steps[1].lr));
  EXPECT_EQ(run.steps[3].lr, 0.3);
}

TEST_F(RunDirectoryFiles, TimesAreSecondsOrIso) {
  EXPECT_EQ(time_of({{"time", 12.5}}), 12.5);
  EXPECT_EQ(time_of({{"time", "1970-01-02T00:00:01Z"}}), 86401);
  EXPECT_TRUE(std::isnan(time_of({{"time", "yesterday"}})));
  EXPECT_TRUE(std::isnan(time_of(Json::object())));
}

TEST_F(RunDirectoryFiles, MalformedFilesAreNamed) {
  write("probe.json", R"({"top1": 0.5})");
  write("probe_cut.json", R"({"top1": 0.)");
  write("probe_percent.json", R"({"top1": 74.3})");
  write("picture.png", "no picture");
  write("pictures.json", R"([{"file": "../secret.png"}, {"file": "gone.png"}, {}])");
  const RunDirectory run = read_run_directory(directory_);
  EXPECT_EQ(run.probes.size(), 1U);
  EXPECT_TRUE(run.pictures.empty());
  for (const char* part : {"probe_cut.json", "probe_percent.json", "picture.png is neither",
                           "plain file name", "gone.png"}) {
    EXPECT_TRUE(any_contains(run.warnings, part)) << part;
  }
}

TEST_F(RunDirectoryFiles, PicturesFollowTheirListThenTheirNames) {
  const std::string png = read_file(fs::path(SWATH_TESTDATA) / "core" / "tensorboard_image.png");
  for (const char* file : {"a.png", "b.png", "c.png"}) write(file, png);
  write("pictures.json", R"([{"file": "c.png", "caption": "first"}])");
  const RunDirectory run = read_run_directory(directory_);
  ASSERT_EQ(run.pictures.size(), 3U);
  EXPECT_EQ(run.pictures[0].file, "c.png");
  EXPECT_EQ(run.pictures[0].caption, "first");
  EXPECT_EQ(run.pictures[1].file, "a.png");
  EXPECT_EQ(run.pictures[1].width, 2);
  EXPECT_EQ(run.pictures[1].height, 1);
}

TEST_F(RunDirectoryFiles, NothingToReportIsAnError) {
  EXPECT_THROW(read_run_directory(directory_), Error);
  write("config.toml", "seed = 1\n");
  EXPECT_THROW(read_run_directory(directory_), Error);
  EXPECT_THROW(read_run_directory(directory_ / "absent"), UsageError);
}

TEST_F(RunDirectoryFiles, RunsOfOneNameAreToldApart) {
  for (const char* seed : {"seed0", "seed1"}) {
    write(std::string(seed) + "/run/probe.json", R"({"top1": 0.5})");
  }
  const auto runs = read_run_directories({directory_ / "seed0/run", directory_ / "seed1/run/"});
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].name, "seed0/run");
  EXPECT_NE(runs[0].name, runs[1].name);
}

}  // namespace
}  // namespace swath::bench
