#include "data/skipped_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "data/test_files.h"

namespace swath::data {
namespace {

using test::TemporaryDirectory;

TEST(SkippedList, ListsEverySampleOnceInTheFile) {
  TemporaryDirectory root;
  SkippedList list(root / "skipped.txt");
  EXPECT_FALSE(std::filesystem::exists(root / "skipped.txt"));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) list.add("chip" + std::to_string(i), "it is broken.\nBadly.");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(list.size(), 20);
  EXPECT_EQ(list.lines()[0], "chip0: it is broken.\nBadly.");
  const std::string text = read_file(root / "skipped.txt");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20);
  EXPECT_CONTAINS(text, "chip7\tit is broken. Badly.\n");
}

TEST(SkippedList, GoesOnWithTheFileOfAnInterruptedRun) {
  TemporaryDirectory root;
  SkippedList(root / "skipped.txt").add("a.npy", "empty.");
  SkippedList again(root / "skipped.txt");
  EXPECT_EQ(again.size(), 1);
  again.add("a.npy", "empty.");
  again.add("b.npy", "truncated.");
  EXPECT_EQ(read_file(root / "skipped.txt"), "a.npy\tempty.\nb.npy\ttruncated.\n");
}

TEST(SkippedList, AFileThatCannotBeWrittenIsAWarning) {
  SkippedList list("/no/such/folder/skipped.txt");
  testing::internal::CaptureStderr();
  list.add("a.npy", "empty.");
  EXPECT_CONTAINS(testing::internal::GetCapturedStderr(), "cannot add a.npy to /no/such/folder");
  EXPECT_EQ(list.size(), 1);
}

}  // namespace
}  // namespace swath::data
