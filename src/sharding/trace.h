// What a rank computed and communicated when, for a picture of what lies under what. On a CPU: the
// computation is the thread of the step, collectives are timed where lanes make them. On a GPU a
// profiler does this.
//
// Times are those of the host's steady clock, so that the files of ranks on one host can be laid
// over each other. A collective lasts from this rank's call to its return: waiting for a rank that
// comes late is part of it. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace swath::sharding {

enum class TraceTrack { kComputation, kGathers, kReductions };

struct TraceSpan {
  enum class Kind { kComputation, kWait, kCollective };
  Kind kind = Kind::kComputation;
  TraceTrack track = TraceTrack::kComputation;
  std::string name;
  double begin = 0;  // seconds
  double end = 0;

  double seconds() const { return end - begin; }
};

// The share of the collectives' time in which this rank computed, collectives beside each other
// counted each; 0 without collectives. Spans of computation do not overlap each other.
double overlapped_share(const std::vector<TraceSpan>& spans);

class Trace {
 public:
  Trace();
  ~Trace();

  // A step begins. Beyond some ten thousand spans the oldest steps are forgotten.
  void begin_step();
  // The computation is now in `name`, until the next call; empty: in nothing that counts.
  void compute(const std::string& name);
  // In between it waits.
  void begin_wait();
  void end_wait();
  void add(TraceSpan span);
  void clear();

  // Those that have ended, in the order in which they did.
  std::vector<TraceSpan> spans() const;
  // Chrome's trace-event format, atomically; "otherData" has "overlapped_communication",
  // "communication_seconds", "computation_seconds" and "waiting_seconds".
  void write(const std::filesystem::path& path, int64_t rank) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A collective, while it exists. Without a trace it does nothing.
class TracedCollective {
 public:
  TracedCollective(Trace* trace, TraceTrack track, const std::string& label);
  ~TracedCollective();
  TracedCollective(const TracedCollective&) = delete;
  TracedCollective& operator=(const TracedCollective&) = delete;

 private:
  Trace* trace_;
  TraceSpan span_;
};

}  // namespace swath::sharding
