#include "core/interrupt.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "core/error.h"

namespace swath {
namespace {

std::atomic<int> received_signal{0};

constexpr int kWatched[] = {SIGTERM, SIGINT, SIGUSR1};

sigset_t watched_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : kWatched) sigaddset(&signals, number);
  return signals;
}

[[noreturn]] void watch() {
  const sigset_t signals = watched_signals();
  while (true) {
    int number = 0;
    if (sigwait(&signals, &number) != 0) continue;
    // The user asked twice: nothing may hold the process back. The last checkpoint is complete.
    if (received_signal.exchange(number) != 0) _exit(128 + number);
    received_signal.notify_all();
  }
}

}  // namespace

void watch_for_interrupts() {
  static std::atomic<bool> is_watching{false};
  const sigset_t signals = watched_signals();
  // A shell starts background jobs with some of them ignored; those would never arrive.
  for (const int number : kWatched) signal(number, SIG_DFL);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (!is_watching.exchange(true)) std::thread(watch).detach();
}

int interrupt_signal() { return received_signal.load(std::memory_order_relaxed); }

void stop_if_interrupted(std::string_view what) {
  if (const int signal = interrupt_signal(); signal != 0) {
    throw Error(fmt::format("{}: stopped by signal {}.", what, signal));
  }
}

void send_interrupt(int signal) {
  kill(getpid(), signal);
  received_signal.wait(0);
}

void clear_interrupt() { received_signal.store(0); }

}  // namespace swath
