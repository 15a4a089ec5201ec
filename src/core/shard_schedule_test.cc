#include "core/shard_schedule.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "core/error.h"

namespace swath {
namespace {

using testing::HasSubstr;

// U wait for the update, L limit, AG all-gather, W wait for it, F forward, RF again, B backward,
// X free, RS reduce-scatter, AR all-reduce (# of a bucket), WR wait for reductions, OPT optimizer.
std::string short_text(const StepEvent& event, const std::vector<ScheduleUnit>& units) {
  static const std::map<StepEventKind, std::string> names = {
      {StepEventKind::kWaitUpdate, "U"},      {StepEventKind::kLimitWait, "L"},
      {StepEventKind::kAllGather, "AG"},      {StepEventKind::kWaitGather, "W"},
      {StepEventKind::kForward, "F"},         {StepEventKind::kRecompute, "RF"},
      {StepEventKind::kBackward, "B"},        {StepEventKind::kFree, "X"},
      {StepEventKind::kReduceScatter, "RS"},  {StepEventKind::kAllReduce, "AR"},
      {StepEventKind::kWaitReductions, "WR"}, {StepEventKind::kOptimizer, "OPT"}};
  std::string text = names.at(event.kind);
  if (event.unit >= 0) text += ":" + units[static_cast<size_t>(event.unit)].name;
  if (event.bucket >= 0) text += fmt::format("#{}", event.bucket);
  return text;
}

std::vector<ScheduleUnit> root_and_three() {
  return {{"r", {2}, true}, {"a", {8}}, {"b", {2, 2}}, {"c", {2, 2}}};
}

struct Choice {
  StrategyOptions strategy;
  int64_t world_size = 4;
  ScheduleOptions schedule;
  std::vector<ScheduleUnit> units = root_and_three();

