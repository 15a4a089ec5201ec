#include "data/modis/chip_job.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "core/random.h"
#include "data/modis/geolocation.h"
#include "data/modis/synthetic_granule.h"
#include "data/shard_dataset.h"
#include "data/shard_set.h"
#include "data/test_files.h"

namespace swath::data::modis {
namespace {

using test::message_of;
using test::TemporaryDirectory;

constexpr int64_t kSize = 20;  // two scans

SyntheticGranuleOptions small(int minute, Platform platform = Platform::kTerra) {
  SyntheticGranuleOptions options;
  options.platform = platform;
  options.scans = 8;
  options.columns = 110;
  options.minute = minute;
  options.seed = static_cast<uint64_t>(minute);
  options.has_faults = false;
  return options;
}

ChipJobOptions job_of(const TemporaryDirectory& root, const std::string& output = "chips") {
  ChipJobOptions options;
  options.root = (root / "granules").string();
  options.output = (root / output).string();
  options.chips.size = kSize;
  options.granules_per_shard = 1;
  options.processes = 1;
  options.quick_looks = false;
  return options;
}

Json run(const ChipJobOptions& options, int64_t rank = 0, int64_t world_size = 1) {
  LaunchEnvironment environment;
  environment.rank = rank;
  environment.world_size = world_size;
  return make_chips(options, environment);
}

TEST(ChipJob, ChipsAreTheGranulesCountsWithTheirPlaces) {
  const TemporaryDirectory root;
  const SyntheticGranule files = write_synthetic_granule(root / "granules", small(10));
  const Json result = run(job_of(root));
  EXPECT_EQ(result.at("granules"), 1);
  EXPECT_EQ(result.at("positions"), 4 * 5);
  EXPECT_EQ(result.at("synthetic"), 1);
  int64_t rejected = 0;
  for (const auto& [reason, chips] : result.at("rejected").items())
    rejected += chips.get<int64_t>();
  EXPECT_EQ(result.at("chips").get<int64_t>() + rejected, 20);
  ASSERT_GT(result.at("chips"), 10);

  const Granule granule(files.level_1b);
  const char* const bands[] = {"6", "7", "20", "28", "29", "31"};
  std::vector<std::vector<uint16_t>> planes;
  for (const char* band : bands) {
    planes.emplace_back(static_cast<size_t>(granule.rows() * granule.columns()));
    granule.read_bands({band}, {planes.back().data()});
  }
  const ShardDataset dataset(root / "chips");
  const ChipFields fields(dataset.layout());
  const Geolocation geolocation =
      Geolocation::from_level_1b(granule.file(), granule.rows(), granule.columns());
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const ChipValues values = fields.unpack(dataset.fields(i));
    const auto row = static_cast<int64_t>(values.row);
    const auto column = static_cast<int64_t>(values.column);
    const Image chip = decode_image(dataset.source(i, &scratch));
    for (int64_t y = 0; y < kSize; ++y) {
      for (int64_t x = 0; x < kSize; ++x) {
        for (size_t band = 0; band < 6; ++band) {
          ASSERT_EQ(chip.as<uint16_t>()[(y * kSize + x) * 6 + static_cast<int64_t>(band)],
                    planes[band][static_cast<size_t>((row + y) * granule.columns() + column + x)]);
        }
      }
    }
    const PixelGeometry centre = geolocation.at(row + kSize / 2, column + kSize / 2).value();
    const auto [longitude, latitude] = dataset.sample(i).longitude_latitude.value();
    EXPECT_DOUBLE_EQ(longitude, centre.longitude);
    EXPECT_DOUBLE_EQ(latitude, centre.latitude);
    EXPECT_DOUBLE_EQ(values.sun_zenith, centre.sun_zenith);
    EXPECT_DOUBLE_EQ(values.sun_azimuth, centre.sun_azimuth);
    EXPECT_DOUBLE_EQ(values.view_zenith, centre.view_zenith);
    EXPECT_DOUBLE_EQ(values.view_azimuth, centre.view_azimuth);
    EXPECT_EQ(values.date, 2012123);
    EXPECT_EQ(values.start, 1010);
    EXPECT_DOUBLE_EQ(values.bands[5].scales.radiance_scale, granule.scales("31").radiance_scale);
    EXPECT_NEAR(dataset.time(i).value(), granule.name().start(), 12);
  }
}

TEST(ChipJob, TheTimeOfAChipIsThatOfItsMiddleScan) {
  const TemporaryDirectory root;
  const Granule granule(write_synthetic_granule(root / "granules", small(10)).level_1b);
  ChipJobOptions options = job_of(root);
  options.chips.size = 30;  // three scans
  run(options);
  const ShardDataset dataset(root / "chips");
  const ChipFields fields(dataset.layout());
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const auto first = static_cast<size_t>(fields.unpack(dataset.fields(i)).row / 10);
    EXPECT_DOUBLE_EQ(dataset.time(i).value(), granule.scans()[first + 1].start);
  }
}

