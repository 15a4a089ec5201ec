#include "data/list_file.h"

#include <gtest/gtest.h>

#include "core/hash.h"
#include "core/json.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

using test::message_of;
using test::TemporaryDirectory;

ListFile parse(const std::string& text) {
  TemporaryDirectory root;
  test::write_text(root / "list.txt", text);
  return read_list_file(root / "list.txt");
}

std::string problem(const std::string& text) {
  return message_of<UsageError>([&] { parse(text); });
}

TEST(ListFile, ReadsNameClassIndex) {
  const ListFile list = parse("b.jpg river 1\r\na.jpg\tcity   0\n\nc.jpg river 1");
  ASSERT_EQ(list.names.size(), 3);
  EXPECT_EQ(list.names.name(0), "b.jpg");
  EXPECT_EQ(list.names.label(0), 1);
  EXPECT_EQ(list.names.name(2), "c.jpg");
  EXPECT_EQ(list.class_names, (std::vector<std::string>{"city", "river"}));
}

TEST(ListFile, ReadsNamesAlone) {
  const ListFile list = parse("x/b.jpg\na.jpg\n");
  EXPECT_EQ(list.names.size(), 2);
  EXPECT_EQ(list.names.label(0), -1);
  EXPECT_TRUE(list.class_names.empty());
}

TEST(ListFile, WritesWhatItReads) {
  const std::string text = "b.jpg river 1\na.jpg city 0\n";
  EXPECT_EQ(list_file_text(parse(text)), text);
  ListFile bad;
  bad.names.add("a b.jpg");
  message_of<UsageError>([&] { list_file_text(bad); });
}

TEST(ListFile, NamesFileAndLineOfWhatIsWrong) {
  EXPECT_CONTAINS(problem("a.jpg city 0\nb.jpg city\n"), "list.txt:2: expected 1 or 3 columns");
  EXPECT_CONTAINS(problem("a.jpg city 0\nb.jpg\n"),
                  "list.txt:2: 1 columns, the lines before have 3");
  EXPECT_CONTAINS(problem("a.jpg city zero\n"), "`zero` is not a class index");
  EXPECT_CONTAINS(problem("a.jpg city -1\n"), "`-1` is not a class index");
  EXPECT_CONTAINS(problem("a.jpg city 0\nb.jpg city 1\n"), "class city has index 1 here and 0");
  EXPECT_CONTAINS(problem("a.jpg city 0\nb.jpg river 0\n"), "index 0 is class river here and city");
  EXPECT_CONTAINS(problem("a.jpg city 0\na.jpg city 0\n"), "a.jpg is listed twice");
  EXPECT_CONTAINS(problem("/a.jpg city 0\n"), "not a relative name");
  EXPECT_CONTAINS(problem("\n"), "is empty");
}

TEST(ListFile, RefusesAListChangedAfterTheSplit) {
  TemporaryDirectory root;
  const std::string text = "a.jpg city 0\nb.jpg river 1\n";
  test::write_text(root / "train.txt", text);
  const Json split = {{"lists", {{{"file", "train.txt"}, {"sha256", sha256_hex(text)}}}}};
  test::write_text(root / "split.json", split.dump());
  EXPECT_EQ(read_list_file(root / "train.txt").names.size(), 2);
  test::write_text(root / "train.txt", text + "c.jpg city 0\n");
  const std::string message = message_of<UsageError>([&] { read_list_file(root / "train.txt"); });
  EXPECT_CONTAINS(message, "train.txt was changed after the split");
}

}  // namespace
}  // namespace swath::data