  Choice() {
    strategy.limit_all_gathers = false;
    strategy.backward_prefetch = "NONE";
  }
  std::vector<StepEvent> events() const {
    return make_step_schedule(units, make_strategy(strategy, world_size), schedule);
  }
  ScheduleCost cost(const ElementBytes& bytes = {}) const {
    return cost_of(events(), units, make_strategy(strategy, world_size), schedule, bytes);
  }
  std::string order() const {
    std::string text;
    for (const StepEvent& event : events()) {
      text += (text.empty() ? "" : " ") + short_text(event, units);
    }
    return text;
  }
};

Choice choice_of(const std::string& strategy) {
  Choice choice;
  choice.strategy.strategy = strategy;
  return choice;
}

constexpr const char* kForwardFreeing =
    "U AG:r W:r F:r AG:a W:a F:a X:a AG:b W:b F:b X:b AG:c W:c F:c X:c F:r ";

TEST(ShardSchedule, FullShardWithoutPrefetch) {
  EXPECT_EQ(choice_of("FULL_SHARD").order(),
            kForwardFreeing + std::string("B:r AG:c W:c B:c X:c RS:c AG:b W:b B:b X:b RS:b "
                                          "AG:a W:a B:a X:a RS:a B:r X:r RS:r WR OPT"));
}

TEST(ShardSchedule, FullShardBackwardPost) {
  Choice choice = choice_of("FULL_SHARD");
  choice.strategy.backward_prefetch = "BACKWARD_POST";
  EXPECT_EQ(choice.order(),
            kForwardFreeing + std::string("B:r AG:c W:c B:c X:c AG:b RS:c W:b B:b X:b AG:a RS:b "
                                          "W:a B:a X:a RS:a B:r X:r RS:r WR OPT"));
}

TEST(ShardSchedule, FullShardBackwardPre) {
  Choice choice = choice_of("FULL_SHARD");
  choice.strategy.backward_prefetch = "BACKWARD_PRE";
  EXPECT_EQ(choice.order(),
            kForwardFreeing + std::string("AG:c B:r W:c AG:b B:c X:c RS:c W:b AG:a B:b X:b RS:b "
                                          "W:a B:a X:a RS:a B:r X:r RS:r WR OPT"));
}

TEST(ShardSchedule, ForwardPrefetch) {
  Choice choice = choice_of("FULL_SHARD");
  choice.strategy.forward_prefetch = true;
  EXPECT_THAT(choice.order(),
              testing::StartsWith("U AG:r W:r AG:a F:r W:a AG:b F:a X:a W:b AG:c F:b X:b "
                                  "W:c F:c X:c F:r B:r AG:c W:c B:c"));
}

TEST(ShardSchedule, LimitWaitsForFrees) {
  Choice choice = choice_of("FULL_SHARD");
  choice.strategy.limit_all_gathers = true;
  EXPECT_EQ(choice.order(),
            "U AG:r W:r F:r AG:a W:a F:a X:a AG:b W:b F:b X:b L:a AG:c W:c F:c X:c F:r "
            "B:r L:b AG:c W:c B:c X:c RS:c L:c AG:b W:b B:b X:b RS:b L:c AG:a W:a B:a X:a RS:a "
            "B:r X:r RS:r WR OPT");
  choice.strategy.backward_prefetch = "BACKWARD_PRE";
  EXPECT_EQ(choice.order(),
            "U AG:r W:r F:r AG:a W:a F:a X:a AG:b W:b F:b X:b L:a AG:c W:c F:c X:c F:r "
            "L:b AG:c B:r W:c L:c AG:b B:c X:c RS:c W:b L:c AG:a B:b X:b RS:b W:a B:a X:a RS:a "
            "B:r X:r RS:r WR OPT");
  choice.strategy.forward_prefetch = true;
  EXPECT_THAT(choice.order(),
              testing::StartsWith("U AG:r W:r AG:a F:r W:a AG:b F:a X:a W:b L:a AG:c F:b X:b "
                                  "W:c F:c X:c F:r L:b AG:c B:r W:c L:c AG:b B:c"));
}

TEST(ShardSchedule, ShardGradOpGathersOnceAndNeedsNoPrefetch) {
  Choice choice = choice_of("SHARD_GRAD_OP");
  for (const char* prefetch : {"NONE", "BACKWARD_POST", "BACKWARD_PRE"}) {
    choice.strategy.backward_prefetch = prefetch;
    EXPECT_EQ(choice.order(),
              "U AG:r W:r F:r AG:a W:a F:a AG:b W:b F:b AG:c W:c F:c F:r "
              "B:r B:c X:c RS:c B:b X:b RS:b B:a X:a RS:a B:r X:r RS:r WR OPT");
  }
}

TEST(ShardSchedule, NoShardAndHybridOfOneReduceOverAllRanks) {
  for (const char* name : {"NO_SHARD", "HYBRID_1"}) {
    EXPECT_EQ(choice_of(name).order(),
              "F:r F:a F:b F:c F:r B:r B:c AR:c B:b AR:b B:a AR:a B:r AR:r WR OPT");
  }
}

TEST(ShardSchedule, DdpReducesFullBuckets) {
  Choice choice = choice_of("DDP");
  choice.strategy.first_bucket_mib = 16.0 / (1 << 20);
  choice.strategy.bucket_mib = 40.0 / (1 << 20);
  EXPECT_EQ(choice.order(), "F:r F:a F:b F:c F:r B:r B:c AR#0 B:b B:a AR#1 B:r AR#2 WR OPT");
  const auto buckets = assign_buckets(choice.units, make_strategy(choice.strategy, 4), 4);
  ASSERT_EQ(buckets.size(), 3);
  using Piece = GradientBucket::Piece;
  EXPECT_EQ(buckets[0].pieces, (std::vector<Piece>{{3, 1}, {3, 0}}));
  EXPECT_EQ(buckets[1].pieces, (std::vector<Piece>{{2, 1}, {2, 0}, {1, 0}}));
  EXPECT_EQ(buckets[1].numel, 12);
  EXPECT_EQ(buckets[2].pieces, (std::vector<Piece>{{0, 0}}));
}

TEST(ShardSchedule, HybridReducesShardsOverReplicas) {
  Choice choice = choice_of("HYBRID_2");
  EXPECT_THAT(choice.order(), HasSubstr("B:c X:c RS:c AR:c AG:b W:b B:b X:b RS:b AR:b"));
  choice.strategy.strategy = "HYBRID_2_SHARD_GRAD_OP";
  EXPECT_THAT(choice.order(), HasSubstr("F:r B:r B:c X:c RS:c AR:c B:b X:b RS:b AR:b"));
  // Without replicas it is FULL_SHARD.
  choice.strategy.strategy = "HYBRID_4";
  EXPECT_EQ(choice.order(), choice_of("FULL_SHARD").order());
}

TEST(ShardSchedule, CheckpointedUnitsRunAgainWhileGathered) {
  Choice choice = choice_of("FULL_SHARD");
  choice.schedule.activation_checkpointing = true;
  EXPECT_EQ(choice.order(),
            kForwardFreeing + std::string("B:r AG:c W:c RF:c B:c X:c RS:c AG:b W:b RF:b B:b X:b "
                                          "RS:b AG:a W:a RF:a B:a X:a RS:a B:r X:r RS:r WR OPT"));
}

TEST(ShardSchedule, MicroBatchesWithoutReductionKeepTheirGradients) {
  Choice choice = choice_of("FULL_SHARD");
  choice.schedule.accumulation = 2;
  choice.schedule.reduce_every_micro_batch = false;
  const std::string last_backward =
      "B:r AG:c W:c B:c X:c RS:c AG:b W:b B:b X:b RS:b AG:a W:a B:a X:a RS:a B:r X:r RS:r WR OPT";
  EXPECT_EQ(choice.order(), std::string(kForwardFreeing) +
                                "B:r AG:c W:c B:c X:c AG:b W:b B:b X:b AG:a W:a B:a X:a B:r X:r " +
                                kForwardFreeing + last_backward);
  choice.strategy.strategy = "SHARD_GRAD_OP";
  EXPECT_EQ(choice.order(),
            "U AG:r W:r F:r AG:a W:a F:a AG:b W:b F:b AG:c W:c F:c F:r B:r B:c B:b B:a B:r "
            "U F:r F:a F:b F:c F:r B:r B:c X:c RS:c B:b X:b RS:b B:a X:a RS:a B:r X:r RS:r WR OPT");
  choice.strategy.strategy = "NO_SHARD";
  EXPECT_EQ(choice.order(),
            "F:r F:a F:b F:c F:r B:r B:c B:b B:a B:r "
            "F:r F:a F:b F:c F:r B:r B:c AR:c B:b AR:b B:a AR:a B:r AR:r WR OPT");
}

TEST(ShardSchedule, OneRankCommunicatesNothing) {
  for (const char* name : {"DDP", "NO_SHARD", "SHARD_GRAD_OP", "FULL_SHARD", "HYBRID_1"}) {
    Choice choice = choice_of(name);
    choice.world_size = 1;
    EXPECT_EQ(choice.order(), "F:r F:a F:b F:c F:r B:r B:c B:b B:a B:r OPT") << name;
  }
}

TEST(ShardSchedule, TextNamesTheUnit) {
  Choice choice = choice_of("FULL_SHARD");
  EXPECT_EQ(to_text(choice.events()[4], choice.units), "ALL_GATHER a");
  choice.strategy.strategy = "DDP";
  const auto events = choice.events();
  EXPECT_EQ(to_text(events[events.size() - 3], choice.units), "ALL_REDUCE bucket 0");
}

// --- What holds for every choice ---------------------------------------------------------------

// Plays a schedule and fails at the first event that breaks a rule.
class Referee {
 public:
  explicit Referee(const Choice& choice)
      : choice_(choice),
        strategy_(make_strategy(choice.strategy, choice.world_size)),
        units_(choice.units.size()) {
    if (strategy_.reduces_in_buckets) {
      buckets_ = assign_buckets(choice.units, strategy_, choice.schedule.reduce_element_bytes);
    }
  }