TEST(ChipJob, AquaGivesBand5WhereTerraGivesBand6) {
  const TemporaryDirectory root;
  const auto files = write_synthetic_granule(root / "granules", small(10, Platform::kAqua));
  run(job_of(root));
  const ShardDataset dataset(root / "chips");
  const Granule granule(files.level_1b);
  std::vector<uint16_t> band_5(static_cast<size_t>(granule.rows() * granule.columns()));
  granule.read_bands({"5"}, {band_5.data()});
  std::vector<std::byte> scratch;
  const ChipValues values = ChipFields(dataset.layout()).unpack(dataset.fields(0));
  EXPECT_EQ(values.platform, Platform::kAqua);
  EXPECT_EQ(decode_image(dataset.source(0, &scratch)).as<uint16_t>()[0],
            band_5[static_cast<size_t>(values.row * 110 + values.column)]);
}

// A granule whose band 29 has one bad row of each scan and whose saturation is as it comes.
TEST(ChipJob, EachCodeFollowsItsPolicy) {
  const TemporaryDirectory root;
  SyntheticGranuleOptions granule = small(10);
  granule.has_faults = true;  // band 29: every detector 5 is dead
  write_synthetic_granule(root / "granules", granule);
  const Json dropped = run(job_of(root, "drop"));
  EXPECT_EQ(dropped.at("chips"), 0);
  EXPECT_GT(dropped.at("rejected").at("dead_detector"), 0);
  EXPECT_GT(dropped.at("rejected").at("fill"), 0);  // the missing scan
  EXPECT_GT(dropped.at("codes").at("29").at("dead_detector"), 0);

  ChipJobOptions mask = job_of(root, "mask");
  mask.chips.invalid = "mask";
  mask.chips.min_valid_share = 0.8;
  const Json masked = run(mask);
  EXPECT_GT(masked.at("chips"), 0);
  EXPECT_GT(masked.at("rejected").at("valid_share"), 0);
  const ShardDataset dataset(root / "mask");
  const ChipValues values = ChipFields(dataset.layout()).unpack(dataset.fields(0));
  EXPECT_LE(values.valid_share, 0.9);  // a tenth of the rows is dead
  EXPECT_GE(values.valid_share, 0.8);
  EXPECT_DOUBLE_EQ(values.bands[4].valid_share, 0.9);

  // One code apart from the rest.
  ChipJobOptions mixed = job_of(root, "mixed");
  mixed.chips.codes = {"dead_detector=mask"};
  const Json result = run(mixed);
  EXPECT_FALSE(result.at("rejected").contains("dead_detector"));
  EXPECT_GT(result.at("rejected").at("fill"), 0);
  EXPECT_GT(result.at("chips"), 0);
  mixed.chips.codes = {"dead_detector=clamp"};
  EXPECT_CONTAINS(message_of<UsageError>([&] { run(mixed); }), "says nothing of the value");
  mixed.chips.codes = {"nothing=mask"};
  EXPECT_CONTAINS(message_of<UsageError>([&] { run(mixed); }), "no policy");
}

TEST(ChipJob, SaturationIsClampedAndCounted) {
  const TemporaryDirectory root;
  SyntheticGranuleOptions bright = small(10);
  bright.columns = 400;
  bright.seed = 3;
  write_synthetic_granule(root / "granules", bright);
  ChipJobOptions options = job_of(root, "drop");
  options.chips.bands = {"10", "31"};  // an ocean band: clouds saturate it
  const Json dropped = run(options);
  ASSERT_GT(dropped.at("rejected").at("saturated"), 0);
  options.output = (root / "clamp").string();
  options.chips.invalid = "clamp";
  const Json clamped = run(options);
  EXPECT_EQ(clamped.at("chips"), clamped.at("positions"));
  const ShardDataset dataset(root / "clamp");
  const ChipFields fields(dataset.layout());
  double most = 0;
  int64_t largest = 0;
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const ChipValues values = fields.unpack(dataset.fields(i));
    EXPECT_EQ(values.valid_share, 1);
    most = std::max(most, values.saturated_share);
    const Image chip = decode_image(dataset.source(i, &scratch));
    for (int64_t p = 0; p < kSize * kSize * 2; ++p) {
      ASSERT_LE(chip.as<uint16_t>()[p], kLargestCount);
      largest += chip.as<uint16_t>()[p] == kLargestCount ? 1 : 0;
    }
  }
  EXPECT_GT(most, 0);
  EXPECT_GE(largest, clamped.at("codes").at("10").at("saturated").get<int64_t>());
}

