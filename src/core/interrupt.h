// Polite ends of a run: SIGTERM, SIGINT and SIGUSR1 set a flag that loops look at between steps. A
// second signal ends the process at once.
#pragma once

#include <string_view>

namespace swath {

// Call once, in the main thread, before others are started: from here on a thread of its own waits
// for the signals, and every other thread has them blocked. No handler runs on a thread that
// computes, because oneDNN's generated matrix products keep values below the stack pointer, further
// than the red zone of the ABI: a handler's frame destroys them, and the product then writes past
// its buffers. A child process inherits the mask: whoever starts one empties it.
void watch_for_interrupts();

// The signal that asked to stop, or 0. Cheap: meant to be asked after every step, and inside
// evaluation and warm-up loops.
int interrupt_signal();

// Throws Error "WHAT: stopped by signal N." when there is one.
void stop_if_interrupted(std::string_view what);

// For tests: sends this process a signal and returns once it was seen.
void send_interrupt(int signal);
// For tests: forgets a signal seen.
void clear_interrupt();

}  // namespace swath
