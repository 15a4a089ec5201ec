#include "core/shard_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace swath {
namespace {

constexpr int kMostGatheredBlocks = 2;

const char* name_of(StepEventKind kind) {
  switch (kind) {
    case StepEventKind::kWaitUpdate:
      return "WAIT_UPDATE";
    case StepEventKind::kLimitWait:
      return "LIMIT_WAIT";
    case StepEventKind::kAllGather:
      return "ALL_GATHER";
    case StepEventKind::kWaitGather:
      return "WAIT_GATHER";
    case StepEventKind::kForward:
      return "FORWARD";
    case StepEventKind::kRecompute:
      return "RECOMPUTE";
    case StepEventKind::kBackward:
      return "BACKWARD";
    case StepEventKind::kFree:
      return "FREE";
    case StepEventKind::kReduceScatter:
      return "REDUCE_SCATTER";
    case StepEventKind::kAllReduce:
      return "ALL_REDUCE";
    case StepEventKind::kWaitReductions:
      return "WAIT_REDUCTIONS";
    case StepEventKind::kOptimizer:
      return "OPTIMIZER";
  }
  return "?";
}

// The order in which whole gradients become complete.
std::vector<int> backward_order(const std::vector<ScheduleUnit>& units) {
  std::vector<int> order;
  for (int unit = static_cast<int>(units.size()) - 1; unit >= 0; --unit) order.push_back(unit);
  std::stable_partition(order.begin(), order.end(),
                        [&](int unit) { return !units[static_cast<size_t>(unit)].is_root; });
  return order;
}

void check_units(const std::vector<ScheduleUnit>& units) {
  for (size_t i = 0; i < units.size(); ++i) {
    if (units[i].is_root && i != 0) {
      throw Error(fmt::format("sharding: the root unit {} is number {} of {} units, not the first.",
                              units[i].name, i, units.size()));
    }
    const auto& numels = units[i].parameter_numels;
    if (numels.empty() || *std::min_element(numels.begin(), numels.end()) < 1) {
      throw Error(fmt::format("sharding: unit {} has no or empty parameters.", units[i].name),
                  "join it to another unit.");
    }
  }
  if (units.empty()) throw Error("sharding: a model without units.");
}

// Sent by one of `num_ranks` in a ring.
int64_t ring_bytes(int64_t bytes, int64_t num_ranks) { return bytes * (num_ranks - 1) / num_ranks; }

}  // namespace

int64_t ScheduleUnit::numel() const {
  return std::accumulate(parameter_numels.begin(), parameter_numels.end(), int64_t{0});
}

std::string to_text(const StepEvent& event, const std::vector<ScheduleUnit>& units) {
  std::string text = name_of(event.kind);
  if (event.unit >= 0) text += " " + units[static_cast<size_t>(event.unit)].name;
  if (event.bucket >= 0) text += fmt::format(" bucket {}", event.bucket);
  return text;
}

std::vector<GradientBucket> assign_buckets(const std::vector<ScheduleUnit>& units,
                                           const Strategy& strategy, int64_t element_bytes) {
  std::vector<GradientBucket> buckets;
  bool is_open = false;
  for (const int unit : backward_order(units)) {
    const auto& numels = units[static_cast<size_t>(unit)].parameter_numels;
    for (int parameter = static_cast<int>(numels.size()) - 1; parameter >= 0; --parameter) {
      if (!is_open) buckets.emplace_back();
      GradientBucket& bucket = buckets.back();
      bucket.pieces.push_back({unit, parameter});
      bucket.numel += numels[static_cast<size_t>(parameter)];
      const int64_t size =
          buckets.size() == 1 ? strategy.first_bucket_bytes : strategy.bucket_bytes;
      is_open = bucket.numel * element_bytes < size;
    }
  }
  return buckets;
}