using ChangeCount = std::function<uint16_t(int64_t row, int64_t column, uint16_t count)>;

// Changes counts of band 31 where they lie in an uncompressed granule. `rows`: those to change.
void change_counts(const std::filesystem::path& path, const std::vector<int64_t>& rows,
                   const ChangeCount& change) {
  const Granule granule(path);
  const auto counts = granule.file().read<uint16_t>("EV_1KM_Emissive");
  const int64_t plane = 10 * granule.rows() * granule.columns();
  std::string file = read_file(path);
  for (const int64_t row : rows) {
    const int64_t begin = plane + row * granule.columns();
    std::string old;
    std::string changed;
    for (int64_t column = 0; column < granule.columns(); ++column) {
      const uint16_t count = counts[static_cast<size_t>(begin + column)];
      for (const auto& [text, value] :
           {std::pair{&old, count}, std::pair{&changed, change(row, column, count)}}) {
        *text += static_cast<char>(value >> 8);
        *text += static_cast<char>(value & 0xFF);
      }
    }
    const size_t place = file.find(old);
    ASSERT_NE(place, std::string::npos);
    file.replace(place, old.size(), changed);
  }
  test::write_text(path, file);
}

// One pixel above the range, one below it and one with its top bit flipped, in a chip each.
TEST(ChipJob, CountsOutOfRangeFollowTheirPolicyThroughAWholeJob) {
  constexpr int64_t kRow = 3;
  constexpr int64_t kColumn = 4;
  constexpr uint16_t kBelow = 65530;
  const TemporaryDirectory root;
  const auto path = write_synthetic_granule(root / "granules", small(10)).level_1b;
  uint16_t flipped = 0;
  change_counts(path, {kRow}, [&](int64_t, int64_t column, uint16_t count) {
    if (column == kColumn) return kAboveRange;
    if (column == kColumn + kSize) return kBelow;
    if (column != kColumn + 2 * kSize) return count;
    flipped = static_cast<uint16_t>(count ^ 0x8000);
    return flipped;
  });
  ASSERT_STREQ(count_code_name(flipped), "door_closed");
  struct Seen {
    uint16_t count = 0;
    ChipValues values;
  };
  Json result;
  // The changed pixel of each chip of the first row, by the chip's column.
  const auto cut = [&](const std::string& policy) {
    ChipJobOptions options = job_of(root, policy);
    options.chips.bands = {"31"};
    options.chips.invalid = policy;
    result = run(options);
    const ShardDataset dataset(root / policy);
    const ChipFields fields(dataset.layout());
    std::map<int64_t, Seen> seen;
    std::vector<std::byte> scratch;
    for (int64_t i = 0; i < dataset.size(); ++i) {
      const ChipValues values = fields.unpack(dataset.fields(i));
      if (values.row != 0) continue;
      const Image chip = decode_image(dataset.source(i, &scratch));
      seen[static_cast<int64_t>(values.column)] = {chip.as<uint16_t>()[kRow * kSize + kColumn],
                                                   values};
    }
    EXPECT_EQ(result.at("codes").at("31"),
              Json({{"above_range", 1}, {"below_range", 1}, {"door_closed", 1}}));
    return seen;
  };
  const auto dropped = cut("drop");
  EXPECT_EQ(result.at("rejected"),
            Json({{"above_range", 1}, {"below_range", 1}, {"door_closed", 1}}));
  EXPECT_EQ(result.at("chips"), 17);
  for (const int64_t column : {0, 1, 2}) EXPECT_FALSE(dropped.contains(column * kSize)) << column;
  const double but_one = 1 - 1.0 / (kSize * kSize);
  const double one = 1.0 / (kSize * kSize);
  auto masked = cut("mask");
  EXPECT_EQ(result.at("chips"), 20);
  const uint16_t codes[] = {kAboveRange, kBelow, flipped};
  for (const int64_t column : {0, 1, 2}) {
    const Seen& seen = masked[column * kSize];
    EXPECT_EQ(seen.count, codes[column]) << column;
    EXPECT_DOUBLE_EQ(seen.values.valid_share, but_one) << column;
    EXPECT_DOUBLE_EQ(seen.values.saturated_share, column == 0 ? one : 0) << column;
  }
  auto clamped = cut("clamp");
  EXPECT_EQ(result.at("chips"), 20);
  const uint16_t values[] = {kLargestCount, 0, flipped};
  for (const int64_t column : {0, 1, 2}) {
    const Seen& seen = clamped[column * kSize];
    EXPECT_EQ(seen.count, values[column]) << column;
    EXPECT_DOUBLE_EQ(seen.values.valid_share, column < 2 ? 1 : but_one) << column;
    EXPECT_DOUBLE_EQ(seen.values.saturated_share, column == 0 ? one : 0) << column;
  }
}

