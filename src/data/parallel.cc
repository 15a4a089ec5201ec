#include "data/parallel.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"

namespace swath::data {
namespace {

void report(std::string_view what, int64_t done, int64_t count, Clock::time_point* last_report) {
  const Clock::time_point now = Clock::now();
  if (now - *last_report < std::chrono::milliseconds(200)) return;
  *last_report = now;
  show_progress(fmt::format("{}: {} of {}", what, std::min(done, count), count));
}

}  // namespace

int64_t thread_count(int64_t requested) {
  if (requested > 0) return requested;
  return std::max<int64_t>(1, std::thread::hardware_concurrency());
}

void parallel_for(int64_t count, int64_t threads, const std::function<void(int64_t)>& body,
                  std::string_view progress) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr error;
  int64_t error_index = std::numeric_limits<int64_t>::max();

  Clock::time_point last_report = Clock::now();
  const auto work = [&](bool shows_progress) {
    // A started item is always finished: when item i fails, every smaller item was handed out
    // before it and gets its chance to fail first.
    while (!failed.load(std::memory_order_relaxed) && interrupt_signal() == 0) {
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
      if (shows_progress) report(progress, next.load(), count, &last_report);
    }
  };
  const auto help = [&] { work(false); };

  const int64_t extra = std::min(thread_count(threads), count) - 1;
  std::vector<std::jthread> helpers;
  helpers.reserve(static_cast<size_t>(std::max<int64_t>(0, extra)));
  for (int64_t i = 0; i < extra; ++i) helpers.emplace_back(help);
  work(!progress.empty());
  helpers.clear();
  if (!progress.empty()) end_progress();
  if (error) std::rethrow_exception(error);
  if (interrupt_signal() != 0 && next < count) {
    throw Error(fmt::format("stopped by signal {} after {} of {}.", interrupt_signal(), next.load(),
                            count));
  }
}

}  // namespace swath::data
