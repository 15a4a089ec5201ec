#include "sharding/flight_recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "core/clock.h"
#include "core/files.h"
#include "core/json.h"

namespace swath::sharding {
namespace {

struct Entry {
  uint64_t number = 0;
  std::string group;
  std::string label;
  int64_t bytes = 0;
  double started = 0;
  double finished = -1;  // under way
};

}  // namespace

struct FlightRecorder::State {
  mutable std::mutex mutex;
  Clock::time_point begin = Clock::now();
  std::vector<Entry> ring;
  uint64_t next = 0;

  double now() const { return seconds_since(begin); }
  // Those still in the ring, oldest first.
  std::vector<Entry> entries() const {
    const uint64_t first = next > ring.size() ? next - ring.size() : 0;
    std::vector<Entry> found;
    for (uint64_t i = first; i < next; ++i) found.push_back(ring[i % ring.size()]);
    return found;
  }
};

FlightRecorder::FlightRecorder(int64_t capacity) : state_(std::make_unique<State>()) {
  state_->ring.resize(static_cast<size_t>(capacity));
}
FlightRecorder::~FlightRecorder() = default;

uint64_t FlightRecorder::start(const std::string& group, const std::string& label, int64_t bytes) {
  std::lock_guard lock(state_->mutex);
  Entry& entry = state_->ring[state_->next % state_->ring.size()];
  entry = {state_->next, group, label, bytes, state_->now(), -1};
  return state_->next++;
}

void FlightRecorder::finish(uint64_t number) {
  std::lock_guard lock(state_->mutex);
  Entry& entry = state_->ring[number % state_->ring.size()];
  if (entry.number == number) entry.finished = state_->now();
}

std::string FlightRecorder::under_way() const {
  std::lock_guard lock(state_->mutex);
  std::string text;
  for (const Entry& entry : state_->entries()) {
    if (entry.finished >= 0) continue;
    if (!text.empty()) text += ", ";
    text += fmt::format("{} ({})", entry.label, entry.group);
  }
  return text;
}

void FlightRecorder::write(const std::filesystem::path& path, int64_t rank) const {
  Json collectives = Json::array();
  {
    std::lock_guard lock(state_->mutex);
    for (const Entry& entry : state_->entries()) {
      Json line = {{"number", entry.number},
                   {"group", entry.group},
                   {"label", entry.label},
                   {"bytes", entry.bytes},
                   {"started", entry.started}};
      if (entry.finished >= 0) line["finished"] = entry.finished;
      collectives.push_back(std::move(line));
    }
  }
  const Json record = {{"rank", rank}, {"collectives", std::move(collectives)}};
  write_file_atomically(path, record.dump(1) + "\n");
}

}  // namespace swath::sharding