// Each of the four bits that make a scan unusable, in one scan of each row of chips.
TEST(ChipJob, ChipsOfUnusableScansAreRejected) {
  const TemporaryDirectory root;
  SyntheticGranuleOptions granule = small(10);
  granule.quality_flags = {1U << 1, 0, 0, 1U << 2, 1U << 8, 0, 0, 1U << 26};
  write_synthetic_granule(root / "granules", granule);
  ChipJobOptions options = job_of(root);
  options.chips.bands = {"31"};
  EXPECT_EQ(run(options).at("rejected"), Json({{"scan_quality", 20}}));
  // The other bits say nothing against the pixels.
  granule.quality_flags.assign(8, ~kUnusableScan);
  granule.quality_flags[2] = ~0U;
  write_synthetic_granule(root / "others", granule);
  options.root = (root / "others").string();
  options.output = (root / "other_chips").string();
  const Json result = run(options);
  EXPECT_EQ(result.at("rejected"), Json({{"scan_quality", 5}}));
  EXPECT_EQ(result.at("chips"), 15);
}

TEST(ChipJob, NightIsAskedForByDayInVain) {
  const TemporaryDirectory root;
  write_synthetic_granule(root / "granules", small(10));
  SyntheticGranuleOptions night = small(15);
  night.is_day = false;
  write_synthetic_granule(root / "granules", night);
  ChipJobOptions options = job_of(root);
  options.chips.bands = {"31"};
  options.chips.time = "night";
  const Json result = run(options);
  EXPECT_EQ(result.at("rejected"), Json({{"day", 20}}));
  EXPECT_EQ(result.at("chips"), 20);
  const ShardDataset dataset(root / "chips");
  const ChipFields fields(dataset.layout());
  for (int64_t i = 0; i < dataset.size(); ++i) {
    EXPECT_EQ(fields.unpack(dataset.fields(i)).start, 1015);
    EXPECT_EQ(fields.unpack(dataset.fields(i)).is_day, 0);
  }
}

TEST(ChipJob, FiltersUseTheMaskAndTheAngles) {
  const TemporaryDirectory root;
  write_synthetic_granule(root / "granules", small(10));
  ChipJobOptions all = job_of(root, "all");
  const Json unfiltered = run(all);
  ChipJobOptions options = job_of(root, "cloudy");
  options.chips.min_cloud_share = 0.3;
  const Json cloudy = run(options);
  const ShardDataset dataset(root / "all");
  const ChipFields fields(dataset.layout());
  int64_t expected = 0;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    expected += fields.unpack(dataset.fields(i)).cloud_share >= 0.3 ? 1 : 0;
  }
  EXPECT_EQ(cloudy.at("chips"), expected);
  options = job_of(root, "low");
  options.chips.max_sun_zenith = 1;
  EXPECT_EQ(run(options).at("rejected").at("sun_zenith"), 20);
  // Of five columns of chips two are so near the middle of the swath.
  options = job_of(root, "narrow");
  options.chips.max_view_zenith = 2;
  const Json narrow = run(options);
  int64_t near = 0;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    near += fields.unpack(dataset.fields(i)).view_zenith <= 2 ? 1 : 0;
  }
  EXPECT_EQ(narrow.at("chips"), near);
  EXPECT_GT(near, 0);
  EXPECT_EQ(narrow.at("rejected").at("view_zenith"), 12);
  options = job_of(root, "stride");
  options.chips.stride = 10;
  EXPECT_EQ(run(options).at("positions"), 7 * 10);
  EXPECT_GT(unfiltered.at("chips"), 0);
  // Without a mask nothing is known of clouds.
  std::filesystem::remove(root / "granules/MOD06_L2.A2012123.1010.061.synthetic.hdf");
  options = job_of(root, "blind");
  options.chips.min_ocean_share = 0.5;
  EXPECT_CONTAINS(message_of<BadGranule>([&] { run(options); }), "MOD06");
}