  void play() {
    const auto events = choice_.events();
    for (const StepEvent& event : events) {
      SCOPED_TRACE(to_text(event, choice_.units));
      play(event);
      if (testing::Test::HasFailure()) return;
    }
    ASSERT_EQ(events.back().kind, StepEventKind::kOptimizer);
    const int64_t reductions =
        choice_.schedule.reduce_every_micro_batch ? choice_.schedule.accumulation : 1;
    for (const Unit& unit : units_) {
      EXPECT_FALSE(unit.is_gathered);
      EXPECT_FALSE(unit.has_open_gradient);
      EXPECT_EQ(unit.scatters, strategy_.is_sharded() ? reductions : 0);
      EXPECT_EQ(unit.reductions, strategy_.is_replicated() ? reductions : 0);
    }
  }

 private:
  struct Unit {
    bool is_gathered = false;
    bool is_usable = false;
    bool has_open_gradient = false;  // not all of its reductions are issued
    int64_t scatters = 0;
    int64_t reductions = 0;  // all-reduces
    std::set<int> ready_parameters;
    int backward_micro_batch = -1;
    int num_backwards = 0;
  };

  Unit& unit(const StepEvent& event) { return units_.at(static_cast<size_t>(event.unit)); }

  void play(const StepEvent& event) {
    EXPECT_FALSE(is_over_);
    switch (event.kind) {
      case StepEventKind::kAllGather:
        EXPECT_TRUE(strategy_.is_sharded());
        EXPECT_FALSE(unit(event).is_gathered);
        unit(event).is_gathered = true;
        break;
      case StepEventKind::kWaitGather:
        EXPECT_TRUE(unit(event).is_gathered);
        EXPECT_FALSE(unit(event).is_usable);
        unit(event).is_usable = true;
        break;
      case StepEventKind::kForward:
      case StepEventKind::kRecompute:
        EXPECT_EQ(unit(event).is_usable, strategy_.is_sharded());
        break;
      case StepEventKind::kBackward:
        EXPECT_EQ(unit(event).is_usable, strategy_.is_sharded());
        play_backward(event);
        break;
      case StepEventKind::kFree:
        EXPECT_TRUE(unit(event).is_usable);
        EXPECT_EQ(event.free, num_frees_++);
        unit(event).is_gathered = false;
        unit(event).is_usable = false;
        break;
      case StepEventKind::kLimitWait:
        EXPECT_TRUE(strategy_.limit_all_gathers);
        EXPECT_LT(event.free, num_frees_);
        break;
      case StepEventKind::kReduceScatter:
        EXPECT_TRUE(has_whole_gradient(event.unit));
        if (strategy_.is_replicated()) {
          EXPECT_EQ(unit(event).scatters, unit(event).reductions);
        }
        ++unit(event).scatters;
        if (!strategy_.is_replicated()) unit(event).has_open_gradient = false;
        break;
      case StepEventKind::kAllReduce:
        EXPECT_TRUE(strategy_.is_replicated());
        if (event.bucket >= 0) {
          play_bucket(event.bucket);
        } else {
          EXPECT_TRUE(has_whole_gradient(event.unit));
          if (strategy_.is_sharded()) {
            EXPECT_EQ(unit(event).scatters, unit(event).reductions + 1);
          }
          ++unit(event).reductions;
          unit(event).has_open_gradient = false;
        }
        break;
      case StepEventKind::kWaitReductions:
        for (const Unit& each : units_) EXPECT_FALSE(each.has_open_gradient);
        has_waited_ = true;
        break;
      case StepEventKind::kOptimizer:
        EXPECT_EQ(has_waited_, strategy_.world_size > 1);
        is_over_ = true;
        break;
      case StepEventKind::kWaitUpdate:
        break;
    }
  }

