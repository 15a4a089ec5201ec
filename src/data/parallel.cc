#include "data/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace swath::data {

int64_t thread_count(int64_t requested) {
  if (requested > 0) return requested;
  return std::max<int64_t>(1, std::thread::hardware_concurrency());
}

void parallel_for(int64_t count, int64_t threads, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr error;
  int64_t error_index = std::numeric_limits<int64_t>::max();

  const auto work = [&] {
    // A started item is always finished: when item i fails, every smaller item was handed out
    // before it and gets its chance to fail first.
    while (!failed.load(std::memory_order_relaxed)) {
      const int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= count) return;
      try {
        body(index);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (index < error_index) {
          error_index = index;
          error = std::current_exception();
        }
        failed = true;
      }
    }
  };

  const int64_t extra = std::min(thread_count(threads), count) - 1;
  std::vector<std::jthread> helpers;
  for (int64_t i = 0; i < extra; ++i) helpers.emplace_back(work);
  work();
  helpers.clear();
  if (error) std::rethrow_exception(error);
}

}  // namespace swath::data