TEST(ChipJob, NumbersOfProcessesAndRanksChangeNothing) {
  const TemporaryDirectory root;
  for (int minute = 0; minute < 25; minute += 5)
    write_synthetic_granule(root / "granules", small(minute));
  const std::string one = run(job_of(root, "one")).at("sha256");
  ChipJobOptions options = job_of(root, "three");
  options.processes = 3;
  const Json three = run(options);
  EXPECT_EQ(three.at("sha256"), one);
  // Rank 1 of 2 comes first and says nothing; rank 0 speaks for both.
  options = job_of(root, "ranks");
  EXPECT_TRUE(run(options, 1, 2).is_null());
  const Json ranks = run(options, 0, 2);
  EXPECT_EQ(ranks.at("sha256"), one);
  EXPECT_EQ(ranks.at("granules"), 5);
  // A rank that never came is missed by name.
  options = job_of(root, "alone");
  options.rank_timeout_minutes = 0;
  EXPECT_CONTAINS(message_of<Error>([&] { run(options, 0, 2); }), "rank 1 of 2");
}

TEST(ChipJob, AKilledRunGoesOnWithoutLossOrDoubles) {
  const TemporaryDirectory root;
  for (int minute = 0; minute < 40; minute += 5)
    write_synthetic_granule(root / "granules", small(minute));
  const Json whole = run(job_of(root, "whole"));
  ChipJobOptions options = job_of(root, "killed");
  options.processes = 2;
  int64_t unfinished = 0;
  for (int attempt = 0; attempt < 4; ++attempt) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      run(options);
      _exit(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(15 + 10 * attempt));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    unfinished += WIFSIGNALED(status) ? 1 : 0;
  }
  EXPECT_GT(unfinished, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // its processes die with it
  const Json result = run(options);
  EXPECT_EQ(result.at("chips"), whole.at("chips"));
  EXPECT_EQ(result.at("rejected"), whole.at("rejected"));
  EXPECT_EQ(result.at("sha256"), whole.at("sha256"));
  const ShardDataset dataset(root / "killed");
  std::set<std::string> names;
  for (int64_t i = 0; i < dataset.size(); ++i) names.insert(dataset.sample(i).name);
  EXPECT_EQ(static_cast<int64_t>(names.size()), dataset.size());
  for (const auto& entry : std::filesystem::directory_iterator(root / "killed")) {
    EXPECT_EQ(entry.path().string().find(".partial"), std::string::npos) << entry.path();
  }
  // Once more: nothing is left to do. A shard that was lost since is made again.
  EXPECT_EQ(run(options).at("resumed_shards"), 8);
  std::filesystem::remove(root / "killed/shard-00003.shard");
  EXPECT_EQ(run(options).at("resumed_shards"), 7);
  EXPECT_EQ(run(options).at("sha256"), whole.at("sha256"));
}

TEST(ChipJob, AnOutputBelongsToItsGranulesAndOptions) {
  const TemporaryDirectory root;
  write_synthetic_granule(root / "granules", small(0));
  ChipJobOptions options = job_of(root);
  run(options);
  options.chips.stride = 10;
  EXPECT_CONTAINS(message_of<UsageError>([&] { run(options); }), "begun with other");
  options.overwrite = true;
  EXPECT_GT(run(options).at("chips"), 0);
  options.overwrite = false;
  write_synthetic_granule(root / "granules", small(5));
  EXPECT_CONTAINS(message_of<UsageError>([&] { run(options); }), "begun with other");
  options.output = root.path().string();
  EXPECT_CONTAINS(message_of<UsageError>([&] { run(options); }), "not empty");
  options.root = (root / "nothing").string();
  EXPECT_CONTAINS(message_of<UsageError>([&] { run(options); }), "no folder");
}

