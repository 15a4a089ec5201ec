#include "bench/report/sweep_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace swath::bench {
namespace {

Json row(int ranks, const char* strategy, const char* prefetch, double rate) {
  return {{"ranks", ranks},
          {"strategy", strategy},
          {"prefetch", prefetch},
          {"limit_all_gathers", true},
          {"images_per_second", {{"median", rate}, {"minimum", rate - 1}, {"maximum", rate + 2}}}};
}

SweepTable table_of(const Json& rows) {
  std::vector<std::string> problems;
  SweepTable table = sweep_table({{"rows", rows}}, problems);
  EXPECT_TRUE(problems.empty()) << problems.front();
  return table;
}

TEST(SweepTable, EfficiencyIsAgainstTheFewestRanksOfTheSameCase) {
  const SweepTable table =
      table_of({row(8, "DDP", "NONE", 60), row(2, "DDP", "NONE", 20), row(1, "OTHER", "NONE", 12)});
  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_EQ(table.rows[0].ranks, 2);  // by case, then ranks
  EXPECT_EQ(table.rows[0].efficiency, 1);
  EXPECT_EQ(table.rows[1].efficiency, 0.75);  // 60 of 4 x 20
  EXPECT_EQ(table.rows[1].minimum, 59);
  EXPECT_EQ(table.rows[1].maximum, 62);
  EXPECT_TRUE(std::isnan(table.rows[2].efficiency));  // nothing to compare with
  EXPECT_EQ(table.ranks(), (std::vector<double>{1, 2, 8}));
  EXPECT_EQ(table.ideal_start()->strategy, "OTHER");
}

TEST(SweepTable, TheIdealStartsFromTheFastestOnTheFewestRanks) {
  Json without_rate = row(1, "DDP", "NONE", 0);
  without_rate.erase("images_per_second");
  const SweepTable table = table_of(
      {without_rate, row(2, "A", "NONE", 20), row(2, "B", "NONE", 25), row(4, "C", "NONE", 90)});
  EXPECT_EQ(table.ideal_start()->strategy, "B");
  EXPECT_EQ(table_of(Json::array({without_rate})).ideal_start(), nullptr);
}

// A sweep measures one rank once for all prefetch choices: nothing is gathered there.
TEST(SweepTable, TheRowOfOneRankStandsInEveryCaseOfItsStrategy) {
  const SweepTable table =
      table_of({row(1, "FULL_SHARD", "PRE", 10), row(2, "FULL_SHARD", "PRE", 18),
                row(2, "FULL_SHARD", "POST", 15), row(2, "DDP", "PRE", 19)});
  ASSERT_EQ(table.cases.size(), 3U);
  EXPECT_EQ(table.cases[0].name, "FULL_SHARD, PRE");
  EXPECT_EQ(table.cases[1].name, "FULL_SHARD, POST");
  EXPECT_EQ(table.cases[2].name, "DDP");  // its prefetch does not vary
  EXPECT_EQ(table.cases[1].rows.size(), 2U);
  EXPECT_EQ(table.cases[2].rows.size(), 1U);
  EXPECT_EQ(table.rows[2].efficiency, 0.75);  // POST: 15 of 2 x 10
}

TEST(SweepTable, WhatARowLacksIsMissingOnly) {
  const SweepTable table =
      table_of({{{"ranks", 64}, {"strategy", "FULL_SHARD"}, {"images_per_second", 5}},
                {{"ranks", 64},
                 {"strategy", "DDP"},
                 {"peak_memory_bytes", 7},
                 {"telemetry", {{"absent", "no counter"}}}}});
  EXPECT_EQ(table.rows[0].images_per_second, 5);  // a plain number
  EXPECT_TRUE(table.has(&SweepRow::peak_bytes));
  EXPECT_FALSE(table.has(&SweepRow::minimum));
  EXPECT_FALSE(table.has(&SweepRow::joules));
  EXPECT_TRUE(std::isnan(table.rows[1].efficiency));
}

TEST(SweepTable, UnusableRowsAreNamed) {
  std::vector<std::string> problems;
  const Json rows = {{{"strategy", "DDP"}},
                     {{"ranks", 1.5}, {"strategy", "DDP"}},
                     {{"ranks", 2}},
                     {{"ranks", 2}, {"strategy", "DDP"}, {"data_wait", 12.5}},
                     "text",
                     {{"ranks", 2}, {"strategy", "DDP"}}};
  EXPECT_EQ(sweep_table({{"rows", rows}}, problems).rows.size(), 1U);
  EXPECT_EQ(problems, (std::vector<std::string>{
                          "row 1 has no number of ranks", "row 2 has no number of ranks",
                          "row 3 has no strategy", "row 4 has a share data_wait outside 0..1",
                          "row 5 has no number of ranks"}));
  problems.clear();
  EXPECT_TRUE(sweep_table(Json::array(), problems).rows.empty());
  EXPECT_EQ(problems, (std::vector<std::string>{"has no rows"}));
}

}  // namespace
}  // namespace swath::bench
