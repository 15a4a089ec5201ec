#include "data/clouds/time_split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "data/test_files.h"

namespace swath::data::clouds {
namespace {

using data::test::message_of;

Granule day(Platform platform, int year, int month, int day_of_month, int hour = 10) {
  return granule_at(platform, year, month, day_of_month, hour, 0);
}

TEST(TimeSplit, ByYearsWithoutTheDayAtTheBoundary) {
  const TimeSplit split{TimeSplitOptions{}};
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2000, 1, 1)), Part::kTrain);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2017, 12, 31)), Part::kTrain);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2018, 1, 1)), Part::kNone);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2018, 1, 2)), Part::kValidation);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2019, 1, 1)), Part::kValidation);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2020, 1, 1)), Part::kNone);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2021, 12, 31)), Part::kTest);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2022, 1, 2)), Part::kNone);
}

TEST(TimeSplit, LeavesExcludedDaysOut) {
  const TimeSplit split{TimeSplitOptions{}};
  EXPECT_EQ(split.part_of(day(Platform::kAqua, 2021, 12, 9)), Part::kTest);
  EXPECT_EQ(split.part_of(day(Platform::kAqua, 2021, 12, 10)), Part::kNone);
  EXPECT_EQ(split.part_of(day(Platform::kAqua, 2021, 12, 31)), Part::kNone);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2021, 12, 10)), Part::kTest);
}

// Pretraining must not see the weather of the test, through whichever instrument.
TEST(TimeSplit, HeldOutIsTheTimeWhoeverIsLeftOut) {
  TimeSplitOptions options;
  options.train_platforms = {"terra"};
  options.test_platforms = {"aqua"};
  const TimeSplit split(options);
  EXPECT_TRUE(split.is_held_out(day(Platform::kTerra, 2020, 2, 1)));   // no part
  EXPECT_TRUE(split.is_held_out(day(Platform::kAqua, 2021, 12, 20)));  // excluded
  EXPECT_TRUE(split.is_held_out(day(Platform::kTerra, 2018, 1, 1)));   // a boundary day
  EXPECT_FALSE(split.is_held_out(day(Platform::kAqua, 2010, 1, 1)));
  EXPECT_FALSE(split.is_held_out(day(Platform::kTerra, 2023, 1, 1)));
}

TEST(TimeSplit, TransferTrainsOnOnePlatformAndTestsOnTheOther) {
  TimeSplitOptions options;
  options.train_platforms = {"terra"};
  options.test_platforms = {"aqua"};
  const TimeSplit split(options);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2010, 1, 1)), Part::kTrain);
  EXPECT_EQ(split.part_of(day(Platform::kAqua, 2010, 1, 1)), Part::kNone);
  EXPECT_EQ(split.part_of(day(Platform::kTerra, 2020, 2, 1)), Part::kNone);
  EXPECT_EQ(split.part_of(day(Platform::kAqua, 2020, 2, 1)), Part::kTest);
}

TEST(TimeSplit, DaysStayTogetherAndSharesAreMet) {
  TimeSplitOptions options;
  options.by = "days";
  const TimeSplit split(options);
  options.salt = "1";
  const TimeSplit other(options);
  std::map<Part, int> days;
  int differences = 0;
  for (int d = 1; d <= 365; ++d) {
    const Granule morning = {Platform::kTerra, 2010000 + d, 10};
    const Granule evening = {Platform::kTerra, 2010000 + d, 2355};
    const Granule other_platform = {Platform::kAqua, 2010000 + d, 1330};
    EXPECT_EQ(split.part_of(morning), split.part_of(evening)) << d;
    EXPECT_EQ(split.part_of(morning), split.part_of(other_platform)) << d;
    ++days[split.part_of(morning)];
    if (split.part_of(morning) != other.part_of(morning)) ++differences;
  }
  // Binomial deviations of 365 days: 6.8 at 0.15, 8.3 at 0.25; four of them.
  EXPECT_NEAR(days[Part::kValidation], 0.15 * 365, 27);
  EXPECT_NEAR(days[Part::kTest], 0.25 * 365, 33);
  EXPECT_GT(differences, 100);
}

TEST(TimeSplit, GranulesOfADayMayBeOnBothSides) {
  TimeSplitOptions options;
  options.by = "granules";
  const TimeSplit split(options);
  std::map<Part, int> granules;
  for (int hour = 0; hour < 24; ++hour) {
    ++granules[split.part_of(day(Platform::kTerra, 2010, 5, 5, hour))];
  }
  EXPECT_GE(granules.size(), 2U);
}

TEST(TimeSplit, NoPartOfAFewGranulesStaysEmpty) {
  TimeSplitOptions options;
  options.by = "granules";
  for (int count = 3; count < kFewGroups; count += 4) {
    std::vector<ChipPlace> places;
    for (int i = 0; i < count; ++i) {
      ChipPlace place;
      place.granule = granule_at(Platform::kTerra, 2010, 5, 5, i / 12, i % 12 * 5);
      places.push_back(place);
    }
    const TimeSplit split(options, places);
    std::map<Part, int> parts;
    for (const ChipPlace& place : places) ++parts[split.part_of(place.granule)];
    EXPECT_EQ(parts[Part::kTest], std::max(1L, std::lround(0.25 * count))) << count;
    EXPECT_EQ(parts[Part::kValidation], std::max(1L, std::lround(0.15 * count))) << count;
    EXPECT_GT(parts[Part::kTrain], 0) << count;
  }
}