  void play_backward(const StepEvent& event) {
    Unit& each = unit(event);
    if (each.backward_micro_batch != event.micro_batch) each.num_backwards = 0;
    each.backward_micro_batch = event.micro_batch;
    ++each.num_backwards;
    each.has_open_gradient = strategy_.world_size > 1;
  }

  // The root's gradient is whole after the second of its two parts.
  bool has_whole_gradient(int number) const {
    const Unit& each = units_[static_cast<size_t>(number)];
    return each.num_backwards == (choice_.units[static_cast<size_t>(number)].is_root ? 2 : 1);
  }

  void play_bucket(int number) {
    ASSERT_EQ(number, next_bucket_);
    next_bucket_ = (next_bucket_ + 1) % static_cast<int>(buckets_.size());
    for (const GradientBucket::Piece& piece : buckets_[static_cast<size_t>(number)].pieces) {
      EXPECT_TRUE(has_whole_gradient(piece.unit));
      Unit& each = units_[static_cast<size_t>(piece.unit)];
      EXPECT_TRUE(each.ready_parameters.insert(piece.parameter).second);
      const auto& numels = choice_.units[static_cast<size_t>(piece.unit)].parameter_numels;
      if (each.ready_parameters.size() < numels.size()) continue;
      each.ready_parameters.clear();
      each.has_open_gradient = false;
      ++each.reductions;
    }
  }

