// Messages for people, on stderr; stdout is kept for results.
//
// Thread rule: every function may be called from any thread; a message is written whole.
#pragma once

#include <string_view>

namespace swath {

void log_info(std::string_view message);
void log_warning(std::string_view message);
// Of many ranks one speaks for all: the others keep to warnings and errors.
void keep_to_warnings();

// Redraws one line in place on a terminal; elsewhere it is silent, and callers log lines at their
// own pace instead. `end_progress` leaves the last state visible.
void show_progress(std::string_view line);
void end_progress();
bool progress_is_interactive();

}  // namespace swath
