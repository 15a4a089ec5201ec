#include "core/csv.h"

#include <gtest/gtest.h>

#include <limits>

namespace swath {
namespace {

// RFC 4180, section 2.
TEST(Csv, TextIsQuotedWhereItMustBe) {
  EXPECT_EQ(csv_cell("plain text"), "plain text");
  EXPECT_EQ(csv_cell("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_cell("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_cell("two\nlines"), "\"two\nlines\"");
}

TEST(Csv, NumbersReadBackAndGapsAreEmpty) {
  EXPECT_EQ(csv_number(0.1), "0.1");
  EXPECT_EQ(csv_number(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(csv_number(std::numeric_limits<double>::quiet_NaN()), "");
}

TEST(Csv, CellsAreReadAsTheyWereWritten) {
  const std::vector<std::string> row = {"a,b", "", "say \"x\"", "end"};
  std::string text = "\xef\xbb\xbfone,two,three,four\r\n\n";
  for (const std::string& cell : row) text += csv_cell(cell) + (cell == "end" ? "" : ",");
  CsvReader reader(text);
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.cells(), (std::vector<std::string>{"one", "two", "three", "four"}));
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.cells(), row);
  EXPECT_EQ(reader.line_number(), 3);
  EXPECT_FALSE(reader.next());
}

}  // namespace
}  // namespace swath
