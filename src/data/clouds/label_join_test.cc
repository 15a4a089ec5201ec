#include "data/clouds/label_join.h"

#include <gtest/gtest.h>

#include "data/clouds/label_files.h"

namespace swath::data::clouds {
namespace {

using data::test::message_of;
using test::label_grid;

const Granule kTerra = {Platform::kTerra, 2012123, 1015};
const Granule kLater = {Platform::kTerra, 2012123, 1020};
const Granule kAqua = {Platform::kAqua, 2012123, 1015};

// A place of the same granule, `km` to the north.
ChipPlace moved_north(ChipPlace place, double km) {
  place.latitude += km / 111.19508;
  return place;
}

CloudLabels labels_at(const std::vector<ChipPlace>& places) {
  CloudLabels labels;
  labels.places = places;
  for (size_t i = 0; i < places.size(); ++i) labels.raw.push_back(static_cast<int64_t>(i));
  return labels;
}

TEST(LabelJoin, ByPixelNeedsGranuleRowAndColumn) {
  const CloudLabels labels = label_grid({kTerra, kAqua}, 2, 2, 0, 4);
  std::vector<ChipPlace> chips = {labels.places[3], labels.places[0], labels.places[5]};
  chips.push_back(test::place_at(kTerra, 0, 129));
  chips.push_back(test::place_at(kLater, 0, 0));
  const JoinResult join = join_labels(chips, labels, "auto", 20);
  EXPECT_EQ(join.by, "pixel");
  EXPECT_EQ(join.label_of_chip, (std::vector<int64_t>{3, 0, 5, -1, -1}));
  EXPECT_EQ(join.matched, 3);
  EXPECT_EQ(join.chips_too_far, 1);
  EXPECT_EQ(join.chips_without_granule, 1);
  EXPECT_EQ(join.labels_without_granule, 0);
  EXPECT_EQ(join.labels_too_far, 5);
}

TEST(LabelJoin, NearestWithinTheLimitInTheSameGranule) {
  const ChipPlace first = test::place_at(kTerra, 0, 0);
  const ChipPlace second = test::place_at(kTerra, 0, 128);
  ChipPlace elsewhere = first;
  elsewhere.granule = kAqua;
  const CloudLabels labels =
      labels_at({moved_north(second, 19.9), moved_north(first, -3), elsewhere});
  const ChipPlace far = test::place_at(kTerra, 0, 256);
  const JoinResult join = join_labels({first, second, far}, labels, "nearest", 20);
  EXPECT_EQ(join.label_of_chip, (std::vector<int64_t>{1, 0, -1}));
  EXPECT_NEAR(join.distance_km[0], 3, 1e-4);
  EXPECT_EQ(join.chips_too_far, 1);
  EXPECT_EQ(join.labels_without_granule, 1);
  EXPECT_EQ(join.ambiguous, 0);
  const Json json = join.to_json();
  EXPECT_EQ(json["distances"]["counts"], Json({0, 1, 0, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_NEAR(json["distances"]["largest_km"].get<double>(), 19.9, 1e-3);
  EXPECT_EQ(join_labels({first, second, far}, labels, "nearest", 19).matched, 1);
}

// Label 0 is 2 km from chip 0 and 8 km from chip 1; label 1 is 9 km from chip 0, 19 from chip 1:
// the closest pair is made first, and the other two are left for one another.
TEST(LabelJoin, PairsAreOneToOneFromTheClosestOn) {
  const ChipPlace chip = test::place_at(kTerra, 0, 0);
  const CloudLabels labels = labels_at({moved_north(chip, 2), moved_north(chip, -9)});
  const JoinResult join = join_labels({chip, moved_north(chip, 10)}, labels, "nearest", 20);
  EXPECT_EQ(join.label_of_chip, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(join.ambiguous, 2);
  EXPECT_EQ(join.labels_too_far, 0);
  // The same chips in the other order.
  const JoinResult turned = join_labels({moved_north(chip, 10), chip}, labels, "nearest", 20);
  EXPECT_EQ(turned.label_of_chip, (std::vector<int64_t>{1, 0}));
}

TEST(LabelJoin, RefusesTwoLabelsForOneChip) {
  CloudLabels labels = label_grid({kTerra}, 1, 2, 0, 4);
  labels.places[1] = labels.places[0];
  const std::vector<ChipPlace> chips = {labels.places[0]};
  EXPECT_CONTAINS(message_of<UsageError>([&] { join_labels(chips, labels, "pixel", 20); }),
                  "Terra A2012123.1015 has two labels at row 0, column 0: 0 and 1");
  EXPECT_CONTAINS(message_of<UsageError>([&] { join_labels(chips, labels, "nearest", 20); }),
                  "two labels at latitude 20");
  const CloudLabels one = label_grid({kTerra}, 1, 1, 0, 4);
  EXPECT_CONTAINS(message_of<UsageError>(
                      [&] { join_labels({one.places[0], one.places[0]}, one, "pixel", 20); }),
                  "two chips are at row 0");
}

// Two files of labels may have a granule in common.
TEST(LabelJoin, LabelsThatComeTwiceCountOnce) {
  CloudLabels labels = label_grid({kTerra, kLater}, 1, 3, 0, 4);
  CloudLabels again = label_grid({kTerra, kLater}, 1, 2, 0, 4);
  labels.form = again.form = "netcdf";
  labels.append(again);
  const std::vector<ChipPlace> chips = {labels.places[0], labels.places[1]};
  for (const char* by : {"pixel", "nearest"}) {
    SCOPED_TRACE(by);
    const JoinResult join = join_labels(chips, labels, by, 20);
    EXPECT_EQ(join.label_of_chip, (std::vector<int64_t>{0, 1}));
    EXPECT_EQ(join.matched, 2);
    EXPECT_EQ(join.duplicate_labels, 4);
    EXPECT_EQ(join.labels_without_granule, 3);
    EXPECT_EQ(join.labels_too_far, 1);
    EXPECT_EQ(join.ambiguous, 0);
    EXPECT_EQ(join.to_json()["duplicate_labels"], 4);
  }
  labels.raw.back() = 3;
  EXPECT_CONTAINS(message_of<UsageError>([&] { join_labels(chips, labels, "pixel", 20); }),
                  "Terra A2012123.1020 has two labels at row 0, column 128: 1 and 3");
}

TEST(LabelJoin, SaysWhyNothingMatches) {
  const CloudLabels labels = label_grid({kAqua}, 1, 2, 0, 4);
  const std::vector<ChipPlace> chips = {test::place_at(kTerra, 0, 0)};
  EXPECT_CONTAINS(message_of<UsageError>([&] { join_labels(chips, labels, "auto", 20); }),
                  "none of 1 chips (Terra from 2012-05-02 to 2012-05-02) has a label: there are 2 "
                  "labels (Aqua from");
  CloudLabels no_pixels = labels;
  for (ChipPlace& place : no_pixels.places) place.row = -1;
  EXPECT_CONTAINS(message_of<UsageError>([&] { join_labels(chips, no_pixels, "pixel", 20); }),
                  "row and column");
  CloudLabels no_positions = labels;
  for (ChipPlace& place : no_positions.places) place.latitude = NAN;
  EXPECT_CONTAINS(message_of<UsageError>([&] { join_labels(chips, no_positions, "nearest", 20); }),
                  "latitude and longitude");
}

}  // namespace
}  // namespace swath::data::clouds
