#include "data/clouds/label_chips.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/hash.h"
#include "data/clouds/derive_labels.h"
#include "data/clouds/label_files.h"
#include "data/clouds/label_netcdf.h"
#include "data/clouds/label_table.h"
#include "data/clouds/labelled_chips.h"

namespace swath::data::clouds {
namespace {

using data::test::message_of;
using data::test::TemporaryDirectory;
using data::test::write_text;

// Forty granules over the years, both platforms.
std::vector<Granule> many_granules() {
  std::vector<Granule> granules;
  for (int i = 0; i < 40; ++i) {
    granules.push_back(
        {i % 2 == 0 ? Platform::kTerra : Platform::kAqua, (2014 + i / 5) * 1000 + 20 + i, 1015});
  }
  return granules;
}

// Chips of all labels but the last, and a table of the labels.
CloudLabels write_set(const TemporaryDirectory& root) {
  CloudLabels labels = test::label_grid(many_granules(), 2, 6, 1, 4);
  labels.form = "table";
  std::vector<ChipPlace> chips = labels.places;
  chips.pop_back();
  test::write_chips(root / "chips", chips);
  std::filesystem::create_directories(root / "labels");
  write_label_table(root / "labels" / "labels.csv", labels);
  return labels;
}

LabelOptions options_for(const TemporaryDirectory& root) {
  LabelOptions options;
  options.data.root = (root / "chips").string();
  options.labels = (root / "labels").string();
  options.output = (root / "lists").string();
  return options;
}

std::set<std::string> names_of(const std::filesystem::path& path) {
  const ListFile list = read_list_file(path);
  std::set<std::string> names;
  for (int64_t i = 0; i < list.names.size(); ++i) names.emplace(list.names.name(i));
  return names;
}

TEST(LabelChips, WritesListsThatAreReadByTheProbe) {
  TemporaryDirectory root;
  const CloudLabels labels = write_set(root);
  const Json result = label_chips(options_for(root));
  EXPECT_EQ(result["labels"], 480);
  EXPECT_EQ(result["chips"], 479);
  EXPECT_EQ(result["join"]["matched"], 479);
  EXPECT_EQ(result["join"]["labels_too_far"], 1);
  EXPECT_EQ(result["raw_counts"]["1"], 120);
  EXPECT_EQ(result["derived"], "");
  // 2014 to 2017, 2018 and 2019, 2020 and 2021: five granules of twelve chips a year.
  EXPECT_EQ(result["parts"]["train"]["chips"], 240);
  EXPECT_EQ(result["parts"]["train"]["granules"], 20);
  EXPECT_EQ(result["parts"]["validation"]["chips"], 120);
  EXPECT_EQ(result["parts"]["test"]["chips"], 119);

  DatasetOptions list;
  list.root = (root / "chips").string();
  list.list = (root / "lists" / "train.txt").string();
  const auto train = open_dataset(list);
  EXPECT_EQ(train->size(), 240);
  EXPECT_EQ(train->class_names()[3], "table_04");
  for (int64_t i = 0; i < train->size(); ++i) {
    const Sample sample = train->sample(i);
    const auto found =
        std::find_if(labels.places.begin(), labels.places.end(),
                     [&](const ChipPlace& place) { return test::chip_name(place) == sample.name; });
    ASSERT_NE(found, labels.places.end());
    EXPECT_EQ(sample.label, labels.raw[static_cast<size_t>(found - labels.places.begin())] - 1);
  }
  EXPECT_EQ(names_of(root / "lists" / "held_out.txt").size(), 239U);
}

TEST(LabelChips, FractionsAreNestedAndStratified) {
  TemporaryDirectory root;
  write_set(root);
  const Json result = label_chips(options_for(root));
  const auto lists = root / "lists";
  for (int draw = 0; draw < 3; ++draw) {
    const auto few = names_of(lists / fmt::format("train_0.001_{}.txt", draw));
    const auto some = names_of(lists / fmt::format("train_0.01_{}.txt", draw));
    const auto many = names_of(lists / fmt::format("train_0.1_{}.txt", draw));
    const auto all = names_of(lists / "train.txt");
    EXPECT_EQ(few.size(), 4U);  // of each class at least one
    EXPECT_EQ(many.size(), 24U);
    EXPECT_TRUE(std::includes(some.begin(), some.end(), few.begin(), few.end()));
    EXPECT_TRUE(std::includes(many.begin(), many.end(), some.begin(), some.end()));
    EXPECT_TRUE(std::includes(all.begin(), all.end(), many.begin(), many.end()));
  }
  EXPECT_NE(names_of(lists / "train_0.1_0.txt"), names_of(lists / "train_0.1_1.txt"));
  for (const Json& list : result["lists"]) {
    if (list.value("fraction", 0.0) == 0.1) {
      EXPECT_EQ(list["per_class"][2], 6) << list;
    }
    EXPECT_EQ(sha256_hex(read_file(lists / list["file"].get<std::string>())),
              list["sha256"].get<std::string>());
  }
}

TEST(LabelChips, IsTheSameEveryTimeAndGuardsItsLists) {
  TemporaryDirectory root;
  write_set(root);
  const Json first = label_chips(options_for(root));
  EXPECT_CONTAINS(message_of<UsageError>([&] { label_chips(options_for(root)); }),
                  "holds lists already");
  LabelOptions again = options_for(root);
  again.overwrite = true;
  EXPECT_EQ(label_chips(again), first);
  again.fractions = {0.5, 1};
  label_chips(again);
  EXPECT_FALSE(std::filesystem::exists(root / "lists" / "train_0.1_0.txt"));
  EXPECT_TRUE(std::filesystem::exists(root / "lists" / "train_0.5_2.txt"));
  const auto path = root / "lists" / "test.txt";
  write_text(path, read_file(path) + "one_more table_01 0\n");
  EXPECT_CONTAINS(message_of<UsageError>([&] { read_list_file(path); }), "`swath data label`");
}

TEST(LabelChips, KeepsPlacesAndProperties) {
  TemporaryDirectory root;
  const CloudLabels labels = write_set(root);
  label_chips(options_for(root));
  const LabelledChips chips = read_labelled_chips(root / "lists" / kLabelledChipsFile);
  ASSERT_EQ(chips.chips.size(), 479U);
  EXPECT_EQ(chips.property_names, labels.property_names);
  EXPECT_EQ(chips.chips[13].place.granule, labels.places[13].granule);
  EXPECT_EQ(chips.chips[13].place.column, 128);
  EXPECT_EQ(chips.chips[13].class_name, "table_02");
  EXPECT_EQ(chips.properties_of(13)[0], 600);
  EXPECT_TRUE(std::isnan(chips.properties_of(4)[0]));
  EXPECT_EQ(labelled_chips_text(chips), read_file(root / "lists" / kLabelledChipsFile));
}

TEST(LabelChips, UnmappedRawValuesStopItBeforeAnythingIsWritten) {
  TemporaryDirectory root;
  write_set(root);
  write_text(root / "map.csv", "raw,class\n1,low\n2,drop\n4,low\n");
  LabelOptions options = options_for(root);
  options.label_map = (root / "map.csv").string();
  EXPECT_CONTAINS(message_of<UsageError>([&] { label_chips(options); }), "3 (120 labels)");
  EXPECT_FALSE(std::filesystem::exists(root / "lists"));
  write_text(root / "map.csv", "raw,class\n1,low\n2,drop\n3,drop\n4,low\n");
  const Json result = label_chips(options);
  EXPECT_EQ(result["classes"], Json({"low"}));
  EXPECT_EQ(result["dropped"], 240);
}

TEST(LabelChips, SmallSetsAreSplitByDays) {
  TemporaryDirectory root;
  write_set(root);
  LabelOptions options = options_for(root);
  options.split.train_years = {1990, 1991};
  EXPECT_CONTAINS(message_of<UsageError>([&] { label_chips(options); }),
                  "no labelled chip is in the train part");
  options.split = {};
  options.split.by = "days";
  const Json result = label_chips(options);
  EXPECT_EQ(result["parts"]["train"]["granules"].get<int>() +
                result["parts"]["validation"]["granules"].get<int>() +
                result["parts"]["test"]["granules"].get<int>(),
            40);
}

TEST(LabelChips, AFolderMayHoldOnePart) {
  TemporaryDirectory root;
  write_set(root);
  LabelOptions options = options_for(root);
  options.split.parts = "train";
  const Json train = label_chips(options);
  EXPECT_EQ(train["parts"]["train"]["chips"], 240);
  EXPECT_EQ(train["parts"]["test"]["chips"], 0);
  EXPECT_EQ(train["parts"]["none"]["chips"], 119);
  EXPECT_EQ(train["split"]["parts"], "train");
  EXPECT_TRUE(std::filesystem::exists(root / "lists" / "train_0.1_0.txt"));
  EXPECT_FALSE(std::filesystem::exists(root / "lists" / "test.txt"));
  EXPECT_EQ(names_of(root / "lists" / "held_out.txt").size(), 239U);
  options.split.parts = "test";
  options.output = (root / "test_lists").string();
  const Json test = label_chips(options);
  EXPECT_EQ(test["parts"]["test"]["chips"], 119);
  EXPECT_EQ(names_of(root / "test_lists" / "test.txt").size(), 119U);
  for (const char* file : {"train.txt", "validation.txt", "train_0.1_0.txt"}) {
    EXPECT_FALSE(std::filesystem::exists(root / "test_lists" / file)) << file;
  }
  // A folder of the training years alone; nothing of it is held out.
  options.split.validation_years = {2030, 2031};
  options.split.test_years = {2032, 2033};
  options.overwrite = true;
  EXPECT_CONTAINS(message_of<UsageError>([&] { label_chips(options); }), "is in the test part");
  options.split.parts = "both";
  EXPECT_CONTAINS(message_of<UsageError>([&] { label_chips(options); }), "with --split.parts");
  options.split.parts = "train";
  EXPECT_EQ(label_chips(options)["parts"]["train"]["chips"], 240);
  EXPECT_FALSE(std::filesystem::exists(root / "test_lists" / "held_out.txt"));
  EXPECT_FALSE(std::filesystem::exists(root / "test_lists" / "test.txt"));
}

TEST(LabelChips, SaysThatGranulesGoByTimeWhateverThePlatform) {
  TemporaryDirectory root;
  write_set(root);
  LabelOptions options = options_for(root);
  options.split.by = "granules";
  options.split.test_share = 0;
  options.split.test_platforms = {"aqua"};
  const std::string message = message_of<UsageError>([&] { label_chips(options); });
  EXPECT_CONTAINS(message, "no labelled chip is in the test part");
  EXPECT_CONTAINS(message, "whatever the platform: none of aqua");
  EXPECT_CONTAINS(message, "take --split.by days");
}

TEST(LabelChips, ChipsWithoutAPlaceAreNamed) {
  TemporaryDirectory root;
  write_set(root);
  data::test::write_class_folders(root / "other", 1, 2);
  LabelOptions options = options_for(root);
  options.data.root = (root / "other").string();
  EXPECT_CONTAINS(message_of<UsageError>([&] { label_chips(options); }),
                  "does not say from which granule");
}

}  // namespace
}  // namespace swath::data::clouds
