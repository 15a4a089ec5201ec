#include "bench/report/embedding_map.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bench/report/chart_data.h"
#include "bench/report/run_directory.h"
#include "core/error.h"
#include "core/files.h"
#include "eval/places_table.h"

namespace swath::bench {
namespace {

namespace fs = std::filesystem;

const std::string kHead = std::string(eval::kPlacesHeader) + "\n";

class EmbeddingMapFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() / (std::string("swath_embedding_map_") + info->name());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  void write(const std::string& places, const Json& description = Json::object()) {
    write_file_atomically(directory_ / eval::kPlacesFile, kHead + places);
    write_file_atomically(directory_ / "embed.json", description.dump());
  }
  EmbeddingMap read() { return read_embedding_map(directory_, warnings_); }

  fs::path directory_;
  std::vector<std::string> warnings_;
};

TEST_F(EmbeddingMapFiles, EmptyCellsAreNotKnown) {
  write(
      "\"a, b\",-12.5,80.25,MYD021KM.A2012123.1005,Aqua,128,256,1\n"
      "c,179.5,-1,,,,,0\n"
      "d,,,MYD021KM.A2012123.1005,Aqua,,,1\n"
      "e,,,,,,,\n",
      {{"chip_size", 128}});
  const EmbeddingMap map = read();
  ASSERT_EQ(map.chips.size(), 4U);
  EXPECT_EQ(map.chips[0].name, "a, b");
  EXPECT_EQ(map.chips[0].longitude, -12.5);
  EXPECT_EQ(map.chips[0].row, 128);
  EXPECT_EQ(map.chips[0].column, 256);
  EXPECT_TRUE(std::isnan(map.chips[2].latitude));
  EXPECT_EQ(map.chips[2].row, -1);
  EXPECT_EQ(map.chips[3].cluster, -1);
  EXPECT_EQ(map.sizes, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(map.positions, (std::vector<size_t>{0, 1}));
  ASSERT_EQ(map.granules.size(), 1U);
  EXPECT_EQ(map.granules[0].platform, "Aqua");
  EXPECT_EQ(map.granules[0].chips, std::vector<size_t>{0});
}

// Two chips of 128 pixels, 64 apart: squares of 64 around the chips' own centres.
TEST_F(EmbeddingMapFiles, SquaresLieAtTheCentresOfTheChipsAndDoNotOverlap) {
  const std::string granule = "MOD021KM.A2012123.1000";
  write("x,,," + granule + ",Terra,0,640,0\ny,,," + granule + ",Terra,256,704,1\n",
        {{"chip_size", 128}});
  RunDirectory run;
  run.embeddings = read();
  const GranuleMap& map = run.embeddings.granules.at(0);
  EXPECT_EQ(map.side, 64);
  EXPECT_EQ(map.rows, 256 + 128);
  EXPECT_EQ(map.columns, 704 + 128);
  const Json data = chart_data({run}, {}, {})["embeddings"][0]["granules"][0];
  EXPECT_EQ(data["x"], Json({640 + 64.0, 704 + 64.0}));
  EXPECT_EQ(data["y"], Json({64.0, 256 + 64.0}));
  EXPECT_EQ(data["side"], 64.0);
  EXPECT_EQ(data["rows"], 384);
  EXPECT_EQ(data["columns"], 832);
  EXPECT_EQ(data["cluster"], Json({0, 1}));
  EXPECT_TRUE(data["longitude"][0].is_null());
  EXPECT_TRUE(data["quick_look"].is_null());
  // Apart by more than their size, they have their size.
  write("x,,," + granule + ",Terra,0,0,0\ny,,," + granule + ",Terra,256,512,1\n",
        {{"chip_size", 128}});
  EXPECT_EQ(read().granules.at(0).side, 128);
}

// A quick look shows every fourth pixel.
TEST_F(EmbeddingMapFiles, AQuickLookLiesUnderItsGranule) {
  const std::string png = read_file(fs::path(SWATH_TESTDATA) / "core" / "tensorboard_image.png");
  const fs::path folder = directory_ / "looks";
  write_file_atomically(folder / "MOD021KM.A2012123.1000.png", png);
  write_file_atomically(folder / "MOD021KM.A2012123.1005.png", "no picture");
  write_file_atomically(directory_ / "secret.png", png);
  write(
      "x,,,MOD021KM.A2012123.1000,Terra,0,0,0\n"
      "y,,,MOD021KM.A2012123.1005,Terra,0,0,0\n"
      "z,,,../secret,Terra,0,0,0\n",
      {{"chip_size", 2}, {"quick_looks", folder.string()}});
  RunDirectory run;
  run.embeddings = read();
  ASSERT_EQ(run.embeddings.granules.size(), 3U);
  EXPECT_TRUE(run.embeddings.granules[0].quick_look.bytes.empty());  // "../secret"
  EXPECT_EQ(run.embeddings.granules[1].columns, 4 * 2);              // a picture of 2 x 1 pixels
  EXPECT_EQ(run.embeddings.granules[1].rows, 4 * 1);
  EXPECT_EQ(run.embeddings.granules[2].columns, 2);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_NE(warnings_[0].find("1005.png is neither"), std::string::npos);
  const Json look = chart_data({run}, {}, {})["embeddings"][0]["granules"][1]["quick_look"];
  EXPECT_EQ(look["width"], 8.0);
  EXPECT_EQ(look["height"], 4.0);
  EXPECT_TRUE(look["source"].get<std::string>().starts_with("data:image/png;base64,"));
}

TEST_F(EmbeddingMapFiles, APageTakesSoManyGranulesAndPositions) {
  std::string places;
  for (size_t i = 0; i < 2 * kMostPositions + 2; ++i) {
    places += fmt::format("chip_{},{},1,MOD021KM.A2012{:03}.1000,Terra,0,0,0\n", i, i % 360,
                          i % (kMostGranules + 2) + 1);
  }
  write(places);
  const EmbeddingMap map = read();
  EXPECT_EQ(map.num_granules, kMostGranules + 2);
  ASSERT_EQ(map.granules.size(), kMostGranules);
  EXPECT_EQ(map.granules.front().name, "MOD021KM.A2012001.1000");
  EXPECT_EQ(map.num_positions, 2 * kMostPositions + 2);
  ASSERT_EQ(map.positions.size(), kMostPositions);
  // Over all of them, not the first ones.
  EXPECT_GT(map.positions.back(), 2 * kMostPositions - 3);
}

TEST_F(EmbeddingMapFiles, DamageIsNamedWithItsLine) {
  const auto message_of = [this](const std::string& places) -> std::string {
    write(places);
    try {
      read();
    } catch (const Error& error) {
      return error.message();
    }
    return "no error";
  };
  EXPECT_NE(message_of("a,1,2\n").find("places.csv:2: 3 cells"), std::string::npos);
  EXPECT_NE(message_of("a,,,,,,,\nb,east,,,,,,\n").find("places.csv:3: `east`"), std::string::npos);
  EXPECT_NE(message_of("a,,,,,,,-2\n").find("-2 is not in 0"), std::string::npos);
  EXPECT_NE(message_of("a,,,,,,,1000000000\n").find("1000000000 is not in 0"), std::string::npos);
  EXPECT_NE(message_of("").find("lists no chip"), std::string::npos);
  write_file_atomically(directory_ / eval::kPlacesFile, "name,cluster\na,1\n");
  EXPECT_THROW(read(), Error);
  write("a,,,,,,,\n");
  write_file_atomically(directory_ / "embed.json", "[]");
  EXPECT_THROW(read(), Error);
}

}  // namespace
}  // namespace swath::bench
