#include "sharding/sharded_parameters.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/tensor/memory.h"
#include "sharding/forwarding_groups.h"
#include "sharding/local_parameters.h"
#include "sharding/silent_groups.h"
#include "sharding/thread_groups.h"
#include "sharding/toy_cases.h"
#include "sharding/toy_outcome.h"

namespace swath::sharding {
namespace {

ToyCase case_of(const std::string& strategy, int64_t world_size) {
  ToyCase c;
  StrategyOptions options;
  options.strategy = strategy;
  c.strategy = make_strategy(options, world_size);
  return c;
}

TEST(ShardedParameters, TheToyLearnsAndItsUnreachedParameterStays) {
  const ToyOutcome alone = train_alone();
  EXPECT_LT(alone.losses.back(), 0.9 * alone.losses.front());
  ToyModel untrained;
  for (const auto& item : untrained.named_parameters()) {
    if (!item.value().requires_grad()) continue;
    EXPECT_EQ(alone.parameters.at(item.key()).equal(item.value().flatten()),
              item.key() == "block1_unused")
        << item.key();
  }
}

TEST(ShardedParameters, EveryStrategyEqualsOneProcess) {
  const std::map<int64_t, ToyOutcome> alone = train_alone_by_accumulation();
  for (const int64_t world_size : {1, 2, 3, 4}) {
    for (const ToyCase& c : pairwise_cover(world_size)) {
      EXPECT_LE(difference_of(train_with(c), alone.at(c.run.accumulation)), kToyTolerance)
          << c.text();
    }
  }
  for (const char* strategy : {"DDP", "FULL_SHARD", "SHARD_GRAD_OP", "HYBRID_2", "HYBRID_8"}) {
    EXPECT_LE(difference_of(train_with(case_of(strategy, 8)), alone.at(1)), kToyTolerance)
        << strategy;
  }
}

TEST(ShardedParameters, UnevenPartsEqualOneProcess) {
  for (const char* strategy : {"DDP", "FULL_SHARD"}) {
    ToyCase c = case_of(strategy, 3);
    c.run.samples = 20;  // 6, 7 and 7
    EXPECT_LE(difference_of(train_with(c), train_alone(c.run)), kToyTolerance) << c.text();
  }
}

// The three names of full replication are one strategy; each must reduce over all ranks.
TEST(ShardedParameters, ReplicationByAnyNameGivesTheSameBits) {
  const ToyOutcome no_shard = train_with(case_of("NO_SHARD", 4));
  EXPECT_EQ(difference_of(train_with(case_of("HYBRID_1", 4)), no_shard), 0);
  EXPECT_EQ(difference_of(train_with(case_of("DDP", 4)), no_shard), 0);
}

TEST(ShardedParameters, Bfloat16StaysCloseToOneProcess) {
  const ToyOutcome alone = train_alone({}, at::kBFloat16);
  EXPECT_GT(difference_of(alone, train_alone()), 1e-4);  // it does compute in bfloat16
  for (const char* strategy : {"DDP", "NO_SHARD", "SHARD_GRAD_OP", "FULL_SHARD", "HYBRID_2"}) {
    for (const at::ScalarType reduce_dtype : {at::kFloat, at::kBFloat16}) {
      ToyCase c = case_of(strategy, 4);
      c.options.compute_dtype = at::kBFloat16;
      c.options.reduce_dtype = reduce_dtype;
      EXPECT_LE(difference_of(train_with(c), alone), 5e-2)
          << c.text() << " reduced in " << c10::toString(reduce_dtype);
    }
  }
}

// --- a collective broken on purpose is seen

enum class Defect { kNone, kLostReduction, kStaleGather, kShiftedScatter, kGroupOfOne };

class BrokenCommunicator final : public ForwardingCommunicator {
 public:
  BrokenCommunicator(std::unique_ptr<Communicator> sound, std::string name, Defect defect)
      : ForwardingCommunicator(std::move(sound)), name_(std::move(name)), defect_(defect) {}
  void all_gather(const at::Tensor& whole, const at::Tensor& part,
                  const std::string& label) override {
    ForwardingCommunicator::all_gather(whole, part, label);
    if (defect_ != Defect::kStaleGather) return;
    if (old_[label].defined()) whole.narrow(0, 0, part.numel()).copy_(old_[label]);
    old_[label] = whole.narrow(0, 0, part.numel()).clone();
  }
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    if (defect_ == Defect::kShiftedScatter) whole.copy_(whole.roll(1));
    ForwardingCommunicator::reduce_scatter(part, whole, label);
  }
  void all_reduce(const at::Tensor& values, const std::string& label) override {
    const bool is_gradient = name_ == "replicas";
    // As FSDP1's hybrid with a shard group of one: the reduction stays within the group.
    if (defect_ == Defect::kGroupOfOne && is_gradient) return;
    ForwardingCommunicator::all_reduce(values, label);
    if (defect_ == Defect::kLostReduction && is_gradient && label.ends_with("block2")) {
      values.mul_(0.5);
    }
  }