  const Choice& choice_;
  Strategy strategy_;
  std::vector<GradientBucket> buckets_;
  std::vector<Unit> units_;
  int num_frees_ = 0;
  int next_bucket_ = 0;
  bool has_waited_ = false;
  bool is_over_ = false;
};

std::vector<std::vector<ScheduleUnit>> models() {
  std::vector<ScheduleUnit> deep = {{"r", {5, 1}, true}};
  for (int i = 0; i < 7; ++i) deep.push_back({fmt::format("blocks.{}", i), {3, 7, 1 + i}});
  return {root_and_three(),
          {{"a", {3}}, {"b", {5, 4}}},
          {{"r", {3}, true}, {"a", {2}}},
          {{"r", {3}, true}},
          {{"a", {2}}},
          deep};
}

void for_every_choice(const std::function<void(const Choice&)>& check) {
  for (const char* name : {"DDP", "NO_SHARD", "SHARD_GRAD_OP", "FULL_SHARD", "HYBRID_1", "HYBRID_2",
                           "HYBRID_4", "HYBRID_2_SHARD_GRAD_OP"}) {
    for (const char* prefetch : {"NONE", "BACKWARD_POST", "BACKWARD_PRE"}) {
      for (int switches = 0; switches < 16; ++switches) {
        for (const int64_t accumulation : {1, 2, 3}) {
          for (const auto& units : models()) {
            Choice choice = choice_of(name);
            choice.units = units;
            choice.strategy.backward_prefetch = prefetch;
            choice.strategy.forward_prefetch = (switches & 1) != 0;
            choice.strategy.limit_all_gathers = (switches & 2) != 0;
            choice.schedule.reduce_every_micro_batch = (switches & 4) != 0;
            choice.schedule.activation_checkpointing = (switches & 8) != 0;
            choice.schedule.accumulation = accumulation;
            choice.strategy.first_bucket_mib = 16.0 / (1 << 20);
            choice.strategy.bucket_mib = 40.0 / (1 << 20);
            SCOPED_TRACE(fmt::format("{} {} switches {} accumulation {} units {}: {}", name,
                                     prefetch, switches, accumulation, units.size(),
                                     choice.order()));
            check(choice);
            if (testing::Test::HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST(ShardScheduleOfEveryChoice, GathersBeforeUseAndReducesOnce) {
  for_every_choice([](const Choice& choice) { Referee(choice).play(); });
}

TEST(ShardScheduleOfEveryChoice, HoldsTwoBlocksAtMostWhereTheyAreFreed) {
  for_every_choice([](const Choice& choice) {
    const Strategy strategy = make_strategy(choice.strategy, choice.world_size);
    if (!strategy.reshard_after_forward) return;
    const ScheduleCost cost = choice.cost();
    EXPECT_LE(cost.peak_gathered_blocks, 2);
    if (!strategy.limit_all_gathers) return;
    EXPECT_LE(cost.peak_blocks_ahead, 2);
  });
}

// A scheduler lives through many steps: no state of one leaks into the next.
TEST(ShardScheduleOfEveryChoice, EveryStepIsTheSame) {
  for_every_choice([](const Choice& choice) {
    UnitScheduler scheduler(choice.units, make_strategy(choice.strategy, choice.world_size),
                            choice.schedule);
    const auto one_step = [&] {
      std::vector<std::vector<StepEvent>> answers;
      const int first = scheduler.root() + 1;
      const int last = static_cast<int>(choice.units.size()) - 1;
      do {
        answers.push_back(scheduler.begin_forward());
        for (int unit = first; unit <= last; ++unit) {
          answers.push_back(scheduler.before_forward(unit));
          answers.push_back(scheduler.after_forward(unit));
        }
        answers.push_back(scheduler.begin_backward());
        for (int unit = last; unit >= first; --unit) {
          answers.push_back(scheduler.before_backward(unit));
          answers.push_back(scheduler.after_backward(unit));
        }
        answers.push_back(scheduler.end_backward());
      } while (scheduler.micro_batch() != 0);
      return answers;
    };
    const auto first_step = one_step();
    EXPECT_EQ(one_step(), first_step);
  });
}

// --- Memory and traffic --------------------------------------------------------------------------

TEST(ShardScheduleCost, GatheredUnits) {
  Choice choice = choice_of("FULL_SHARD");
  EXPECT_EQ(choice.cost().peak_gathered_units, 2);
  EXPECT_EQ(choice.cost().peak_gathered_bytes, (4 + 8) * 4);  // the root, padded to 4, and a
  EXPECT_EQ(choice.cost().peak_blocks_ahead, 6);              // three forward, three backward
  choice.strategy.backward_prefetch = "BACKWARD_PRE";
  EXPECT_EQ(choice.cost().peak_gathered_units, 3);
  EXPECT_EQ(choice.cost().peak_gathered_blocks, 2);
  EXPECT_EQ(choice.cost().peak_gathered_bytes, (4 + 8 + 4) * 4);
  EXPECT_EQ(choice.cost({.gathered = 2}).peak_gathered_bytes, (4 + 8 + 4) * 2);
  choice.strategy.strategy = "SHARD_GRAD_OP";
  EXPECT_EQ(choice.cost().peak_gathered_bytes, (4 + 8 + 4 + 4) * 4);
  choice.strategy.strategy = "NO_SHARD";
  EXPECT_EQ(choice.cost().peak_bytes, 0);
}

TEST(ShardScheduleCost, WholeGradients) {
  Choice choice = choice_of("FULL_SHARD");
  EXPECT_EQ(choice.cost().peak_gradient_bytes, (4 + 8) * 4);  // the root's, and a's
  // A copy of a's gradient in the type of the reduction.
  EXPECT_EQ(choice.cost({.gathered = 2, .reduced = 4}).peak_gradient_bytes, (4 + 8) * 2 + 8 * 4);
  choice.schedule.accumulation = 2;
  choice.schedule.reduce_every_micro_batch = false;
  EXPECT_EQ(choice.cost().peak_gradient_bytes, (4 + 8 + 4 + 4) * 4);
}

// The FSDP paper's law, with M bytes of model and W ranks: 2M(W-1)/W replicated, 3M(W-1)/W fully
// sharded (the root is gathered once only), inside a shard group alike.
TEST(ShardScheduleCost, BytesSentByARank) {
  const int64_t model = int64_t{4 + 8 + 4 + 4} * 4;
  const int64_t root = int64_t{4} * 4;
  const auto check = [&](const char* name, int64_t gather, int64_t scatter, int64_t reduce) {
    SCOPED_TRACE(name);
    Choice choice = choice_of(name);
    choice.units[0].parameter_numels = {4};
    EXPECT_EQ(choice.cost().all_gather_bytes, gather);
    EXPECT_EQ(choice.cost().reduce_scatter_bytes, scatter);
    EXPECT_EQ(choice.cost().all_reduce_bytes, reduce);
  };
  check("FULL_SHARD", (2 * model - root) * 3 / 4, model * 3 / 4, 0);
  check("SHARD_GRAD_OP", model * 3 / 4, model * 3 / 4, 0);
  check("HYBRID_2", (2 * model - root) / 2, model / 2, model / 2);
  check("NO_SHARD", 0, 0, 2 * model * 3 / 4);
  check("HYBRID_1", 0, 0, 2 * model * 3 / 4);
  check("DDP", 0, 0, 2 * model * 3 / 4);
}

TEST(ShardScheduleCost, ModelStateIsSixteenBytesAnElementOverTheShards) {
  const std::vector<ScheduleUnit> units = {{"r", {6}, true}, {"a", {7}}};
  StrategyOptions options;
  options.strategy = "HYBRID_2";
  EXPECT_EQ(model_state_bytes(units, make_strategy(options, 4), {}, 8).total(), (3 + 4) * 16);
  options.strategy = "NO_SHARD";
  EXPECT_EQ(model_state_bytes(units, make_strategy(options, 4), {}, 8).total(), 13 * 16);
  EXPECT_EQ(model_state_bytes(units, make_strategy(options, 4), {.gathered = 2}, 8).total(),
            13 * 18);
}

// --- Misuse --------------------------------------------------------------------------------------

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(ShardSchedule, MisuseIsNamed) {
  StrategyOptions options;
  options.strategy = "FULL_SHARD";
  const Strategy strategy = make_strategy(options, 2);
  UnitScheduler scheduler(root_and_three(), strategy, {});
  EXPECT_THAT(error_of([&] { scheduler.before_forward(1); }), HasSubstr("unit a out of turn"));
  scheduler.begin_forward();
  EXPECT_THAT(error_of([&] { scheduler.begin_forward(); }), HasSubstr("before the last one's"));
  EXPECT_THAT(error_of([&] { scheduler.before_forward(0); }), HasSubstr("unit r out of turn"));
  EXPECT_THAT(error_of([&] { scheduler.before_forward(9); }), HasSubstr("number 9"));
  scheduler.before_forward(1);
  EXPECT_THAT(error_of([&] { scheduler.before_forward(1); }), HasSubstr("unit a out of turn"));
  scheduler.after_forward(1);
  EXPECT_THAT(error_of([&] { scheduler.begin_backward(); }), HasSubstr("unit b has not run"));
  EXPECT_THAT(error_of([&] { scheduler.end_backward(); }), HasSubstr("unit a got no gradient"));

  const auto build = [&](std::vector<ScheduleUnit> units, int64_t accumulation = 1) {
    return error_of([&] { UnitScheduler(units, strategy, {.accumulation = accumulation}); });
  };
  EXPECT_THAT(build({}), HasSubstr("without units"));
  EXPECT_THAT(build({{"a", {}}}), HasSubstr("unit a has no"));
  EXPECT_THAT(build({{"a", {1}}, {"r", {1}, true}}), HasSubstr("root unit r"));
  EXPECT_THAT(build({{"a", {1}}}, 0), HasSubstr("0 micro-batches"));
}

}  // namespace
}  // namespace swath