UnitScheduler::UnitScheduler(std::vector<ScheduleUnit> units, const Strategy& strategy,
                             const ScheduleOptions& options)
    : units_(std::move(units)), strategy_(strategy), options_(options) {
  check_units(units_);
  if (options_.accumulation < 1) {
    throw Error(fmt::format("sharding: {} micro-batches per step.", options_.accumulation));
  }
  if (units_.front().is_root) root_ = 0;
  if (strategy_.reduces_in_buckets) {
    buckets_ = assign_buckets(units_, strategy_, options_.reduce_element_bytes);
  }
  phases_.assign(units_.size(), Phase::kIdle);
  is_gathered_.assign(units_.size(), false);
  is_awaited_.assign(units_.size(), false);
}

bool UnitScheduler::reduces() const {
  return options_.reduce_every_micro_batch || micro_batch_ + 1 == options_.accumulation;
}

// FSDP1 keeps units that are kept after forward also after a backward without reduction: the next
// micro-batch then needs no gather.
bool UnitScheduler::frees_in_backward() const {
  return strategy_.reshard_after_forward || reduces();
}

void UnitScheduler::expect(int unit, Phase phase, Phase next, const char* what) {
  if (!is_running_ || unit < 0 || unit >= static_cast<int>(units_.size()) || unit == root_ ||
      phases_[static_cast<size_t>(unit)] != phase) {
    const bool is_known = unit >= 0 && unit < static_cast<int>(units_.size());
    throw Error(fmt::format("sharding: {} of unit {} out of turn in micro-batch {}.", what,
                            is_known ? units_[static_cast<size_t>(unit)].name
                                     : fmt::format("number {}", unit),
                            micro_batch_),
                "every unit runs once per micro-batch, forward and backward.");
  }
  phases_[static_cast<size_t>(unit)] = next;
}

void UnitScheduler::add(StepEventKind kind, int unit) {
  StepEvent event;
  event.kind = kind;
  event.unit = unit;
  event.micro_batch = static_cast<int>(micro_batch_);
  events_.push_back(event);
}

std::vector<StepEvent> UnitScheduler::take_events() { return std::exchange(events_, {}); }

void UnitScheduler::gather(int unit) {
  if (!strategy_.is_sharded() || is_gathered_[static_cast<size_t>(unit)]) return;
  is_gathered_[static_cast<size_t>(unit)] = true;
  if (unit != root_) {
    while (strategy_.limit_all_gathers && !pending_frees_.empty() &&
           num_held_ + static_cast<int>(pending_frees_.size()) >= kMostGatheredBlocks) {
      add(StepEventKind::kLimitWait, pending_frees_.front().unit);
      events_.back().free = pending_frees_.front().free;
      pending_frees_.pop_front();
    }
    ++num_held_;
  }
  add(StepEventKind::kAllGather, unit);
}

void UnitScheduler::wait_for_gather(int unit) {
  if (!is_gathered_[static_cast<size_t>(unit)] || is_awaited_[static_cast<size_t>(unit)]) return;
  is_awaited_[static_cast<size_t>(unit)] = true;
  add(StepEventKind::kWaitGather, unit);
}

// A unit that comes next and is not the root, which stays gathered anyway.
void UnitScheduler::prefetch(int unit) {
  if (unit >= 0 && unit < static_cast<int>(units_.size()) && unit != root_) gather(unit);
}

void UnitScheduler::free(int unit) {
  if (!is_gathered_[static_cast<size_t>(unit)]) return;
  is_gathered_[static_cast<size_t>(unit)] = false;
  is_awaited_[static_cast<size_t>(unit)] = false;
  add(StepEventKind::kFree, unit);
  events_.back().free = num_freed_++;
  if (unit == root_) return;
  --num_held_;
  pending_frees_.push_back({unit, events_.back().free});
}