 private:
  std::string name_;
  Defect defect_;
  std::map<std::string, at::Tensor> old_;
};

WrapGroups broken_by(Defect defect) {
  return [defect](ProcessGroups& groups) {
    return std::make_unique<ForwardingGroups>(
        groups, [defect](std::unique_ptr<Communicator> group, const std::string& name) {
          return std::make_unique<BrokenCommunicator>(std::move(group), name, defect);
        });
  };
}

TEST(ShardedParameters, BrokenCollectivesAreSeen) {
  const ToyOutcome alone = train_alone();
  struct Broken {
    const char* strategy;
    Defect defect;
  };
  for (const auto& [strategy, defect] :
       {Broken{"NO_SHARD", Defect::kLostReduction}, Broken{"HYBRID_2", Defect::kLostReduction},
        Broken{"HYBRID_1", Defect::kGroupOfOne}, Broken{"FULL_SHARD", Defect::kStaleGather},
        Broken{"SHARD_GRAD_OP", Defect::kShiftedScatter}}) {
    const ToyCase c = case_of(strategy, 4);
    EXPECT_LE(difference_of(train_with(c, broken_by(Defect::kNone)), alone), kToyTolerance)
        << c.text();
    EXPECT_GT(difference_of(train_with(c, broken_by(defect), false), alone), 100 * kToyTolerance)
        << c.text();
  }
}

// --- order and memory

std::vector<std::string> texts_of(const std::vector<StepEvent>& events,
                                  const std::vector<ScheduleUnit>& units) {
  std::vector<std::string> texts;
  for (const StepEvent& event : events) {
    const bool is_root_computing = event.unit == 0 && (event.kind == StepEventKind::kForward ||
                                                       event.kind == StepEventKind::kBackward);
    if (is_root_computing || event.kind == StepEventKind::kRecompute ||
        event.kind == StepEventKind::kOptimizer) {
      continue;  // not the engine's to record
    }
    texts.push_back(to_text(event, units));
  }
  return texts;
}

// The engine does what the schedule says, in its order: so do the planner's numbers hold.
TEST(ShardedParameters, FollowsTheSchedule) {
  for (ToyCase c : pairwise_cover(4)) {
    c.options.records_events = true;
    const auto groups = make_silent_groups(1, 4);
    ToyModel model;
    ShardedParameters parameters(model, model.spec(), c.strategy, *groups, c.options, {});
    c.run.steps = 2;
    train_toy(model, parameters, c.run);
    ScheduleOptions options;
    options.accumulation = c.options.accumulation;
    options.reduce_every_micro_batch = c.options.reduce_every_micro_batch;
    options.activation_checkpointing = c.options.activation_checkpointing;
    const std::vector<ScheduleUnit>& units = parameters.schedule_units();
    EXPECT_EQ(texts_of(parameters.recorded_events(), units),
              texts_of(make_step_schedule(units, c.strategy, options), units))
        << c.text();
  }
}

TEST(ShardedParameters, AStepCanBeGivenUpAndAnotherBegun) {
  const ToyOutcome alone = train_alone();
  ToyCase c = case_of("FULL_SHARD", 2);
  ThreadHub hub(2);
  run_ranks(hub, [&](ProcessGroups& groups) {
    ToyModel model;
    ShardedParameters parameters(model, model.spec(), c.strategy, groups, c.options, {});
    const ToyData data = ToyData::of_step(0, 4);
    parameters.begin_step();
    parameters.begin_forward();
    model.loss(data.inputs, data.targets, parameters.runner());
    const std::vector<double> losses = train_toy(model, parameters, c.run);
    EXPECT_NEAR(losses.back(), alone.losses.back(), kToyTolerance * alone.losses.back());
  });
}

TEST(ShardedParameters, SaysWhichRankHadANonFiniteGradient) {
  ThreadHub hub(3);
  run_ranks(hub, [&](ProcessGroups& groups) {
    ToyModel model;
    ShardedParameters parameters(model, model.spec(), case_of("FULL_SHARD", 3).strategy, groups, {},
                                 {});
    const ToyData data = ToyData::of_step(0, 4);
    parameters.begin_step();
    parameters.begin_forward();
    const at::Tensor loss = model.loss(data.inputs, data.targets, parameters.runner());
    parameters.backward(groups.rank() == 1 ? loss * INFINITY : loss);
    EXPECT_EQ(std::isfinite(parameters.local_gradient_check().item<float>()), groups.rank() != 1);
    for (const ParamView& view : parameters.views()) {
      EXPECT_FALSE(at::isfinite(view.grad).all().item<bool>());  // every rank's gate closes
    }
  });
}

// A model that fits nowhere whole: its parameters come unit by unit.
TEST(ShardedParameters, WeightsThatHaveNoMemoryYetAreFilledIn) {
  const ToyModel filled;
  const auto values_of = filled.named_parameters();
  ToyOutcome expected;
  for (const auto& item : values_of) {
    if (!item.value().requires_grad()) continue;
    expected.parameters[item.key()] = item.value().detach().flatten();
  }
  for (const char* strategy : {"DDP", "FULL_SHARD", "HYBRID_2"}) {
    const ToyCase c = case_of(strategy, 4);
    ThreadHub hub(4);
    run_ranks(hub, [&](ProcessGroups& groups) {
      ToyModel model;
      for (const auto& item : model.named_parameters()) {
        if (item.value().requires_grad()) release_memory(item.value());
      }
      EXPECT_THROW(ShardedParameters(model, model.spec(), c.strategy, groups, c.options, {}),
                   Error);
      ShardedParameters parameters(model, model.spec(), c.strategy, groups, c.options, {},
                                   [&](const std::string& name, const at::Tensor& values) {
                                     values.copy_(values_of[name]);
                                   });
      EXPECT_EQ(difference_of({{}, with_own_part(parameters, expected.parameters)}, expected), 0)
          << strategy;
    });
  }
}

TEST(ShardedParameters, ReplicasThatStartApartAreRefused) {
  for (const auto& [strategy, has_replicas] :
       {std::pair{"DDP", true}, std::pair{"HYBRID_2", true}, std::pair{"FULL_SHARD", false}}) {
    ToyCase c = case_of(strategy, 4);
    c.options.check_replicas = true;
    for (const bool is_apart : {false, true}) {
      ThreadHub hub(4);
      std::atomic<int> refused = 0;
      run_ranks(hub, [&](ProcessGroups& groups) {
        ToyModel model;
        const at::NoGradGuard no_grad;
        if (is_apart && groups.rank() == 3) model.parameters().back().add_(1e-6);
        try {
          ShardedParameters(model, model.spec(), c.strategy, groups, c.options, {});
        } catch (const UsageError& error) {
          EXPECT_NE(error.message().find("initial weights of rank 3 differ"), std::string::npos)
              << error.message();
          ++refused;
        }
      });
      const int in_its_group = strategy == std::string("DDP") ? 4 : 2;
      EXPECT_EQ(refused, is_apart && has_replicas ? in_its_group : 0) << strategy;
    }
  }
}

TEST(ShardedParameters, AFailingRankEndsTheOthers) {
  ThreadHub hub(4);
  try {
    run_ranks(hub, [&](ProcessGroups& groups) {
      ToyModel model;
      ShardedParameters parameters(model, model.spec(), case_of("FULL_SHARD", 4).strategy, groups,
                                   {}, {});
      if (groups.rank() == 2) throw Error("no more memory.");
      train_toy(model, parameters, {});
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "no more memory.");
  }
}

TEST(ShardedParameters, UnitsAreJoinedUntilTheyAreLargeEnough) {
  const ToyModel model;
  const std::vector<UnitMembers> single = divide_into_units(model.spec(), 0);
  ASSERT_EQ(single.size(), 5u);
  EXPECT_TRUE(single[0].unit.is_root);
  EXPECT_EQ(single[0].parameter_names, (std::vector<std::string>{"embed", "head"}));
  const std::vector<UnitMembers> joined = divide_into_units(model.spec(), 250);
  ASSERT_EQ(joined.size(), 3u);
  EXPECT_EQ(joined[1].unit.name, "block0-block1");
  EXPECT_EQ(joined[1].blocks, (std::vector<std::string>{"block0", "block1"}));
}

}  // namespace
}  // namespace swath::sharding
