// A loop over many items by a few threads, for work whose items do not depend on each other.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace swath::data {

// `requested`, or for 0 the number of processor cores.
int64_t thread_count(int64_t requested);

// Calls body(index) once for every index in [0, count), from `threads` threads (0: all cores).
// Items are handed out one by one, in rising order. If bodies throw, the rest is left undone and
// the exception of the smallest index is rethrown, so that an error does not depend on timing.
// A signal to stop (core/interrupt.h) ends the loop with an Error. With `progress` ("verify"), a
// terminal shows how far the loop is.
void parallel_for(int64_t count, int64_t threads, const std::function<void(int64_t)>& body,
                  std::string_view progress = {});

}  // namespace swath::data
