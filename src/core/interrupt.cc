#include "core/interrupt.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>

#include "core/error.h"

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

// oneDNN's generated matrix products keep values below the stack pointer, further than the red zone
// of the ABI: a handler's frame on the same stack destroys them, and the product then writes past
// its buffers. So handlers get a stack of their own. The kernel gives signals sent to a process to
// its first thread, which is the one that installs them.
void install_handler_stack() {
  static std::array<std::byte, 64 * 1024> memory;
  stack_t stack{};
  stack.ss_sp = memory.data();
  stack.ss_size = memory.size();
  sigaltstack(&stack, nullptr);
}

}  // namespace

void install_interrupt_handlers() {
  install_handler_stack();
  struct sigaction action{};
  action.sa_handler = handle_interrupt;
  sigemptyset(&action.sa_mask);
  // Calls that were interrupted go on by themselves: the flag is looked at between steps.
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
}

int interrupt_signal() { return received_signal.load(std::memory_order_relaxed); }

void stop_if_interrupted(std::string_view what) {
  if (const int signal = interrupt_signal(); signal != 0) {
    throw Error(fmt::format("{}: stopped by signal {}.", what, signal));
  }
}

void clear_interrupt() { received_signal.store(0); }

}  // namespace swath