void UnitScheduler::reduce(int unit) {
  if (!reduces()) return;
  if (strategy_.is_sharded()) add(StepEventKind::kReduceScatter, unit);
  if (!strategy_.is_replicated()) return;
  if (!strategy_.reduces_in_buckets) {
    add(StepEventKind::kAllReduce, unit);
    return;
  }
  // In the order of the buckets, so that all ranks agree.
  const auto is_ready = [&](const GradientBucket::Piece& piece) {
    return phases_[static_cast<size_t>(piece.unit)] == Phase::kDone;
  };
  for (; next_bucket_ < static_cast<int>(buckets_.size()); ++next_bucket_) {
    const auto& pieces = buckets_[static_cast<size_t>(next_bucket_)].pieces;
    if (!std::all_of(pieces.begin(), pieces.end(), is_ready)) break;
    add(StepEventKind::kAllReduce, -1);
    events_.back().bucket = next_bucket_;
  }
}

std::vector<StepEvent> UnitScheduler::begin_forward() {
  if (is_running_) throw Error("sharding: a forward pass begins before the last one's backward.");
  is_running_ = true;
  std::fill(phases_.begin(), phases_.end(), Phase::kIdle);
  next_bucket_ = 0;
  if (micro_batch_ == 0) num_freed_ = 0;
  if (strategy_.is_sharded()) {
    add(StepEventKind::kWaitUpdate, -1);
    pending_frees_.clear();  // all of them lie before what is waited for
  }
  if (root_ >= 0) {
    gather(root_);
    wait_for_gather(root_);
    if (strategy_.forward_prefetch) prefetch(root_ + 1);
  }
  return take_events();
}

std::vector<StepEvent> UnitScheduler::before_forward(int unit) {
  expect(unit, Phase::kIdle, Phase::kForward, "forward");
  gather(unit);
  wait_for_gather(unit);
  if (strategy_.forward_prefetch) prefetch(unit + 1);
  return take_events();
}

std::vector<StepEvent> UnitScheduler::after_forward(int unit) {
  expect(unit, Phase::kForward, Phase::kForwardDone, "end of forward");
  if (strategy_.reshard_after_forward) free(unit);
  return take_events();
}

std::vector<StepEvent> UnitScheduler::begin_backward() {
  for (size_t unit = 0; unit < units_.size(); ++unit) {
    if (static_cast<int>(unit) == root_) continue;
    if (phases_[unit] == Phase::kForwardDone) continue;
    throw Error(fmt::format("sharding: backward begins, but unit {} has not run in micro-batch {}.",
                            units_[unit].name, micro_batch_),
                "every unit runs once per micro-batch, on every rank.");
  }
  if (strategy_.backward_prefetch == BackwardPrefetch::kPre) {
    prefetch(static_cast<int>(units_.size()) - 1);
  }
  return take_events();
}

std::vector<StepEvent> UnitScheduler::before_backward(int unit) {
  expect(unit, Phase::kForwardDone, Phase::kBackward, "backward");
  gather(unit);
  wait_for_gather(unit);
  if (strategy_.backward_prefetch == BackwardPrefetch::kPre) prefetch(unit - 1);
  return take_events();
}

std::vector<StepEvent> UnitScheduler::after_backward(int unit) {
  expect(unit, Phase::kBackward, Phase::kDone, "end of backward");
  if (frees_in_backward()) free(unit);
  if (strategy_.backward_prefetch == BackwardPrefetch::kPost) prefetch(unit - 1);
  reduce(unit);
  return take_events();
}

std::vector<StepEvent> UnitScheduler::end_backward() {
  for (size_t unit = 0; unit < units_.size(); ++unit) {
    if (static_cast<int>(unit) == root_ || phases_[unit] == Phase::kDone) continue;
    throw Error(fmt::format("sharding: backward ends, but unit {} got no gradient in micro-batch "
                            "{}.",
                            units_[unit].name, micro_batch_),
                "every unit takes part in the loss, on every rank.");
  }
  if (root_ >= 0) {
    phases_[static_cast<size_t>(root_)] = Phase::kDone;
    if (frees_in_backward()) free(root_);
    reduce(root_);
  }
  const bool is_last = micro_batch_ + 1 == options_.accumulation;
  if (is_last && strategy_.world_size > 1) add(StepEventKind::kWaitReductions, -1);
  std::vector<StepEvent> events = take_events();
  micro_batch_ = is_last ? 0 : micro_batch_ + 1;
  is_running_ = false;
  return events;
}

