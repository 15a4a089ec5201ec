// Polite ends of a run: SIGTERM, SIGINT and SIGUSR1 set a flag that loops look at between steps. A
// second signal ends the process at once.
#pragma once

#include <string_view>

namespace swath {

// Installs the handlers; call once, in the main thread, before others are started.
void install_interrupt_handlers();

// The signal that asked to stop, or 0. Cheap: meant to be asked after every step, and inside
// evaluation and warm-up loops.
int interrupt_signal();

// Throws Error "WHAT: stopped by signal N." when there is one.
void stop_if_interrupted(std::string_view what);

// For tests: forgets a signal seen.
void clear_interrupt();

}  // namespace swath
