// The order of one training step under a strategy: what is gathered, waited for, computed, freed
// and reduced, in the order in which a rank issues it. Free of LibTorch: the sharding engine
// executes these events, the planner simulates them, tests compare both.
//
// UnitScheduler is the rule book. It is asked at the places where a unit's life changes and answers
// with what to do now, in order (FULL_SHARD, no prefetch):
//
//   begin_forward      gather the root
//   before_forward     gather the unit
//   after_forward      free it
//   begin_backward     prefetch the last unit, if asked for
//   before_backward    gather the unit
//   after_backward     free it, reduce its gradient
//   end_backward       free the root, reduce its gradient, wait for all reductions
//
// The engine calls it from its hooks (core's UnitRunner) and executes the answers;
// `make_step_schedule` calls it in the order of the unit list and adds the computation in between,
// which gives the whole step as one list.
//
// The order is FSDP1's (PyTorch 2.11), with three differences. All-gathers are limited by events on
// the device instead of stopping the host, and held units count as well as freed ones, which makes
// "two units beside the root" a promise. Forward prefetch works from the first step on, because the
// list of units gives the order. A group of one does not communicate, and HYBRID_1 reduces over its
// replicas.
//
// Units run once per micro-batch, forward and backward. The root (what is left around the blocks)
// stays gathered from the first to the last computation of a micro-batch; its computation stands
// before and after the blocks, in both directions.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "core/strategy.h"

namespace swath {

// A part of the model that is gathered, run and freed as one, as the schedule sees it. Units are
// listed in the order of the forward pass, the root first.
struct ScheduleUnit {
  std::string name;
  std::vector<int64_t> parameter_numels;  // elements of each parameter, in their order in the unit
  bool is_root = false;

  int64_t numel() const;
};

enum class StepEventKind {
  kWaitUpdate,      // gathers wait for all computation so far: the update of the parameters
  kLimitWait,       // the next gather waits for the free number `free`, of unit `unit`
  kAllGather,       // of the unit, over the shard group
  kWaitGather,      // computation waits for the unit's gather
  kForward,         // the unit computes
  kRecompute,       // its forward again, for checkpointed activations
  kBackward,        // its gradients
  kFree,            // the gathered unit is given back once computation is through with it
  kReduceScatter,   // of the unit's gradient, over the shard group
  kAllReduce,       // of the unit's gradient (its shard, if sharded) or a bucket, over the replicas
  kWaitReductions,  // computation waits for all reductions
  kOptimizer,
};

struct StepEvent {
  StepEventKind kind = StepEventKind::kOptimizer;
  int unit = -1;    // index into the units
  int bucket = -1;  // kAllReduce under DDP: index into the buckets, and no unit
  int free = -1;    // kFree: its number within the step, from 0; kLimitWait: the one waited for
  int micro_batch = -1;  // -1 for kOptimizer, which belongs to none

  bool operator==(const StepEvent&) const = default;
};

// "ALL_GATHER blocks.3", "ALL_REDUCE bucket 2".
std::string to_text(const StepEvent& event, const std::vector<ScheduleUnit>& units);

// Gradients that DDP reduces together, filled in the order in which they become ready: units from
// last to first with the root at the end, parameters of a unit from last to first.
struct GradientBucket {
  struct Piece {
    int unit = 0;
    int parameter = 0;
    bool operator==(const Piece&) const = default;
  };
  std::vector<Piece> pieces;
  int64_t numel = 0;
};
// A bucket is closed by the parameter that brings it to its size, so that none is split.
std::vector<GradientBucket> assign_buckets(const std::vector<ScheduleUnit>& units,
                                           const Strategy& strategy, int64_t element_bytes);

struct ScheduleOptions {
  int64_t accumulation = 1;              // micro-batches per step
  bool reduce_every_micro_batch = true;  // false: gradients are summed unsharded until the last one
  bool activation_checkpointing = false;
  int64_t reduce_element_bytes = 4;  // of reduced gradients, for the size of buckets
};

class UnitScheduler {
 public:
  // Throws Error for a unit without parameters, a root that is not the first unit, no micro-batch.
  UnitScheduler(std::vector<ScheduleUnit> units, const Strategy& strategy,
                const ScheduleOptions& options);