std::vector<StepEvent> make_step_schedule(const std::vector<ScheduleUnit>& units,
                                          const Strategy& strategy,
                                          const ScheduleOptions& options) {
  UnitScheduler scheduler(units, strategy, options);
  std::vector<StepEvent> step;
  const auto append = [&](std::vector<StepEvent> events) {
    step.insert(step.end(), events.begin(), events.end());
  };
  const auto compute = [&](StepEventKind kind, int unit) {
    if (unit < 0) return;
    StepEvent event;
    event.kind = kind;
    event.unit = unit;
    event.micro_batch = static_cast<int>(scheduler.micro_batch());
    step.push_back(event);
  };
  const int root = scheduler.root();
  const int num_units = static_cast<int>(units.size());
  for (int64_t i = 0; i < options.accumulation; ++i) {
    append(scheduler.begin_forward());
    compute(StepEventKind::kForward, root);
    for (int unit = root + 1; unit < num_units; ++unit) {
      append(scheduler.before_forward(unit));
      compute(StepEventKind::kForward, unit);
      append(scheduler.after_forward(unit));
    }
    compute(StepEventKind::kForward, root);
    append(scheduler.begin_backward());
    compute(StepEventKind::kBackward, root);
    for (int unit = num_units - 1; unit > root; --unit) {
      append(scheduler.before_backward(unit));
      if (options.activation_checkpointing) compute(StepEventKind::kRecompute, unit);
      compute(StepEventKind::kBackward, unit);
      append(scheduler.after_backward(unit));
    }
    compute(StepEventKind::kBackward, root);
    append(scheduler.end_backward());
  }
  step.push_back({});  // the optimizer
  return step;
}

int64_t padded_numel(const ScheduleUnit& unit, const Strategy& strategy) {
  const int64_t shard = (unit.numel() + strategy.shard_size - 1) / strategy.shard_size;
  return shard * strategy.shard_size;
}

namespace {

// Walks a sequence of events and keeps the books.
class CostMeter {
 public:
  CostMeter(const std::vector<ScheduleUnit>& units, const Strategy& strategy,
            const ElementBytes& bytes)
      : units_(units), strategy_(strategy), bytes_(bytes), has_gradient_(units.size(), false) {}

  void count(const StepEvent& event, const std::vector<GradientBucket>& buckets) {
    switch (event.kind) {
      case StepEventKind::kWaitUpdate:
        pending_frees_ = 0;
        break;
      case StepEventKind::kLimitWait:
        // Frees happen in order, so this one's happening means those before it happened too.
        pending_frees_ = std::min(pending_frees_, num_block_frees_ - block_frees_until(event.free));
        break;
      case StepEventKind::kAllGather:
        hold(event.unit, 1);
        cost_.all_gather_bytes += ring_bytes(gathered_bytes(event.unit), strategy_.shard_size);
        break;
      case StepEventKind::kFree:
        hold(event.unit, -1);
        if (!unit(event.unit).is_root) {
          ++pending_frees_;
          ++num_block_frees_;
        }
        block_frees_until_.push_back(num_block_frees_);
        break;
      case StepEventKind::kBackward:
        if (strategy_.is_sharded() && !has_gradient_[index(event.unit)]) {
          has_gradient_[index(event.unit)] = true;
          gradient_bytes_ += gathered_bytes(event.unit);
        }
        break;
      case StepEventKind::kReduceScatter:
        scatter(event.unit);
        break;
      case StepEventKind::kAllReduce: {
        const int64_t numel =
            event.bucket >= 0 ? buckets[index(event.bucket)].numel
                              : padded_numel(unit(event.unit), strategy_) / strategy_.shard_size;
        cost_.all_reduce_bytes += ring_bytes(2 * numel * bytes_.reduced, strategy_.replicate_size);
        break;
      }
      case StepEventKind::kWaitGather:
      case StepEventKind::kForward:
      case StepEventKind::kRecompute:
      case StepEventKind::kWaitReductions:
      case StepEventKind::kOptimizer:
        break;
    }
    note_peaks(0);
  }

