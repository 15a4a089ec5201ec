#include "core/interrupt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "core/error.h"

namespace swath {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

// In a process of its own: exits with 0 when the first signal only set the flag.
[[noreturn]] void stop_once(int number) {
  alarm(30);
  signal(number, SIG_IGN);  // as a shell starts background jobs
  watch_for_interrupts();
  send_interrupt(number);
  bool has_thrown = false;
  try {
    stop_if_interrupted("test");
  } catch (const Error& error) {
    has_thrown = true;
  }
  _exit(interrupt_signal() == number && has_thrown ? 0 : 1);
}

[[noreturn]] void stop_twice(int number) {
  alarm(30);
  watch_for_interrupts();
  send_interrupt(number);
  kill(getpid(), number);
  while (true) pause();
}

TEST(Interrupt, TheFirstSignalSetsTheFlag) {
  for (const int number : kSignals) {
    EXPECT_EXIT(stop_once(number), testing::ExitedWithCode(0), "") << number;
  }
}

TEST(Interrupt, TheSecondSignalEndsTheProcessAtOnce) {
  for (const int number : kSignals) {
    EXPECT_EXIT(stop_twice(number), testing::ExitedWithCode(128 + number), "") << number;
  }
}

}  // namespace
}  // namespace swath
