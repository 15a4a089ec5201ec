#include "sharding/trace.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <set>

#include "core/files.h"
#include "core/json.h"
#include "sharding/emulated_network.h"
#include "sharding/sharded_parameters.h"
#include "sharding/silent_groups.h"
#include "sharding/toy_model.h"

namespace swath::sharding {
namespace {

using Kind = TraceSpan::Kind;

TraceSpan span(Kind kind, double begin, double end) {
  return {kind, kind == Kind::kCollective ? TraceTrack::kGathers : TraceTrack::kComputation, "",
          begin, end};
}

TEST(OverlappedShare, IsTheTimeOfCollectivesUnderComputation) {
  EXPECT_EQ(overlapped_share({}), 0);
  EXPECT_EQ(overlapped_share({span(Kind::kComputation, 0, 9)}), 0);
  EXPECT_EQ(overlapped_share({span(Kind::kCollective, 0, 9)}), 0);
  // Two seconds under the first computation, three under the second, three under none.
  EXPECT_DOUBLE_EQ(overlapped_share({span(Kind::kComputation, 6, 9), span(Kind::kCollective, 2, 10),
                                     span(Kind::kComputation, 0, 4)}),
                   5.0 / 8);
  // Inside one, touching others at their ends.
  EXPECT_DOUBLE_EQ(
      overlapped_share({span(Kind::kComputation, 0, 1), span(Kind::kComputation, 1, 4),
                        span(Kind::kComputation, 4, 5), span(Kind::kCollective, 1, 4)}),
      1);
  // Waiting is no computation.
  EXPECT_EQ(overlapped_share({span(Kind::kWait, 0, 4), span(Kind::kCollective, 1, 3)}), 0);
  // Beside each other each counts: 4 of 4 and 2 of 6.
  EXPECT_DOUBLE_EQ(overlapped_share({span(Kind::kComputation, 0, 4), span(Kind::kCollective, 0, 4),
                                     span(Kind::kCollective, 2, 8)}),
                   0.6);
}

TEST(Trace, WaitsSplitTheComputation) {
  Trace trace;
  trace.compute("FORWARD a");
  trace.begin_wait();
  trace.end_wait();
  trace.compute("BACKWARD a");
  trace.compute({});
  trace.compute("FORWARD b");  // has not ended
  std::vector<std::string> names;
  double end = 0;
  for (const TraceSpan& s : trace.spans()) {
    names.push_back(s.name);
    EXPECT_GE(s.begin, end);
    EXPECT_GE(s.end, s.begin);
    end = s.end;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"FORWARD a", "WAIT", "FORWARD a", "BACKWARD a"}));
}

TEST(Trace, ForgetsWholeStepsFromTheOldest) {
  Trace trace;
  for (int step = 0; step < 9; ++step) {
    trace.begin_step();
    for (int i = 0; i < 10000; ++i) {
      TraceSpan s;
      s.begin = step;
      trace.add(s);
    }
  }
  const std::vector<TraceSpan> spans = trace.spans();
  ASSERT_EQ(spans.size() % 10000, 0);
  ASSERT_LE(spans.size(), 60000);
  ASSERT_GE(spans.size(), 30000);
  EXPECT_EQ(spans.back().begin, 8);
  EXPECT_EQ(spans.front().begin, 9 - static_cast<double>(spans.size()) / 10000);
}

class TraceOfAStep : public ::testing::Test {
 protected:
  // Rank 1 of four posed as alone, one step; the events are what the engine was told to do.
  void run(const std::string& strategy) {
    directory_ = std::filesystem::path(::testing::TempDir()) /
                 ("swath-trace-" + std::to_string(getpid()) + "-" + strategy);
    EmulatedNetworkOptions network;
    network.ranks_per_node = 1;
    network.across_latency_us = 500;
    const auto groups = make_emulated_groups(make_silent_groups(1, 4), network);
    StrategyOptions options;
    options.strategy = strategy;
    ShardedOptions sharded;
    sharded.records_events = true;
    sharded.trace_directory = directory_;
    {
      ToyModel model;
      ShardedParameters parameters(model, model.spec(), make_strategy(options, 4), *groups, sharded,
                                   {});
      ToyRun once;
      once.steps = 1;
      train_toy(model, parameters, once);
      events_ = parameters.recorded_events();
      units_ = parameters.schedule_units();
      spans_ = parameters.trace()->spans();
    }
    file_ = Json::parse(read_file(directory_ / "trace_rank_00001.json"));
    std::filesystem::remove_all(directory_);
  }

