#include "data/name_index.h"

#include <gtest/gtest.h>

namespace swath::data {
namespace {

TEST(NameIndex, SortsByBytesAndFilters) {
  NameIndex index;
  for (const char* name : {"b", "a/2", "B", "a", "\xc3\xa4"}) index.add(name, name[0]);
  index.sort();
  const std::vector<std::string> expected = {"B", "a", "a/2", "b", "\xc3\xa4"};
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(index.name(i), expected[static_cast<size_t>(i)]);
  EXPECT_EQ(index.label(0), 'B');
  index.filter([&](int64_t i) { return index.name(i) != "a/2"; });
  ASSERT_EQ(index.size(), 4);
  EXPECT_EQ(index.name(2), "b");
  EXPECT_EQ(index.label(2), 'b');
}

}  // namespace
}  // namespace swath::data
