#include "sharding/failure_board.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "core/log.h"

namespace swath::sharding {
namespace {

constexpr auto kLookAgain = std::chrono::milliseconds(50);
constexpr const char* kCount = "failures";
constexpr const char* kGone = "gone";

std::string first_line_of(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

}  // namespace

FailureBoard::FailureBoard(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t world_size)
    : store_(std::move(store)), rank_(rank), world_size_(world_size) {}

std::string FailureBoard::key_of(int64_t rank) const { return fmt::format("failure/{}", rank); }

// "ORDER MESSAGE": the order in which ranks failed.
void FailureBoard::post(const std::string& message) {
  if (std::exchange(has_posted_, true)) return;
  try {
    const int64_t order = store_->add(kCount, 1);
    store_->set(key_of(rank_), bytes_of(fmt::format("{} {}", order, message)));
  } catch (const std::exception& error) {
    log_warning(fmt::format("the other ranks were not told: {}", first_line_of(error)));
  }
}

std::string FailureBoard::describe_failure(const std::string& label,
                                           std::chrono::milliseconds patience) {
  post(fmt::format("was in {}", label));
  std::vector<std::optional<std::string>> posts(static_cast<size_t>(world_size_));
  try {
    const auto end = std::chrono::steady_clock::now() + patience;
    for (int64_t known = 0; known < world_size_;) {
      known = 0;
      for (int64_t rank = 0; rank < world_size_; ++rank) {
        std::optional<std::string>& found = posts[static_cast<size_t>(rank)];
        if (!found && store_->check({key_of(rank)})) {
          const std::vector<uint8_t> bytes = store_->get(key_of(rank));
          found = std::string(bytes.begin(), bytes.end());
        }
        if (found) ++known;
      }
      if (std::chrono::steady_clock::now() >= end) break;
      if (known < world_size_) std::this_thread::sleep_for(kLookAgain);
    }
  } catch (const std::exception&) {
    return "Rank 0, which the ranks meet at, is gone: it failed first, or its host did.";
  }
  std::vector<int64_t> silent;
  int64_t first = -1;
  int64_t first_order = 0;
  std::string text;
  for (int64_t rank = 0; rank < world_size_; ++rank) {
    const std::optional<std::string>& found = posts[static_cast<size_t>(rank)];
    if (!found) {
      silent.push_back(rank);
      continue;
    }
    const size_t space = found->find(' ');
    const int64_t order = std::stoll(found->substr(0, space));
    if (first >= 0 && order >= first_order) continue;
    first = rank;
    first_order = order;
    text = found->substr(space + 1);
  }
  if (!silent.empty()) {
    return fmt::format("No sign of life from rank {}: dead, or hanging; rank {} {}.",
                       fmt::join(silent, ", "), first, text);
  }
  return fmt::format("Rank {} failed first: it {}.", first, text);
}

void FailureBoard::leave(std::chrono::milliseconds patience) {
  if (has_posted_) return;
  const auto end = std::chrono::steady_clock::now() + patience;
  try {
    int64_t gone = store_->add(kGone, 1);
    while (rank_ == 0 && gone < world_size_ && std::chrono::steady_clock::now() < end) {
      if (store_->check({kCount})) return;
      std::this_thread::sleep_for(kLookAgain);
      gone = store_->add(kGone, 0);
    }
  } catch (const std::exception&) {
    return;  // the store is gone, and with it whoever could be waited for
  }
}

}  // namespace swath::sharding
