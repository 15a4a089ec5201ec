// A loop over many items by a few threads, for work whose items do not depend on each other.
#pragma once

#include <cstdint>
#include <functional>

namespace swath::data {

// `requested`, or for 0 the number of processor cores.
int64_t thread_count(int64_t requested);

// Calls body(index) once for every index in [0, count), from `threads` threads (0: all cores).
// Items are handed out one by one, in rising order. If bodies throw, the rest is left undone and
// the exception of the smallest index is rethrown, so that an error does not depend on timing.
void parallel_for(int64_t count, int64_t threads, const std::function<void(int64_t)>& body);

}  // namespace swath::data
