// TensorBoard itself reads our event files: values, times, text, picture, and a resumed run.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/tensorboard.h"

namespace swath {
namespace {

namespace fs = std::filesystem;

std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");  // NOLINT(bugprone-command-processor)
  if (pipe == nullptr) return output;
  char buffer[4096];
  size_t count = 0;
  while ((count = fread(buffer, 1, sizeof buffer, pipe)) > 0) output.append(buffer, count);
  const int status = pclose(pipe);
  EXPECT_EQ(status, 0) << command;
  return output;
}

TEST(EventFilesPeer, ReadsWhatWasWritten) {
  const fs::path python = fs::path(SWATH_SOURCE_DIR) / ".deps/peer/bin/python";
  ASSERT_TRUE(fs::exists(python)) << "HINT: `./swath test --long` installs " << python;
  const fs::path directory = fs::temp_directory_path() / "swath_tensorboard_peer";
  fs::remove_all(directory);
  // An invalid CRC of the data is not noticed by every reader, so the quick test holds the bytes;
  // here a file of more than one buffer and two files of one run.
  constexpr int kLostStep = 4000;
  constexpr int kRestartStep = 3000;
  const auto loss_at = [](int64_t step) { return 1.0 / (1.0 + 0.01 * static_cast<double>(step)); };
  const std::string png = read_file(fs::path(SWATH_TESTDATA) / "core" / "tensorboard_image.png");
  {
    EventWriter events(directory);
    for (int64_t step = 0; step < kLostStep; ++step) {
      events.scalar("train/loss", step, step < kRestartStep ? loss_at(step) : 99.0,
                    1.7e9 + 0.5 * static_cast<double>(step));
    }
    events.scalar("train/broken", 5, std::numeric_limits<double>::quiet_NaN());
    events.text("run/config", 0, "width = 128 \xc2\xb5");
    events.image("reconstruction", 10, png);
  }
  {
    EventWriter events(directory);
    events.restart_at(kRestartStep);
    for (int64_t step = kRestartStep; step < kRestartStep + 100; ++step) {
      events.scalar("train/loss", step, loss_at(step), 1.8e9);
    }
  }
  const fs::path script = fs::path(SWATH_TESTDATA) / "core" / "read_tensorboard_events.py";
  const Json read =
      Json::parse(output_of(python.string() + " " + script.string() + " " + directory.string()));

  const Json& loss = read["scalars"]["train/loss"];
  ASSERT_EQ(loss.size(), kRestartStep + 100);
  for (size_t i = 0; i < loss.size(); ++i) {
    const auto step = static_cast<int64_t>(i);
    ASSERT_EQ(loss[i][0].get<int64_t>(), step);
    ASSERT_FLOAT_EQ(loss[i][2].get<float>(), static_cast<float>(loss_at(step)));
    if (step < kRestartStep) {
      ASSERT_DOUBLE_EQ(loss[i][1].get<double>(), 1.7e9 + 0.5 * static_cast<double>(step));
    }
  }
  ASSERT_EQ(read["scalars"]["train/broken"].size(), 1U);
  EXPECT_TRUE(read["scalars"]["train/broken"][0][2].is_null());
  EXPECT_EQ(read["texts"]["run/config"], "width = 128 \xc2\xb5");
  EXPECT_EQ(read["images"]["reconstruction"], Json::array({2, 1, sha256_hex(png)}));
  fs::remove_all(directory);
}

}  // namespace
}  // namespace swath
