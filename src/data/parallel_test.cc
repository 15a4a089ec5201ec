#include "data/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/interrupt.h"

namespace swath::data {
namespace {

// Before any other thread is started.
[[maybe_unused]] const bool kIsWatching = (watch_for_interrupts(), true);

TEST(Parallel, CallsEveryIndexOnce) {
  for (const int64_t threads : {1, 2, 7}) {
    std::vector<std::atomic<int>> calls(1000);
    parallel_for(1000, threads, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
  parallel_for(0, 4, [](int64_t) { FAIL(); });
}

TEST(Parallel, RethrowsTheErrorOfTheSmallestIndex) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    try {
      parallel_for(200, 8, [](int64_t i) {
        if (i >= 40) throw std::runtime_error(std::to_string(i));
      });
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "40");
    }
  }
}

TEST(Parallel, StopsAtASignal) {
  std::atomic<int> calls{0};
  // The other thread may have started one item before the signal arrives: it waits for the signal,
  // so that the count does not depend on the speed of either thread.
  const auto body = [&](int64_t) {
    const int call = ++calls;
    if (call == 10) send_interrupt(SIGTERM);
    while (call > 10 && interrupt_signal() == 0) std::this_thread::yield();
  };
  EXPECT_THROW(parallel_for(1000, 2, body), Error);
  clear_interrupt();
  EXPECT_LE(calls, 11);
}

}  // namespace
}  // namespace swath::data