TEST(ChipJob, BadGranulesAreNamedAndCountedAndTheRestIsKept) {
  const TemporaryDirectory root;
  const auto granules = root / "granules";
  write_synthetic_granule(granules, small(0));
  SyntheticGranuleOptions night = small(5);
  night.is_day = false;
  write_synthetic_granule(granules, night);
  const auto cut = write_synthetic_granule(granules, small(15)).level_1b;
  std::filesystem::resize_file(cut, std::filesystem::file_size(cut) / 2);
  test::write_text(granules / "MOD021KM.A2012123.1020.061.page.hdf", "<html>not found</html>");
  std::filesystem::copy_file(granules / "MOD021KM.A2012123.1000.061.synthetic.hdf",
                             granules / "MYD021KM.A2012123.1025.061.lie.hdf");
  // A geolocation file of other rows than its granule's.
  SyntheticGranuleOptions longer = small(30);
  longer.with_mod03 = true;
  longer.scans = 9;
  const auto wrong = write_synthetic_granule(root / "other", longer);
  write_synthetic_granule(granules, small(30));
  std::filesystem::rename(wrong.mod03, granules / wrong.mod03.filename());
  ChipJobOptions options = job_of(root);
  EXPECT_CONTAINS(message_of<BadGranule>([&] { run(options); }),
                  "1025");  // the first, Aqua before Terra
  options.skip_bad = true;
  const Json result = run(options);
  EXPECT_EQ(result.at("granules"), 6);
  EXPECT_EQ(result.at("used"), 1);
  EXPECT_EQ(result.at("bad_granules"),
            Json({{"night", 1}, {"pair", 1}, {"platform", 1}, {"unreadable", 2}}));
  ASSERT_EQ(result.at("bad").size(), 5U);
  EXPECT_GT(result.at("chips"), 0);
  const std::string table = read_file(root / "chips/granules.csv");
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 7);
  EXPECT_CONTAINS(table, "MOD021KM.A2012123.1020.061.page.hdf,unreadable");
  // The same for a file that is whole again: nothing else is done anew.
  write_synthetic_granule(granules, small(15));
  const Json mended = run(options);
  EXPECT_EQ(mended.at("used"), 2);
  EXPECT_EQ(mended.at("resumed_shards"), 4);  // the page is tried once more
  EXPECT_GT(mended.at("chips"), result.at("chips"));
  // Who does not want bad granules left out does not get them so from an earlier run, either; the
  // chips that are there stay of use.
  options.skip_bad = false;
  EXPECT_CONTAINS(message_of<BadGranule>([&] { run(options); }), "1025");
  // A manifest is of shards that are all there.
  EXPECT_TRUE(std::filesystem::exists(root / "chips" / kManifestName));
  std::filesystem::resize_file(cut, 3000);
  message_of<BadGranule>([&] { run(options); });
  EXPECT_FALSE(std::filesystem::exists(root / "chips" / kManifestName));
  options.skip_bad = true;
  // Two files of one granule would give every chip twice.
  std::filesystem::copy_file(granules / "MOD021KM.A2012123.1000.061.synthetic.hdf",
                             granules / "MOD021KM.A2012123.1000.006.older.hdf");
  EXPECT_CONTAINS(message_of<UsageError>([&] { run(options); }), "more than one file");
}

// Files beside the granule that belong to another one, though they have as many pixels.
TEST(ChipJob, FilesOfAnotherGranuleAreNotBelieved) {
  for (const bool is_geolocation : {true, false}) {
    const TemporaryDirectory root;
    write_synthetic_granule(root / "granules", small(10));
    SyntheticGranuleOptions later = small(15);
    later.with_mod03 = true;
    const SyntheticGranule other = write_synthetic_granule(root / "other", later);
    const auto from = is_geolocation ? other.mod03 : other.mod06;
    const char* name = is_geolocation ? "MOD03.A2012123.1010.061.synthetic.hdf"
                                      : "MOD06_L2.A2012123.1010.061.synthetic.hdf";
    std::filesystem::rename(from, root / "granules" / name);
    EXPECT_CONTAINS(message_of<BadGranule>([&] { run(job_of(root)); }), "A2012123.1015");
  }
}

TEST(ChipJob, ChipsDoWithoutFilesThatCannotBeRead) {
  const TemporaryDirectory root;
  SyntheticGranuleOptions granule = small(10);
  granule.with_mod03 = true;
  granule.with_mod35 = true;
  const SyntheticGranule files = write_synthetic_granule(root / "granules", granule);
  const auto share_of = [&](const char* output) {
    const ShardDataset dataset(root / output);
    return ChipFields(dataset.layout()).unpack(dataset.fields(0)).ocean_share;
  };
  const Json whole = run(job_of(root, "whole"));
  EXPECT_EQ(whole.at("unused"), Json::object());
  const double share = share_of("whole");
  // Without MOD06 there is MOD35, without both nothing is known of clouds.
  const auto cut = [](const std::filesystem::path& path) {
    std::filesystem::resize_file(path, 900);
  };
  cut(files.mod06);
  cut(files.mod03);
  const Json with_mod35 = run(job_of(root, "mod35"));
  EXPECT_EQ(with_mod35.at("unused"), Json({{"geolocation", 1}, {"mask", 1}}));
  EXPECT_EQ(with_mod35.at("chips"), whole.at("chips"));
  EXPECT_EQ(share_of("mod35"), share);
  const std::string table = read_file(root / "mod35/granules.csv");
  EXPECT_CONTAINS(table, "5 km");
  EXPECT_CONTAINS(table, files.mod03.string());
  cut(files.mod35);
  EXPECT_EQ(run(job_of(root, "none")).at("chips"), whole.at("chips"));
  EXPECT_TRUE(std::isnan(share_of("none")));
  ChipJobOptions options = job_of(root, "cloudy");
  options.chips.min_cloud_share = 0.3;
  options.skip_bad = true;
  EXPECT_EQ(run(options).at("bad_granules"), Json({{"unreadable", 1}}));
}