  // How often each collective and each unit's computation was asked for.
  std::map<std::string, int> expected() const {
    std::map<std::string, int> counts;
    for (const StepEvent& event : events_) {
      if (event.kind == StepEventKind::kAllGather || event.kind == StepEventKind::kReduceScatter ||
          event.kind == StepEventKind::kAllReduce || event.kind == StepEventKind::kForward ||
          event.kind == StepEventKind::kBackward) {
        ++counts[to_text(event, units_)];
      }
    }
    return counts;
  }
  int count(const std::string& name) const {
    int found = 0;
    for (const TraceSpan& s : spans_) found += s.name == name ? 1 : 0;
    return found;
  }

  std::filesystem::path directory_;
  std::vector<StepEvent> events_;
  std::vector<ScheduleUnit> units_;
  std::vector<TraceSpan> spans_;
  Json file_;
};

TEST_F(TraceOfAStep, HasASpanOfEveryCollectiveAndEveryUnit) {
  for (const char* strategy : {"FULL_SHARD", "HYBRID_2", "DDP"}) {
    run(strategy);
    ASSERT_GE(expected().size(), 9U) << strategy;
    for (const auto& [name, times] : expected()) EXPECT_EQ(count(name), times) << name;
    EXPECT_EQ(count("sum over ranks"), 1);
    EXPECT_GE(count("FORWARD root"), 2);  // before and after the blocks
    EXPECT_GE(count("BACKWARD root"), 2);
    for (const TraceSpan& s : spans_) {
      const bool is_gather = s.name.starts_with("ALL_GATHER");
      const bool is_reduction =
          s.name.starts_with("REDUCE_SCATTER") || s.name.starts_with("ALL_REDUCE");
      EXPECT_EQ(s.track == TraceTrack::kGathers, is_gather) << s.name;
      EXPECT_EQ(s.track == TraceTrack::kReductions, is_reduction) << s.name;
      if (s.kind == Kind::kCollective) {
        EXPECT_GE(s.seconds(), 499e-6) << s.name;
      }
    }
  }
}

TEST_F(TraceOfAStep, LanesAndComputationAreEachInOrder) {
  run("FULL_SHARD");
  std::map<TraceTrack, double> end;
  for (const TraceSpan& s : spans_) {
    EXPECT_GE(s.begin, end[s.track]) << s.name;
    end[s.track] = s.end;
  }
  // The root's gather and one of each block, with nothing computed meanwhile.
  double waited = 0;
  for (const TraceSpan& s : spans_) waited += s.kind == Kind::kWait ? s.seconds() : 0;
  EXPECT_GT(waited, 5 * 500e-6);
}

TEST_F(TraceOfAStep, IsWrittenAsChromeReadsIt) {
  run("FULL_SHARD");
  size_t num_complete = 0;
  std::set<std::string> tracks;
  for (const Json& event : file_.at("traceEvents")) {
    EXPECT_EQ(event.at("pid"), 1);
    if (event.at("ph") == "M") {
      tracks.insert(event.at("args").at("name").get<std::string>());
      continue;
    }
    ASSERT_EQ(event.at("ph"), "X");
    const TraceSpan& s = spans_.at(num_complete++);
    EXPECT_EQ(event.at("name"), s.name);
    EXPECT_EQ(event.at("tid"), static_cast<int>(s.track));
    EXPECT_DOUBLE_EQ(event.at("ts").get<double>(), s.begin * 1e6);
    EXPECT_DOUBLE_EQ(event.at("dur").get<double>(), s.seconds() * 1e6);
  }
  EXPECT_EQ(num_complete, spans_.size());
  EXPECT_EQ(tracks,
            (std::set<std::string>{"rank 1", "computation", "gather lane", "reduction lane"}));
  EXPECT_DOUBLE_EQ(file_.at("otherData").at("overlapped_communication").get<double>(),
                   overlapped_share(spans_));
}

TEST(Trace, IsAbsentUnlessAskedFor) {
  const auto groups = make_silent_groups(0, 2);
  ToyModel model;
  StrategyOptions options;
  options.strategy = "FULL_SHARD";
  ShardedParameters parameters(model, model.spec(), make_strategy(options, 2), *groups, {}, {});
  EXPECT_EQ(parameters.trace(), nullptr);
}

}  // namespace
}  // namespace swath::sharding
