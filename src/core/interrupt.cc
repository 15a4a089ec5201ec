#include "core/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

namespace swath {
namespace {

std::atomic<int> received_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch it");

extern "C" void handle_interrupt(int signal) {
  if (received_signal.exchange(signal) != 0) {
    // The user asked twice: nothing may hold the process back. The last checkpoint is complete.
    _exit(128 + signal);
  }
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction action{};
  action.sa_handler = handle_interrupt;
  sigemptyset(&action.sa_mask);
  // Calls that were interrupted go on by themselves: the flag is looked at between steps.
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
}

int interrupt_signal() { return received_signal.load(std::memory_order_relaxed); }

void clear_interrupt() { received_signal.store(0); }

}  // namespace swath