TEST(ChipJob, OddNamesAndSeveralVersionsOfAProduct) {
  const TemporaryDirectory root;
  const auto granules = root / "granules";
  const SyntheticGranule files = write_synthetic_granule(granules, small(10));
  const Json expected = run(job_of(root, "expected"));
  // Nothing but the metadata says what it is.
  std::filesystem::rename(files.level_1b, granules / "march.HDF");
  test::write_text(granules / "notes.hdf", "not HDF4");
  // An older mask of another scene: the newer one counts.
  SyntheticGranuleOptions other = small(10);
  other.seed = 77;
  std::filesystem::rename(write_synthetic_granule(root / "older", other).mod06,
                          granules / "MOD06_L2.A2012123.1010.006.synthetic.hdf");
  const Json result = run(job_of(root));
  EXPECT_EQ(result.at("chips"), expected.at("chips"));
  const ShardDataset a(root / "expected");
  const ShardDataset b(root / "chips");
  for (int64_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a.sample(i).name, b.sample(i).name);
    EXPECT_EQ(ChipFields(a.layout()).unpack(a.fields(i)).cloud_share,
              ChipFields(b.layout()).unpack(b.fields(i)).cloud_share);
  }
}

TEST(ChipJob, GranulesAreWhole) {
  for (const int64_t scans : {203, 204}) {  // 2030 and 2040 rows
    const TemporaryDirectory root;
    SyntheticGranuleOptions granule = small(10);
    granule.scans = scans;
    granule.columns = 40;
    write_synthetic_granule(root / "granules", granule);
    const Json result = run(job_of(root));
    EXPECT_EQ(result.at("positions"), scans / 2 * 2);
    const ShardDataset dataset(root / "chips");
    const ChipValues last = ChipFields(dataset.layout()).unpack(dataset.fields(dataset.size() - 1));
    EXPECT_EQ(last.row, (scans / 2 - 1) * kSize);
    EXPECT_TRUE(dataset.sample(dataset.size() - 1).longitude_latitude.has_value());
  }
}

// The child of this process that works, or 0.
pid_t child_of_this() {
  const std::string pid = std::to_string(getpid());
  const std::string children = read_file("/proc/" + pid + "/task/" + pid + "/children");
  return children.empty() ? 0 : std::stoi(children);
}

// What run(options) returns, or {"error": its message}, in a process of its own whose worker is
// sent `signal` after a while: SIGABRT is what no sanitizer catches.
Json run_with_signal(const TemporaryDirectory& root, const ChipJobOptions& options, int signal,
                     int64_t milliseconds) {
  const pid_t parent = fork();
  if (parent == 0) {
    std::thread sender([&] {
      pid_t child = 0;
      while ((child = child_of_this()) == 0) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
      kill(child, signal);
    });
    Json result;
    try {
      result = run(options);
    } catch (const Error& error) {
      result = {{"error", error.message()}};
    }
    sender.detach();
    write_file_atomically(root / "result.json", result.dump());
    _exit(0);
  }
  int status = 1;
  waitpid(parent, &status, 0);
  if (parent < 0 || status != 0) throw Error("the process could not cut chips.");
  return Json::parse(read_file(root / "result.json"));
}

// Twelve granules, and a job that cuts them into four shards whatever is wrong with one.
void write_an_hour(const TemporaryDirectory& root) {
  for (int minute = 0; minute < 60; minute += 5) {
    write_synthetic_granule(root / "granules", small(minute));
  }
}

ChipJobOptions attempt_at_an_hour(const TemporaryDirectory& root, int attempt) {
  ChipJobOptions options = job_of(root, "try" + std::to_string(attempt));
  options.granules_per_shard = 3;
  options.skip_bad = true;
  return options;
}

// What ends a process counts against the granule that it read; the others are cut.
TEST(ChipJob, AGranuleThatEndsItsProcessIsNamedAndCounted) {
  const TemporaryDirectory root;
  write_an_hour(root);
  const Json whole = run(job_of(root, "whole"));
  bool has_crashed = false;
  for (int attempt = 0; attempt < 50 && !has_crashed; ++attempt) {
    const ChipJobOptions options = attempt_at_an_hour(root, attempt);
    const Json result = run_with_signal(root, options, SIGABRT, 10 + 3 * attempt);
    // An error: it was between two granules. No crash: it had done its work.
    has_crashed = !result.contains("error") && result.at("bad_granules").contains("crash");
    if (!has_crashed) continue;
    EXPECT_EQ(result.at("bad_granules").at("crash"), 1);
    EXPECT_EQ(result.at("used"), 11);
    const std::string message = result.at("bad").at(0).at("message");
    EXPECT_CONTAINS(message, "signal 6");
    EXPECT_CONTAINS(message, "MOD021KM.A2012123.");
    EXPECT_LT(result.at("chips"), whole.at("chips"));
    // It is read the next time.
    const Json again = run(options);
    EXPECT_EQ(again.at("chips"), whole.at("chips"));
    EXPECT_EQ(again.at("resumed_shards"), 3);
  }
  EXPECT_TRUE(has_crashed);
}

