#include "data/clouds/label_map.h"

#include <gtest/gtest.h>

#include "data/test_files.h"

namespace swath::data::clouds {
namespace {

using data::test::message_of;

// 42 classes in both, under numbers that differ by one, and names that do not claim to be the same.
TEST(LabelMap, ShippedMapsKnowTheirForms) {
  const LabelMap netcdf = read_label_map("", "", "netcdf");
  const LabelMap table = read_label_map("", "", "table");
  EXPECT_EQ(netcdf.class_names().size(), 42U);
  EXPECT_EQ(table.class_names().size(), 42U);
  EXPECT_EQ(netcdf.class_of(0), 0);
  EXPECT_EQ(netcdf.class_of(41), 41);
  EXPECT_FALSE(netcdf.knows(42));
  EXPECT_EQ(table.class_of(0), LabelMap::kDrop);
  EXPECT_EQ(table.class_of(1), 0);
  EXPECT_EQ(table.class_of(42), 41);
  EXPECT_EQ(table.class_of(43), LabelMap::kDrop);
  EXPECT_NE(netcdf.class_names()[1], table.class_names()[0]);
}

TEST(LabelMap, TheOneBesideTheLabelsComesBeforeTheShippedOne) {
  data::test::TemporaryDirectory root;
  data::test::write_text(root / "label_map.csv", "raw,class\n0,clear\n5,cirrus\n");
  for (const auto& labels : {root.path(), root / "labels.csv"}) {
    EXPECT_EQ(read_label_map("", labels, "table").class_names(),
              (std::vector<std::string>{"clear", "cirrus"}));
  }
  data::test::write_text(root / "other.csv", "raw,class\n0,all\n5,all\n");
  EXPECT_EQ(read_label_map(root / "other.csv", root.path(), "table").class_names().size(), 1U);
  EXPECT_EQ(read_label_map("", root / "elsewhere/labels.csv", "table").class_names().size(), 42U);
}

TEST(LabelMap, MayMergeAndDrop) {
  const LabelMap map("# mine\nraw,class\n7,low\n3,high\n9,drop\n-1,low\n", "map.csv");
  EXPECT_EQ(map.class_names(), (std::vector<std::string>{"low", "high"}));
  EXPECT_EQ(map.class_of(-1), 0);
  EXPECT_EQ(map.class_of(3), 1);
  EXPECT_CONTAINS(message_of<UsageError>([&] { map.class_of(8); }), "map.csv does not map the raw");
}

TEST(LabelMap, BadLinesAreNamed) {
  const auto message = [](const char* text) {
    return message_of<UsageError>([&] { LabelMap(text, "m.csv"); });
  };
  EXPECT_CONTAINS(message("1,low\n"), "m.csv:1: the first line");
  EXPECT_CONTAINS(message("raw,class\n1,low\n1,high\n"), "m.csv:3: 1 is mapped twice");
  EXPECT_CONTAINS(message("raw,class\none,low\n"), "`one` is no whole number");
  EXPECT_CONTAINS(message("raw,class\n1,low cloud\n"), "no name of a class");
  EXPECT_CONTAINS(message("raw,class\n1\n"), "expected 2 cells");
  EXPECT_CONTAINS(message("raw,class\n1,drop\n"), "maps nothing");
}

}  // namespace
}  // namespace swath::data::clouds
