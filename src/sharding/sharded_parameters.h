// The sharding engine: a module's parameters held by many ranks under any strategy.
//
// It carries out what core/shard_schedule says, at the places where the model meets it: around
// every unit's forward through the UnitRunner, before its backward through a hook on its output,
// after it when the last of its gradients has arrived. Gathers and reductions run on lanes of their
// own, beside the computation.
//
// Contract: the same units in the same order on every rank and in every micro-batch. Losses are
// weighted by the caller so that their sum over ranks and micro-batches is the loss of the step:
// gradients are summed, never divided.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/shard_schedule.h"
#include "core/strategy.h"
#include "sharding/communicator.h"
#include "sharding/options.h"
#include "sharding/parameters.h"
#include "sharding/trace.h"

namespace torch::nn {
class Module;
}

namespace swath::sharding {

struct ShardedOptions {
  at::ScalarType compute_dtype = at::kFloat;
  at::ScalarType reduce_dtype = at::kFloat;  // of gradients while they are summed over ranks
  int64_t accumulation = 1;                  // micro-batches per step
  // false: gradients are kept whole until the last micro-batch, and summed over ranks once.
  bool reduce_every_micro_batch = true;
  bool activation_checkpointing = false;
  // Consecutive blocks are joined until a unit has so many elements; 0: one block each.
  int64_t least_unit_numel = 0;
  c10::Device device = at::kCPU;  // where everything is put, wherever the module lies
  bool check_replicas = false;    // compare what replicas start with
  bool records_events = false;    // for tests: keeps what was done in what order
  // On a CPU: where trace_rank_NNNNN.json is written when the object ends. Empty: no trace.
  std::filesystem::path trace_directory;
};

// As a recipe says it; accumulation and checkpointing are the caller's.
ShardedOptions sharded_options(const ShardingOptions& options, at::ScalarType compute_dtype,
                               c10::Device device);

// Blocks that form one unit. The root comes first.
struct UnitMembers {
  ScheduleUnit unit;
  std::vector<std::string> blocks;           // names of UnitSpecs, in forward order
  std::vector<std::string> parameter_names;  // as unit.parameter_numels
};
// Trainable parameters only. Throws Error for a spec whose root is not the first unit.
std::vector<UnitMembers> divide_into_units(const ModelSpec& spec, int64_t least_unit_numel);

class ShardedParameters final : public Parameters {
 public:
  // `groups` outlives the object. All ranks construct it alike, with the same weights in `module`
  // or from `initial_values`, for parameters that have no memory (core/tensor/memory): then no rank
  // ever holds more than its part and one unit. Throws Error when spec and module disagree, and
  // UsageError on check_replicas.
  ShardedParameters(torch::nn::Module& module, const ModelSpec& spec, const Strategy& strategy,
                    ProcessGroups& groups, const ShardedOptions& options,
                    const ParameterRules& rules, const InitialValues& initial_values = {});
  ~ShardedParameters() override;

  void begin_step() override;
  void begin_forward() override;
  UnitRunner& runner() override;
  void backward(const at::Tensor& loss) override;

  std::vector<ParamView>& views() override;
  const std::vector<std::pair<std::string, at::Tensor>>& named_frozen() const override;
  void publish() override;

  int64_t rank() const override;
  int64_t world_size() const override;
  int64_t replica() const override;
  int64_t replicas() const override;
  void sum_over_ranks(at::Tensor& values) override;
  at::Tensor local_gradient_check() const override;
  double exposed_seconds() const override;

  const Strategy& strategy() const;
  const std::vector<ScheduleUnit>& schedule_units() const;
  // Since begin_step(), with records_events: gathers, frees and reductions, and each block's
  // forward and backward.
  const std::vector<StepEvent>& recorded_events() const;
  // Null without trace_directory.
  Trace* trace();

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace swath::sharding