// Memory that runs out, or someone's hand: no granule is left out for it.
TEST(ChipJob, AProcessThatIsKilledCountsAgainstNoGranule) {
  const TemporaryDirectory root;
  write_an_hour(root);
  bool was_reading = false;
  for (int attempt = 0; attempt < 50 && !was_reading; ++attempt) {
    const ChipJobOptions options = attempt_at_an_hour(root, attempt);
    const Json result = run_with_signal(root, options, SIGKILL, 10 + 3 * attempt);
    if (!result.contains("error")) {
      EXPECT_EQ(result.at("used"), 12);
      continue;
    }
    const std::string message = result.at("error");
    EXPECT_CONTAINS(message, "signal 9");
    was_reading = message.find("while it read") != std::string::npos;
    EXPECT_EQ(run(options).at("used"), 12);
  }
  EXPECT_TRUE(was_reading);
}

TEST(ChipJob, AllFillGranulesAreFound) {
  const TemporaryDirectory root;
  SyntheticGranuleOptions night = small(0);
  night.is_day = false;
  write_synthetic_granule(root / "granules", night);
  ChipJobOptions options = job_of(root);
  options.chips.time = "any";
  options.skip_bad = true;
  EXPECT_EQ(run(options).at("bad_granules"), Json({{"all_fill", 1}}));
  // What is measured at night is used at night.
  options.output = (root / "emissive").string();
  options.chips.bands = {"26", "31"};
  options.chips.time = "auto";
  EXPECT_EQ(run(options).at("used"), 1);
  EXPECT_GT(run(options).at("chips"), 0);
}

TEST(ChipJob, AStripedDetectorIsFoundAndOthersAreNot) {
  const TemporaryDirectory root;
  const auto path = write_synthetic_granule(root / "granules", small(0)).level_1b;
  const Json clean = run(job_of(root, "clean"));
  EXPECT_FALSE(clean.at("striped").contains("31"));
  // Detector 4 of band 31 reads a tenth too high, and the first pixel of every row is saturated.
  std::vector<int64_t> rows(80);
  std::iota(rows.begin(), rows.end(), 0);
  change_counts(path, rows, [](int64_t row, int64_t column, uint16_t count) {
    return static_cast<uint16_t>(column == 0     ? kSaturated
                                 : row % 10 == 4 ? count + count / 10
                                                 : count);
  });
  const Json striped = run(job_of(root, "striped"));
  EXPECT_EQ(striped.at("striped").at("31"), 1);
}

// Each row of its own brightness: detectors' means differ by some percent, by chance alone.
TEST(ChipJob, RowsThatDifferByChanceAreNoStripes) {
  const TemporaryDirectory root;
  const auto path = write_synthetic_granule(root / "granules", small(0)).level_1b;
  Random random(1, RandomPurpose::kTest);
  std::vector<double> gain(80);
  for (double& value : gain) value = 0.8 + 0.4 * random.uniform();
  std::vector<int64_t> rows(gain.size());
  std::iota(rows.begin(), rows.end(), 0);
  change_counts(path, rows, [&](int64_t row, int64_t, uint16_t count) {
    return static_cast<uint16_t>(gain[static_cast<size_t>(row)] * count);
  });
  EXPECT_FALSE(run(job_of(root)).at("striped").contains("31"));
}

TEST(ChipJob, QuickLooksShowGranulesWithTheirChips) {
  const TemporaryDirectory root;
  write_synthetic_granule(root / "granules", small(0));
  ChipJobOptions options = job_of(root);
  options.quick_looks = true;
  run(options);
  const Image picture =
      decode_image(ImageSource::from_file(root / "chips/quicklooks/MOD021KM.A2012123.1000.png"));
  EXPECT_EQ(picture.width, 28);
  EXPECT_EQ(picture.height, 20);
  int64_t framed = 0;
  for (int64_t i = 0; i < picture.width * picture.height; ++i) {
    const uint8_t* pixel = picture.as<uint8_t>() + 3 * i;
    framed += pixel[0] == 255 && pixel[1] == 214 && pixel[2] == 0 ? 1 : 0;
  }
  EXPECT_GT(framed, 8);
}

}  // namespace
}  // namespace swath::data::modis