// A chip of each of these days.
std::vector<ChipPlace> days_of_may(Platform platform, int first, int last) {
  std::vector<ChipPlace> places;
  for (int d = first; d <= last; ++d) {
    ChipPlace place;
    place.granule = day(platform, 2010, 5, d);
    places.push_back(place);
  }
  return places;
}

TEST(TimeSplit, ADayOfOnePartFoldersIsOnOneSideInBoth) {
  TimeSplitOptions options;
  options.by = "days";
  const TimeSplit hashed(options);
  options.parts = "train";
  const TimeSplit terra(options, days_of_may(Platform::kTerra, 1, 8));
  options.parts = "test";
  const TimeSplit aqua(options, days_of_may(Platform::kAqua, 5, 12));
  std::map<Part, int> days;
  for (int d = 1; d <= 31; ++d) {
    const Granule of_terra = day(Platform::kTerra, 2010, 5, d);
    const Granule of_aqua = day(Platform::kAqua, 2010, 5, d);
    const Part part = hashed.part_of(of_terra);
    ++days[part];
    EXPECT_EQ(terra.part_of(of_terra), part == Part::kTest ? Part::kNone : part) << d;
    EXPECT_EQ(aqua.part_of(of_aqua), part == Part::kTest ? Part::kTest : Part::kNone) << d;
    // What is held out does not depend on what is written.
    EXPECT_EQ(terra.is_held_out(of_terra), part != Part::kTrain) << d;
    EXPECT_EQ(aqua.is_held_out(of_aqua), part != Part::kTrain) << d;
  }
  EXPECT_GT(days[Part::kTest], 0);
  EXPECT_GT(days[Part::kTrain], 0);
  EXPECT_NO_THROW(check_same_split(terra.to_json(), aqua.to_json()));
  // By years there is no hash.
  options.by = "years";
  const TimeSplit years(options);
  EXPECT_EQ(years.part_of(day(Platform::kAqua, 2010, 1, 5)), Part::kNone);
  EXPECT_EQ(years.part_of(day(Platform::kAqua, 2019, 1, 5)), Part::kNone);
  EXPECT_EQ(years.part_of(day(Platform::kAqua, 2020, 1, 5)), Part::kTest);
}

TEST(TimeSplit, ListsOfTwoFoldersNeedOneSplit) {
  TimeSplitOptions options;
  options.by = "days";
  const auto message = [](const TimeSplit& train, const TimeSplit& test) {
    return message_of<UsageError>([&] { check_same_split(train.to_json(), test.to_json()); });
  };
  // Eight days are ranked within their folder: fine for the same days alone.
  const TimeSplit terra(options, days_of_may(Platform::kTerra, 1, 8));
  EXPECT_EQ(terra.to_json().at("groups").size(), 8U);
  EXPECT_NO_THROW(check_same_split(
      terra.to_json(), TimeSplit(options, days_of_may(Platform::kAqua, 1, 8)).to_json()));
  EXPECT_CONTAINS(message(terra, TimeSplit(options, days_of_may(Platform::kAqua, 5, 12))),
                  "HINT: make the lists again with --split.parts train");
  TimeSplitOptions other = options;
  other.parts = "test";
  EXPECT_CONTAINS(message(terra, TimeSplit(other)), "ranked within their own folder");
  options.parts = "train";
  other.salt = "7";
  EXPECT_CONTAINS(message(TimeSplit(options), TimeSplit(other)),
                  R"(salt is "0" in the split of the training lists and "7" in that of the test)");
  other = {};
  EXPECT_CONTAINS(message(TimeSplit(options), TimeSplit(other)), R"(by is "days")");
}

TEST(TimeSplit, ADayOfTheTrainingIsNoDayOfTheTest) {
  const auto terra = days_of_may(Platform::kTerra, 1, 8);
  EXPECT_NO_THROW(check_no_shared_day(terra, days_of_may(Platform::kAqua, 9, 12)));
  EXPECT_CONTAINS(message_of<UsageError>(
                      [&] { check_no_shared_day(terra, days_of_may(Platform::kAqua, 6, 12)); }),
                  "3 days have training chips in one folder and test chips in the other, the first "
                  "is 2010-05-06");
}

TEST(TimeSplit, RefusesContradictions) {
  TimeSplitOptions options;
  options.validation_years = {2017, 2019};
  EXPECT_CONTAINS(message_of<UsageError>([&] { TimeSplit{options}; }), "the year 2017 is in two");
  options = {};
  options.test_years = {2021};
  EXPECT_THROW(TimeSplit{options}, UsageError);
  options = {};
  options.train_platforms = {"landsat"};
  EXPECT_CONTAINS(message_of<UsageError>([&] { TimeSplit{options}; }), "`landsat`");
  options = {};
  options.exclude = {"aqua:2021-12-10"};
  EXPECT_CONTAINS(message_of<UsageError>([&] { TimeSplit{options}; }), "excludes no days");
  options.exclude = {"aqua:2021-12-31:2021-12-10"};
  EXPECT_CONTAINS(message_of<UsageError>([&] { TimeSplit{options}; }), "excludes no days");
  options = {};
  options.by = "days";
  options.test_share = 0.9;
  EXPECT_CONTAINS(message_of<UsageError>([&] { TimeSplit{options}; }), "nothing for training");
}

}  // namespace
}  // namespace swath::data::clouds