  const ScheduleCost& cost() const { return cost_; }

 private:
  static size_t index(int number) { return static_cast<size_t>(number); }
  const ScheduleUnit& unit(int number) const { return units_[index(number)]; }
  int64_t gathered_bytes(int number) const {
    return padded_numel(unit(number), strategy_) * bytes_.gathered;
  }

  void hold(int number, int count) {
    gathered_units_ += count;
    if (!unit(number).is_root) gathered_blocks_ += count;
    gathered_bytes_ += count * gathered_bytes(number);
  }

  // A gradient of another type is copied into the reduction's before it is given back.
  void scatter(int number) {
    const int64_t reduced = padded_numel(unit(number), strategy_) * bytes_.reduced;
    cost_.reduce_scatter_bytes += ring_bytes(reduced, strategy_.shard_size);
    note_peaks(bytes_.reduced == bytes_.gathered ? 0 : reduced);
    has_gradient_[index(number)] = false;
    gradient_bytes_ -= gathered_bytes(number);
  }

  // How many blocks had been freed with the free of this number and before.
  int64_t block_frees_until(int free) const {
    if (free >= 0 && free < static_cast<int>(block_frees_until_.size())) {
      return block_frees_until_[index(free)];
    }
    throw Error(fmt::format("sharding: a gather waits for free {}, which was not issued.", free));
  }

  void note_peaks(int64_t copy_bytes) {
    const auto raise = [](int64_t* peak, int64_t value) { *peak = std::max(*peak, value); };
    raise(&cost_.peak_gathered_units, gathered_units_);
    raise(&cost_.peak_gathered_blocks, gathered_blocks_);
    raise(&cost_.peak_gathered_bytes, gathered_bytes_);
    raise(&cost_.peak_gradient_bytes, gradient_bytes_ + copy_bytes);
    raise(&cost_.peak_bytes, gathered_bytes_ + gradient_bytes_ + copy_bytes);
    raise(&cost_.peak_blocks_ahead, gathered_blocks_ + pending_frees_);
  }

  const std::vector<ScheduleUnit>& units_;
  const Strategy& strategy_;
  const ElementBytes bytes_;
  ScheduleCost cost_;
  int64_t gathered_units_ = 0;
  int64_t gathered_blocks_ = 0;
  int64_t gathered_bytes_ = 0;
  int64_t gradient_bytes_ = 0;
  int64_t pending_frees_ = 0;
  int64_t num_block_frees_ = 0;
  std::vector<int64_t> block_frees_until_;
  std::vector<bool> has_gradient_;
};

}  // namespace

ScheduleCost cost_of(const std::vector<StepEvent>& events, const std::vector<ScheduleUnit>& units,
                     const Strategy& strategy, const ScheduleOptions& options,
                     const ElementBytes& bytes) {
  std::vector<GradientBucket> buckets;
  if (strategy.reduces_in_buckets) {
    buckets = assign_buckets(units, strategy, options.reduce_element_bytes);
  }
  CostMeter meter(units, strategy, bytes);
  for (const StepEvent& event : events) meter.count(event, buckets);
  return meter.cost();
}

ModelStateBytes model_state_bytes(const std::vector<ScheduleUnit>& units, const Strategy& strategy,
                                  const ElementBytes& bytes, int64_t optimizer_bytes_per_element) {
  constexpr int64_t kFloatBytes = 4;
  int64_t shard_numel = 0;
  for (const ScheduleUnit& unit : units) {
    shard_numel += padded_numel(unit, strategy) / strategy.shard_size;
  }
  ModelStateBytes state;
  state.parameters = shard_numel * kFloatBytes;
  state.gradients = shard_numel * kFloatBytes;
  state.optimizer = shard_numel * optimizer_bytes_per_element;
  if (!strategy.is_sharded() && bytes.gathered != kFloatBytes) {
    state.compute_copies = shard_numel * bytes.gathered;
  }
  return state;
}

}  // namespace swath
