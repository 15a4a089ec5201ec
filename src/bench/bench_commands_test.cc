// `swath bench` beside its Python peers, at sizes that take seconds. Needs the peer environment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "core/files.h"
#include "core/json.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;

class BenchCommands : public testing::Test {
 protected:
  BenchCommands()
      : directory_(fs::temp_directory_path() / ("swath_bench_" + std::to_string(getpid()))) {
    fs::create_directories(directory_);
  }
  ~BenchCommands() override { fs::remove_all(directory_); }

  void SetUp() override {
    const fs::path python = fs::path(SWATH_SOURCE_DIR) / ".deps/peer/bin/python";
    ASSERT_TRUE(fs::exists(python)) << "HINT: `./swath test --long` installs " << python;
    ASSERT_NE(std::getenv("SWATH_PROGRAM"), nullptr);
  }

  // The exit code of `swath bench ARGUMENTS` on so many ranks; what it says goes to the test's own
  // stderr.
  static int run(const std::string& arguments, int ranks = 1) {
    const std::string program = std::string("'") + std::getenv("SWATH_PROGRAM") + "' ";
    const std::string launch =
        ranks == 1 ? "" : program + "launch -n " + std::to_string(ranks) + " -- ";
    const std::string command = launch + program + "bench " + arguments + " >/dev/null";
    const int status = std::system(command.c_str());  // NOLINT(bugprone-command-processor)
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // The result of a run that succeeds.
  Json result_of(const std::string& arguments, int ranks = 1) const {
    const std::string output = (directory_ / "result.json").string();
    EXPECT_EQ(run(arguments + " --overwrite --output '" + output + "'", ranks), 0) << arguments;
    return fs::exists(output) ? Json::parse(read_file(output)) : Json::object();
  }

  fs::path directory_;
};

void expect_spread(const Json& spread, int64_t count) {
  EXPECT_GT(spread.at("minimum").get<double>(), 0);
  EXPECT_LE(spread.at("minimum"), spread.at("median"));
  EXPECT_LE(spread.at("median"), spread.at("maximum"));
  EXPECT_EQ(spread.at("count"), count);
}

constexpr const char* kTinySteps =
    "--model vit_pico --batch_size 8 --precision fp32 --device cpu --threads 1 "
    "--warmup_steps 3 --steps 2 --repeats 3 ";

TEST_F(BenchCommands, TrainingStepBesideEagerAndCompiledTorch) {
  const Json result = result_of(std::string("peer ") + kTinySteps);
  ASSERT_TRUE(result.contains("peers"));
  expect_spread(result.at("images_per_second"), 3);
  EXPECT_EQ(result.at("threads"), 1);
  // No maker's peak is known for a processor.
  EXPECT_EQ(result.at("peak_flops_are").get<std::string>(), "measured");
  EXPECT_GT(result.at("mfu").get<double>(), 0);
  const double flops_per_second = result.at("train_gflops_per_image").get<double>() * 1e9 *
                                  result.at("images_per_second").at("median").get<double>();
  EXPECT_NEAR(result.at("mfu").get<double>() * result.at("peak_flops").get<double>(),
              flops_per_second, 1e-9 * flops_per_second);
  double least = 1e9;
  for (const char* mode : {"eager", "compile"}) {
    SCOPED_TRACE(mode);
    const Json& peer = result.at("peers").at(mode);
    expect_spread(peer.at("images_per_second"), 3);
    expect_spread(peer.at("ratio_spread"), 3);
    EXPECT_GT(peer.at("ratio").get<double>(), 0);
    ASSERT_EQ(peer.at("warmup_losses").size(), 3U);
    for (size_t step = 0; step < 3; ++step) {
      EXPECT_NEAR(peer.at("warmup_losses")[step], result.at("warmup_losses")[step], 1e-3);
    }
    // Python with torch holds more than 100 MB, and both are counted in bytes.
    EXPECT_GT(peer.at("peak_rss_bytes").get<double>(), 1e8);
    least = std::min(least, peer.at("ratio").get<double>());
  }
  EXPECT_GT(result.at("peak_rss_bytes").get<double>(), 2e7);
  EXPECT_EQ(result.at("ratio"), least);
}

// timm's SwinV2 starts from our weights, has our gradients and follows our losses.
TEST_F(BenchCommands, SimmimBesideEagerAndCompiledTimm) {
  const Json result = result_of(
      "peer --model swin_v2_micro --model.channels 6 --model.swin.depths [2,1,2] --batch_size 4 "
      "--precision fp32 --device cpu --threads 1 --warmup_steps 3 --steps 2 --repeats 3 ");
  ASSERT_TRUE(result.contains("peers"));
  EXPECT_EQ(result.at("workload"), "simmim");
  EXPECT_LE(result.at("gradient_difference").get<double>(), 1e-5);
  for (const char* mode : {"eager", "compile"}) {
    SCOPED_TRACE(mode);
    const Json& peer = result.at("peers").at(mode);
    expect_spread(peer.at("ratio_spread"), 3);
    EXPECT_LE(peer.at("gradient_difference").get<double>(), 1e-4);
    for (size_t step = 0; step < 3; ++step) {
      EXPECT_NEAR(peer.at("warmup_losses")[step], result.at("warmup_losses")[step], 1e-3);
    }
  }
  EXPECT_EQ(run("peer --model swin_v2_micro --model.swin.tokens per_band --device cpu"), 2);
}

// Both peers read what we write as a granule, and give the chips that we give.
TEST_F(BenchCommands, ChipsBesideSatpyAndPyhdf) {
  const Json result = result_of("chips --scans 13 --size 64 --repeats 2");
  ASSERT_EQ(result.at("files").size(), 2U);
  for (const Json& file : result.at("files")) {
    EXPECT_GT(file.at("chips"), 0);
    ASSERT_EQ(file.at("peers").size(), 2U);
    for (const Json& peer : file.at("peers")) expect_spread(peer.at("ratio_spread"), 2);
  }
  const Json loader = result_of("chip-loader --chips 64 --size 64 --seconds 0.2 --repeats 2");
  expect_spread(loader.at("record_ratio_spread"), 2);
}

TEST_F(BenchCommands, RanksBesideRanksOfTorch) {
  for (const auto& [strategy, wrapper] : {std::pair{"DDP", "ddp"}, std::pair{"FULL_SHARD", "fsdp"},
                                          std::pair{"SHARD_GRAD_OP", "fsdp-keep"}}) {
    SCOPED_TRACE(strategy);
    const Json result =
        result_of(std::string("peer ") + kTinySteps + "--compile false --strategy " + strategy, 2);
    ASSERT_TRUE(result.contains("peers"));
    EXPECT_EQ(result.at("ranks"), 2);
    EXPECT_EQ(result.at("peer_wrapper"), wrapper);
    const Json& peer = result.at("peers").at("eager");
    expect_spread(peer.at("ratio_spread"), 3);
    EXPECT_LE(peer.at("gradient_difference").get<double>(), 1e-5);
    EXPECT_GT(peer.at("peak_rss_bytes").get<double>(), 1e8);
  }
  EXPECT_EQ(run(std::string("peer ") + kTinySteps + "--strategy HYBRID_2", 4), 2);
}

// What `swath bench peer` says beside a peer with `from` in its script replaced by `to`; it fails
// and writes no result.
std::string refusal_of(const fs::path& directory, const std::string& from, const std::string& to,
                       const std::function<int(const std::string&)>& run_peer) {
  const fs::path home = directory / "home";
  fs::create_directories(home / "tools" / "peer");
  std::string script = read_file(fs::path(SWATH_SOURCE_DIR) / "tools/peer/mae_peer.py");
  EXPECT_NE(script.find(from), std::string::npos);
  script.replace(script.find(from), from.size(), to);
  write_file_atomically(home / "tools" / "peer" / "mae_peer.py", script);
  fs::create_directory_symlink(fs::path(SWATH_SOURCE_DIR) / ".deps", home / ".deps");

  const std::string errors = (directory / "errors").string();
  const fs::path output = directory / "refused.json";
  ::setenv("SWATH_HOME", home.c_str(), 1);
  EXPECT_EQ(run_peer(std::string("peer ") + kTinySteps + "--compile false --output '" +
                     output.string() + "' 2>'" + errors + "'"),
            1);
  ::setenv("SWATH_HOME", SWATH_SOURCE_DIR, 1);
  EXPECT_FALSE(fs::exists(output));
  return read_file(errors);
}

// A peer that trains on something else gets no ratio.
TEST_F(BenchCommands, OtherMasksAreRefused) {
  EXPECT_THAT(refusal_of(directory_, "ids_shuffle[:, :self.kept]", "ids_shuffle[:, -self.kept:]",
                         [](const std::string& words) { return run(words); }),
              testing::HasSubstr("not the same work"));
}

// Its gradients are right, its updates are not.
TEST_F(BenchCommands, OtherLossesAreRefused) {
  EXPECT_THAT(
      refusal_of(directory_, "loss = compute_gradients()\n", "loss = compute_gradients() * 1.01\n",
                 [](const std::string& words) { return run(words); }),
      testing::HasSubstr("our loss"));
}

// Ranks of the peer that do not talk to each other.
TEST_F(BenchCommands, GradientsOfOneRankAreRefused) {
  EXPECT_THAT(
      refusal_of(directory_, "model = DistributedDataParallel(", "model = (lambda m, **_: m)(",
                 [](const std::string& words) { return run(words + " --strategy DDP", 2); }),
      testing::HasSubstr("gradient of"));
}

TEST_F(BenchCommands, LoaderBesidePillow) {
  const std::string images = std::string("'") + SWATH_TESTDATA + "/data/ucm'";
  const std::string words = "io --root " + images + " --seconds 0.5 --repeats 2 --seed 3 ";
  const Json result = result_of(words + "--batch_size 16 --transform.size 64");
  ASSERT_TRUE(result.contains("peer"));
  expect_spread(result.at("images_per_second"), 2);
  expect_spread(result.at("peer").at("images_per_second"), 2);
  expect_spread(result.at("ratio_spread"), 2);
  EXPECT_GT(result.at("images_per_second_per_core").get<double>(), 0);
  EXPECT_GT(result.at("ratio").get<double>(), 0);
  EXPECT_EQ(result.at("images"), 3);

  // A result is not replaced unless asked to, and nothing is measured to find out.
  const std::string output = " --output '" + (directory_ / "result.json").string() + "' ";
  EXPECT_EQ(run(words + "--peer false" + output), 2);
  EXPECT_EQ(run(words + "--peer false --overwrite" + output), 0);
  EXPECT_FALSE(Json::parse(read_file(directory_ / "result.json")).contains("peer"));
  EXPECT_EQ(run(words + "--peer false --output '" + directory_.string() + "'"), 2);
}

// Unusable files are left out when asked to, in both benchmarks that read data.
TEST_F(BenchCommands, SkipsBadFiles) {
  const fs::path images = directory_ / "images";
  fs::copy(fs::path(SWATH_TESTDATA) / "data" / "ucm", images);
  write_file_atomically(images / "broken.jpg", "no JPEG");
  const std::string root = " --root '" + images.string() + "' ";
  const std::string io = "io --peer false --seconds 0.1 --repeats 1 --transform.size 64" + root;
  EXPECT_EQ(run(io), 1);
  EXPECT_EQ(run(io + "--skip-bad"), 0);
  const std::string real =
      std::string("real ") + kTinySteps + "--batch_size 2 --transform.size 32" + root;
  EXPECT_EQ(run(real), 1);
  const Json result = result_of(real + "--skip-bad");
  EXPECT_EQ(result.value("skipped", 0), 1);
  EXPECT_GE(result.value("data_wait", -1.0), 0);
  EXPECT_LE(result.value("data_wait", -1.0), 1);
}

}  // namespace
}  // namespace swath::bench
