#include "sharding/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>

#include "core/files.h"
#include "core/json.h"

namespace swath::sharding {
namespace {

constexpr size_t kMostSpans = 50000;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds_of(const std::vector<TraceSpan>& spans, TraceSpan::Kind kind) {
  double seconds = 0;
  for (const TraceSpan& span : spans) {
    if (span.kind == kind) seconds += span.seconds();
  }
  return seconds;
}

const char* to_text(TraceSpan::Kind kind) {
  switch (kind) {
    case TraceSpan::Kind::kComputation:
      return "computation";
    case TraceSpan::Kind::kWait:
      return "wait";
    case TraceSpan::Kind::kCollective:
      return "collective";
  }
  return "";
}

Json name_of(const char* what, int64_t rank, int64_t track, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", track}, {"args", {{"name", name}}}};
}

}  // namespace

double overlapped_share(const std::vector<TraceSpan>& spans) {
  std::vector<const TraceSpan*> computation;
  for (const TraceSpan& span : spans) {
    if (span.kind == TraceSpan::Kind::kComputation) computation.push_back(&span);
  }
  std::sort(computation.begin(), computation.end(),
            [](const TraceSpan* a, const TraceSpan* b) { return a->begin < b->begin; });
  double total = 0;
  double overlapped = 0;
  for (const TraceSpan& span : spans) {
    if (span.kind != TraceSpan::Kind::kCollective) continue;
    total += span.seconds();
    auto under = std::partition_point(computation.begin(), computation.end(),
                                      [&](const TraceSpan* c) { return c->end <= span.begin; });
    for (; under != computation.end() && (*under)->begin < span.end; ++under) {
      overlapped += std::min(span.end, (*under)->end) - std::max(span.begin, (*under)->begin);
    }
  }
  return total > 0 ? overlapped / total : 0;
}

struct Trace::State {
  mutable std::mutex mutex;
  std::vector<TraceSpan> spans;
  std::vector<size_t> steps;  // where each begins in `spans`
  // What the computation is in.
  std::string name;
  double since = 0;
  bool is_waiting = false;

  void end_current(double time) {
    if (is_waiting) {
      spans.push_back({TraceSpan::Kind::kWait, TraceTrack::kComputation, "WAIT", since, time});
    } else if (!name.empty()) {
      spans.push_back({TraceSpan::Kind::kComputation, TraceTrack::kComputation, name, since, time});
    }
    since = time;
  }
  void forget_old_steps() {
    if (spans.size() <= kMostSpans) return;
    const auto kept = std::lower_bound(steps.begin(), steps.end(), spans.size() / 2);
    const size_t num_forgotten = *kept;
    spans.erase(spans.begin(), spans.begin() + static_cast<std::ptrdiff_t>(num_forgotten));
    steps.erase(steps.begin(), kept);
    for (size_t& step : steps) step -= num_forgotten;
  }
};

Trace::Trace() : state_(std::make_unique<State>()) {}
Trace::~Trace() = default;

void Trace::begin_step() {
  std::lock_guard lock(state_->mutex);
  state_->steps.push_back(state_->spans.size());
  state_->forget_old_steps();
}

void Trace::compute(const std::string& name) {
  std::lock_guard lock(state_->mutex);
  state_->end_current(now());
  state_->is_waiting = false;
  state_->name = name;
}

void Trace::begin_wait() {
  std::lock_guard lock(state_->mutex);
  state_->end_current(now());
  state_->is_waiting = true;
}

void Trace::end_wait() {
  std::lock_guard lock(state_->mutex);
  state_->end_current(now());
  state_->is_waiting = false;
}

void Trace::add(TraceSpan span) {
  std::lock_guard lock(state_->mutex);
  state_->spans.push_back(std::move(span));
}

void Trace::clear() {
  std::lock_guard lock(state_->mutex);
  state_->spans.clear();
  state_->steps.clear();
}

std::vector<TraceSpan> Trace::spans() const {
  std::lock_guard lock(state_->mutex);
  return state_->spans;
}

void Trace::write(const std::filesystem::path& path, int64_t rank) const {
  const std::vector<TraceSpan> found = spans();
  Json events = Json::array();
  events.push_back(name_of("process_name", rank, 0, fmt::format("rank {}", rank)));
  for (const auto& [track, name] : {std::pair{TraceTrack::kComputation, "computation"},
                                    std::pair{TraceTrack::kGathers, "gather lane"},
                                    std::pair{TraceTrack::kReductions, "reduction lane"}}) {
    events.push_back(name_of("thread_name", rank, static_cast<int64_t>(track), name));
  }
  for (const TraceSpan& span : found) {
    events.push_back({{"name", span.name},
                      {"cat", to_text(span.kind)},
                      {"ph", "X"},
                      {"pid", rank},
                      {"tid", static_cast<int64_t>(span.track)},
                      {"ts", span.begin * 1e6},
                      {"dur", span.seconds() * 1e6}});
  }
  const Json trace = {{"displayTimeUnit", "ms"},
                      {"otherData",
                       {{"overlapped_communication", overlapped_share(found)},
                        {"communication_seconds", seconds_of(found, TraceSpan::Kind::kCollective)},
                        {"computation_seconds", seconds_of(found, TraceSpan::Kind::kComputation)},
                        {"waiting_seconds", seconds_of(found, TraceSpan::Kind::kWait)}}},
                      {"traceEvents", std::move(events)}};
  write_file_atomically(path, trace.dump() + "\n");
}

TracedCollective::TracedCollective(Trace* trace, TraceTrack track, const std::string& label)
    : trace_(trace) {
  if (trace_ == nullptr) return;
  span_ = {TraceSpan::Kind::kCollective, track, label, now(), 0};
}

TracedCollective::~TracedCollective() {
  if (trace_ == nullptr) return;
  span_.end = now();
  trace_->add(std::move(span_));
}

}  // namespace swath::sharding