  // What to do at each place of a micro-batch, in order. The blocks' calls take the index of a unit
  // that is not the root. Each throws Error when it comes out of turn: a unit twice, a backward
  // without forward, an end with units that have not run.
  std::vector<StepEvent> begin_forward();
  std::vector<StepEvent> before_forward(int unit);
  std::vector<StepEvent> after_forward(int unit);
  std::vector<StepEvent> begin_backward();
  std::vector<StepEvent> before_backward(int unit);
  std::vector<StepEvent> after_backward(int unit);
  // Reduces the root; in the last micro-batch also waits for all reductions, and the next
  // begin_forward starts a new step.
  std::vector<StepEvent> end_backward();

  const std::vector<ScheduleUnit>& units() const { return units_; }
  const std::vector<GradientBucket>& buckets() const { return buckets_; }
  int root() const { return root_; }  // -1: none
  int64_t micro_batch() const { return micro_batch_; }
  // Whether this micro-batch's gradients are reduced.
  bool reduces() const;

 private:
  enum class Phase { kIdle, kForward, kForwardDone, kBackward, kDone };

  void expect(int unit, Phase phase, Phase next, const char* what);
  void add(StepEventKind kind, int unit);
  void gather(int unit);
  void wait_for_gather(int unit);
  void prefetch(int unit);
  void free(int unit);
  void reduce(int unit);
  bool frees_in_backward() const;
  std::vector<StepEvent> take_events();

  std::vector<ScheduleUnit> units_;
  Strategy strategy_;
  ScheduleOptions options_;
  std::vector<GradientBucket> buckets_;
  int root_ = -1;

  int64_t micro_batch_ = 0;
  bool is_running_ = false;  // between begin_forward and end_backward
  std::vector<Phase> phases_;
  std::vector<bool> is_gathered_;
  std::vector<bool> is_awaited_;  // a gather that computation already waits for
  int num_held_ = 0;              // gathered units beside the root
  int num_freed_ = 0;
  int next_bucket_ = 0;
  struct PendingFree {
    int unit;
    int free;
  };
  std::deque<PendingFree> pending_frees_;  // of blocks; no gather has waited for them yet
  std::vector<StepEvent> events_;
};

// The whole step: every micro-batch's computation in the order of the list, what UnitScheduler
// answers around it, and the optimizer.
std::vector<StepEvent> make_step_schedule(const std::vector<ScheduleUnit>& units,
                                          const Strategy& strategy, const ScheduleOptions& options);

// Elements of a unit, padded on the right so that the shard group divides them.
int64_t padded_numel(const ScheduleUnit& unit, const Strategy& strategy);

struct ElementBytes {
  int64_t gathered = 4;  // parameters as they compute, and their gradients
  int64_t reduced = 4;   // gradients while they are reduced
};

// What a sequence of events needs beside the model state, on one rank.
struct ScheduleCost {
  // Memory when every event takes place in order, as on a CPU.
  int64_t peak_gathered_units = 0;
  int64_t peak_gathered_blocks = 0;  // units beside the root
  int64_t peak_gathered_bytes = 0;
  int64_t peak_gradient_bytes = 0;  // whole gradients of sharded units, until they are scattered
  int64_t peak_bytes = 0;           // both together
  // The same blocks when the host runs ahead of the device as far as it can: memory counts until a
  // gather has waited for its free. This is what limit_all_gathers bounds.
  int64_t peak_blocks_ahead = 0;
  // Sent by one rank per step, with ring algorithms: (p - 1) / p of the bytes for a gather or
  // scatter over p ranks, twice that for an all-reduce.
  int64_t all_gather_bytes = 0;
  int64_t reduce_scatter_bytes = 0;
  int64_t all_reduce_bytes = 0;
};
ScheduleCost cost_of(const std::vector<StepEvent>& events, const std::vector<ScheduleUnit>& units,
                     const Strategy& strategy, const ScheduleOptions& options,
                     const ElementBytes& bytes);

// What a rank holds all the time, in bytes: float32 parameters, gradients and optimizer state of
// its shard, and, where units are not gathered, the copies that compute in another type. Memory of
// the model = total() + ScheduleCost::peak_bytes; activations come on top.
struct ModelStateBytes {
  int64_t parameters = 0;
  int64_t gradients = 0;
  int64_t optimizer = 0;
  int64_t compute_copies = 0;
  int64_t total() const { return parameters + gradients + optimizer + compute_copies; }
};
ModelStateBytes model_state_bytes(const std::vector<ScheduleUnit>& units, const Strategy& strategy,
                                  const ElementBytes& bytes, int64_t optimizer_bytes_per_element);

}  // namespace swath
