#include "sharding/sharded_parameters.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/nn/module.h>

#include <deque>
#include <map>
#include <unordered_map>
#include <utility>

#include "core/clock.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "sharding/flat_unit.h"
#include "sharding/gradient_buffers.h"
#include "sharding/lane.h"

namespace swath::sharding {

ShardedOptions sharded_options(const ShardingOptions& options, at::ScalarType compute_dtype,
                               c10::Device device) {
  ShardedOptions sharded;
  sharded.device = device;
  sharded.check_replicas = options.check_ranks;
  sharded.compute_dtype = compute_dtype;
  sharded.reduce_dtype = options.reduce_precision == "bf16" ? at::kBFloat16 : at::kFloat;
  sharded.reduce_every_micro_batch = options.reduce_every_micro_batch;
  sharded.least_unit_numel = static_cast<int64_t>(options.unit_mib * (1 << 20) / sizeof(float));
  sharded.trace_directory = options.trace;
  return sharded;
}

std::vector<UnitMembers> divide_into_units(const ModelSpec& spec, int64_t least_unit_numel) {
  std::vector<UnitMembers> divided;
  const auto is_small = [&](const UnitMembers& members) {
    return !members.unit.is_root && members.unit.numel() < least_unit_numel;
  };
  for (const UnitSpec& unit : spec.units) {
    const bool is_root = unit.name == "root";
    if (divided.empty() || is_root || !is_small(divided.back())) {
      divided.emplace_back();
      divided.back().unit.name = unit.name;
      divided.back().unit.is_root = is_root;
    }
    UnitMembers& members = divided.back();
    members.blocks.push_back(unit.name);
    for (const ParameterSpec& parameter : unit.parameters) {
      if (!parameter.trainable) continue;
      members.unit.parameter_numels.push_back(parameter.count());
      members.parameter_names.push_back(parameter.name);
    }
  }
  for (UnitMembers& members : divided) {
    if (members.blocks.size() > 1) {
      members.unit.name = fmt::format("{}-{}", members.blocks.front(), members.blocks.back());
    }
  }
  return divided;
}

namespace {

std::vector<ScheduleUnit> schedule_units_of(const std::vector<UnitMembers>& divided) {
  std::vector<ScheduleUnit> units;
  units.reserve(divided.size());
  for (const UnitMembers& members : divided) units.push_back(members.unit);
  return units;
}

ScheduleOptions schedule_options_of(const ShardedOptions& options) {
  ScheduleOptions schedule;
  schedule.accumulation = options.accumulation;
  schedule.reduce_every_micro_batch = options.reduce_every_micro_batch;
  schedule.activation_checkpointing = options.activation_checkpointing;
  schedule.reduce_element_bytes = static_cast<int64_t>(c10::elementSize(options.reduce_dtype));
  return schedule;
}

}  // namespace

class ShardedParameters::Engine final : public UnitRunner {
 public:
  Engine(torch::nn::Module& module, const ModelSpec& spec, const Strategy& strategy,
         ProcessGroups& groups, const ShardedOptions& options, const ParameterRules& rules,
         const InitialValues& initial_values)
      : strategy_(strategy),
        options_(options),
        groups_(groups),
        divided_(divide_into_units(spec, options.least_unit_numel)),
        scheduler_(schedule_units_of(divided_), strategy, schedule_options_of(options)) {
    make_groups();
    take_parameters(module, rules, initial_values);
    if (options_.check_replicas) check_replicas();
    if (!options_.trace_directory.empty()) start_trace();
    gathers_ = std::make_unique<Lane>(options_.device);
    reductions_ = std::make_unique<Lane>(options_.device);
    gradients_ = std::make_unique<GradientBuffers>(
        flat_units(), scheduler_.buckets(), strategy_,
        GradientBuffers::Options{options_.reduce_dtype, options_.accumulation,
                                 options_.reduce_every_micro_batch});
    make_views();
    listen_to_gradients();
    if (options_.activation_checkpointing) inner_ = std::make_unique<CheckpointingRunner>();
  }

  ~Engine() override {
    // Lanes first: their work refers to everything else.
    gathers_.reset();
    reductions_.reset();
    if (trace_) write_trace();
  }

  void begin_step() {
    if (is_in_micro_batch_ || micro_batch_ % options_.accumulation != 0) give_up_step();
    micro_batch_ = 0;
    if (trace_) trace_->begin_step();
    gradients_->begin_step();
    recorded_.clear();
    if (local_check_.defined()) local_check_.zero_();
  }

  void begin_forward() {
    is_in_micro_batch_ = true;
    open_unit_ = -1;
    for (Unit& unit : units_) unit.num_arrived = 0;
    gradients_->begin_micro_batch(micro_batch_);
    trace_computation(StepEventKind::kForward, scheduler_.root());
    execute(scheduler_.begin_forward());
  }

  at::Tensor run(const std::string& name, const UnitForward& forward,
                 const at::Tensor& x) override {
    const auto found = blocks_.find(name);
    if (found == blocks_.end()) {
      throw Error(fmt::format("sharding: the model runs unit {}, its ModelSpec has none.", name));
    }
    const auto [unit, is_first, is_last] = found->second;
    if (!at::GradMode::is_enabled()) {
      throw Error(fmt::format("sharding: unit {} runs without gradients.", name),
                  "evaluate a checkpoint in one process.");
    }
    if (is_first) {
      execute(scheduler_.before_forward(unit));
      record(StepEventKind::kForward, unit);
      trace_computation(StepEventKind::kForward, unit);
    }
    at::Tensor y = inner_ ? inner_->run(name, forward, x) : forward(x);
    if (is_last) {
      trace_computation(StepEventKind::kForward, scheduler_.root());
      execute(scheduler_.after_forward(unit));
      y.register_hook([this, unit = unit](const at::Tensor& gradient) {
        before_backward(unit);
        return gradient;
      });
    }
    return y;
  }

  void backward(const at::Tensor& loss) {
    // Buffers that stay are still being reduced for the micro-batch before.
    if (!strategy_.is_sharded()) wait_for(reduced_);
    execute(scheduler_.begin_backward());
    trace_computation(StepEventKind::kBackward, scheduler_.root());
    loss.backward();
    close_open_unit();
    const int root = scheduler_.root();
    if (root >= 0) complete(root);
    execute(scheduler_.end_backward());
    if (strategy_.world_size > 1) reduced_ = reductions_->record();
    if (trace_) trace_->compute({});
    is_in_micro_batch_ = false;
    if (++micro_batch_ == options_.accumulation) attach_gradients();
  }

  void publish() {
    const at::NoGradGuard no_grad;
    for (Unit& unit : units_) {
      if (!unit.flat.is_sharded() &&
          unit.flat.whole().data_ptr() != unit.flat.master().data_ptr()) {
        unit.flat.refresh_own_slice();
      }
    }
  }

  void sum_over_ranks(at::Tensor& values) {
    if (!everyone_) return;
    const auto start = Clock::now();
    const std::string label = "sum over ranks";
    const TracedCollective traced(trace_.get(), TraceTrack::kComputation, label);
    everyone_->all_reduce(values, label);
    exposed_seconds_ += seconds_since(start);
  }

  std::vector<ParamView>& views() { return views_; }
  const std::vector<std::pair<std::string, at::Tensor>>& frozen() const { return frozen_; }
  const std::vector<StepEvent>& recorded() const { return recorded_; }
  const UnitScheduler& scheduler() const { return scheduler_; }
  const Strategy& strategy() const { return strategy_; }
  ProcessGroups& groups() const { return groups_; }
  at::Tensor local_check() const { return local_check_; }
  double exposed_seconds() const { return exposed_seconds_; }
  Trace* trace() { return trace_.get(); }

 private:
  struct Unit {
    FlatUnit flat;
    std::vector<std::shared_ptr<torch::autograd::Node>> accumulators;
    size_t num_arrived = 0;  // gradients of this micro-batch
    LaneEvent gathered;
  };
  struct Block {
    int unit = 0;
    bool is_first = true;  // of the blocks that form the unit
    bool is_last = true;
  };
  // Memory of a unit that was freed by the host, held until gathers have waited for the computation
  // that used it.
  struct HeldMemory {
    int free = 0;
    LaneEvent unused;
    c10::DataPtr memory;
  };

  // --- set-up

  void make_groups() {
    const int64_t rank = groups_.rank();
    if (groups_.world_size() != strategy_.world_size) {
      throw Error(fmt::format("sharding: a strategy for {} ranks, the job has {}.",
                              strategy_.world_size, groups_.world_size()));
    }
    // Gathers and reductions overlap, so each kind has a group of its own.
    if (strategy_.is_sharded()) {
      const std::vector<int64_t> ranks = swath::shard_group(strategy_, rank);
      gather_group_ = groups_.make_group(ranks, "gather");
      scatter_group_ = groups_.make_group(ranks, "scatter");
      norm_group_ = groups_.make_group(ranks, "norm");
    }
    if (strategy_.is_replicated()) {
      replicas_ = groups_.make_group(swath::replicate_group(strategy_, rank), "replicas");
    }
    if (strategy_.world_size > 1) everyone_ = groups_.make_world_group("everyone");
  }

  void take_parameters(torch::nn::Module& module, const ParameterRules& rules,
                       const InitialValues& initial_values) {
    const at::NoGradGuard no_grad;
    std::map<std::string, at::Tensor> parameters;
    for (const auto& item : module.named_parameters()) {
      at::Tensor parameter = item.value();
      if (parameter.requires_grad()) {
        parameters.emplace(item.key(), parameter);
        continue;
      }
      frozen_.emplace_back(item.key(),
                           parameter.detach().to(options_.device, at::kFloat).contiguous());
      parameter.set_data(frozen_.back().second.to(options_.compute_dtype));
    }
    for (const auto& item : module.named_buffers()) {
      at::Tensor buffer = item.value();
      const at::ScalarType dtype =
          buffer.is_floating_point() ? options_.compute_dtype : buffer.scalar_type();
      buffer.set_data(buffer.to(options_.device, dtype));
    }
    const FlatUnit::Options unit_options = {options_.compute_dtype, options_.device,
                                            gather_group_ ? gather_group_->rank() : 0,
                                            strategy_.shard_size};
    for (const UnitMembers& members : divided_) {
      std::vector<UnitParameter> of_unit;
      for (const std::string& name : members.parameter_names) {
        const auto found = parameters.find(name);
        if (found == parameters.end()) {
          throw Error(
              fmt::format("sharding: the ModelSpec has a trainable parameter {}, the model "
                          "has none.",
                          name));
        }
        UnitParameter parameter;
        parameter.name = name;
        parameter.tensor = found->second;
        if (rules) parameter.rule = rules(name, found->second.sizes());
        of_unit.push_back(std::move(parameter));
        parameters.erase(found);
      }
      units_.push_back(
          {FlatUnit(members.unit.name, std::move(of_unit), unit_options, initial_values),
           {},
           0,
           {}});
      const int unit = static_cast<int>(units_.size()) - 1;
      for (size_t i = 0; i < members.blocks.size(); ++i) {
        blocks_[members.blocks[i]] = {unit, i == 0, i + 1 == members.blocks.size()};
      }
    }
    if (!parameters.empty()) {
      throw Error(fmt::format("sharding: the model trains {}, its ModelSpec does not have it.",
                              parameters.begin()->first));
    }
  }

  std::vector<const FlatUnit*> flat_units() const {
    std::vector<const FlatUnit*> flats;
    for (const Unit& unit : units_) flats.push_back(&unit.flat);
    return flats;
  }

  // Replicas that start apart stay apart: only gradients are summed over them.
  void check_replicas() {
    if (!replicas_) return;
    std::string hashes;
    for (const Unit& unit : units_) {
      const at::Tensor values = unit.flat.master().cpu();
      hashes += fmt::format(
          "{:016x} ", xxh3({static_cast<const char*>(values.const_data_ptr()), values.nbytes()}));
    }
    demand_equal(*replicas_, options_.device, hashes, "the initial weights");
  }

  void make_views() {
    for (Unit& unit : units_) {
      const std::vector<ParamSegment> segments = unit.flat.segments();
      if (unit.flat.is_sharded()) {
        ParamView view;
        view.local = unit.flat.master();
        view.segments = segments;
        view.sum_over_shards = [this](at::Tensor& values) {
          const std::string label = "gradient norm";
          const TracedCollective traced(trace_.get(), TraceTrack::kComputation, label);
          norm_group_->all_reduce(values, label);
        };
        views_.push_back(std::move(view));
        continue;
      }
      // One by one, as the gradients lie in the order of buckets.
      const bool has_copies = options_.compute_dtype != at::kFloat;
      for (const ParamSegment& segment : segments) {
        ParamView view;
        view.local = unit.flat.master().narrow(0, segment.offset, segment.length);
        if (has_copies) {
          view.compute_copy = unit.flat.whole().narrow(0, segment.offset, segment.length);
        }
        view.segments.push_back(segment);
        view.segments.back().offset = 0;
        views_.push_back(std::move(view));
      }
    }
  }

  void attach_gradients() {
    size_t next = 0;
    for (size_t unit = 0; unit < units_.size(); ++unit) {
      if (units_[unit].flat.is_sharded()) {
        views_[next++].grad = gradients_->shard_gradient(unit);
        continue;
      }
      for (size_t i = 0; i < units_[unit].flat.parameters().size(); ++i) {
        views_[next++].grad = gradients_->parameter_gradient(unit, i);
      }
    }
  }

  void listen_to_gradients() {
    if (strategy_.world_size > 1) {
      local_check_ = at::zeros({}, at::TensorOptions(at::kFloat).device(options_.device));
    }
    for (size_t u = 0; u < units_.size(); ++u) {
      const auto& parameters = units_[u].flat.parameters();
      for (size_t i = 0; i < parameters.size(); ++i) {
        // The parameter holds its accumulator weakly: without this it would be made anew.
        auto accumulator = torch::autograd::impl::grad_accumulator(parameters[i].tensor);
        accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
            [this, u, i](const torch::autograd::variable_list& outputs,
                         const torch::autograd::variable_list&) {
              gradient_arrived(u, i);
              return outputs;
            }));
        units_[u].accumulators.push_back(std::move(accumulator));
      }
    }
  }

  // --- backward

  void before_backward(int unit) {
    close_open_unit();
    execute(scheduler_.before_backward(unit));
    record(StepEventKind::kBackward, unit);
    trace_computation(StepEventKind::kBackward, unit);
    open_unit_ = unit;
  }

  void gradient_arrived(size_t unit_index, size_t parameter) {
    const at::NoGradGuard no_grad;
    Unit& unit = units_[unit_index];
    at::Tensor tensor = unit.flat.parameters()[parameter].tensor;
    gradients_->take(unit_index, parameter, std::exchange(tensor.mutable_grad(), at::Tensor()));
    const bool is_complete = ++unit.num_arrived == unit.accumulators.size();
    if (is_complete && static_cast<int>(unit_index) == open_unit_) close_open_unit();
  }

  // Ends the unit whose backward runs. Parameters that the loss did not reach get zeros.
  void close_open_unit() {
    const int unit = std::exchange(open_unit_, -1);
    if (unit < 0) return;
    complete(unit);
    trace_computation(StepEventKind::kBackward, scheduler_.root());
    execute(scheduler_.after_backward(unit));
  }

  void complete(int unit) {
    const at::NoGradGuard no_grad;
    gradients_->complete(static_cast<size_t>(unit));
  }

  // A step that ended before its last micro-batch, on all ranks alike (a rehearsal, a bad batch).
  void give_up_step() {
    if (trace_) trace_->compute({});
    wait_for(gathers_->record());
    wait_for(reductions_->record());
    in_flight_ = {};
    gathers_->wait(event_of_computation(options_.device));
    held_.clear();
    for (Unit& unit : units_) {
      if (unit.flat.is_sharded()) unit.flat.release_whole();
    }
    scheduler_ = UnitScheduler(scheduler_.units(), strategy_, schedule_options_of(options_));
    is_in_micro_batch_ = false;
  }

  // The computation waits.
  void wait_for(const LaneEvent& event) {
    const auto start = Clock::now();
    const bool is_traced = trace_ && !event.has_fired();
    if (is_traced) trace_->begin_wait();
    wait_in_computation(event, options_.device);
    if (is_traced) trace_->end_wait();
    exposed_seconds_ += seconds_since(start);
  }

  // --- the trace

  void start_trace() {
    if (!options_.device.is_cpu()) {
      throw UsageError(
          fmt::format("sharding.trace: spans of {} are a profiler's to take.",
                      options_.device.str()),
          "leave sharding.trace out and run under the vendor's profiler, or use --device cpu.");
    }
    trace_ = std::make_unique<Trace>();
  }

  // From here on the computation is in this unit; -1: a model without a root is between its units.
  void trace_computation(StepEventKind kind, int unit) {
    if (!trace_) return;
    StepEvent event;
    event.kind = kind;
    event.unit = unit;
    trace_->compute(to_text(event, scheduler_.units()));
  }

  void write_trace() const {
    try {
      trace_->write(
          options_.trace_directory / fmt::format("trace_rank_{:05d}.json", groups_.rank()),
          groups_.rank());
    } catch (const std::exception& error) {
      log_warning(fmt::format("sharding.trace: {}", error.what()));
    }
  }

  // --- what the schedule says

  void record(StepEventKind kind, int unit) {
    if (!options_.records_events) return;
    StepEvent event;
    event.kind = kind;
    event.unit = unit;
    event.micro_batch = static_cast<int>(micro_batch_);
    recorded_.push_back(event);
  }

  void execute(const std::vector<StepEvent>& events) {
    const at::NoGradGuard no_grad;
    for (const StepEvent& event : events) {
      if (options_.records_events) recorded_.push_back(event);
      execute(event);
    }
  }

  void execute(const StepEvent& event) {
    switch (event.kind) {
      case StepEventKind::kWaitUpdate:
        gathers_->wait(event_of_computation(options_.device));
        held_.clear();
        return;
      case StepEventKind::kLimitWait:
        wait_for_free(event.free);
        return;
      case StepEventKind::kAllGather:
        gather(event);
        return;
      case StepEventKind::kWaitGather:
        wait_for(units_[static_cast<size_t>(event.unit)].gathered);
        return;
      case StepEventKind::kFree:
        free(event);
        return;
      case StepEventKind::kReduceScatter:
        reduce_scatter(event);
        return;
      case StepEventKind::kAllReduce:
        all_reduce(event);
        return;
      case StepEventKind::kWaitReductions:
        wait_for(reductions_->record());
        in_flight_ = {};
        return;
      case StepEventKind::kForward:
      case StepEventKind::kRecompute:
      case StepEventKind::kBackward:
      case StepEventKind::kOptimizer:
        return;  // the model's and the optimizer's own doing
    }
  }

  void gather(const StepEvent& event) {
    Unit& unit = units_[static_cast<size_t>(event.unit)];
    drop_unused_memory();
    gathers_->run([this, &unit, label = to_text(event, scheduler_.units())] {
      unit.flat.allocate_whole();
      unit.flat.refresh_own_slice();
      const TracedCollective traced(trace_.get(), TraceTrack::kGathers, label);
      gather_group_->all_gather(unit.flat.whole(), unit.flat.own_slice(unit.flat.whole()), label);
    });
    unit.gathered = gathers_->record();
  }

  void free(const StepEvent& event) {
    Unit& unit = units_[static_cast<size_t>(event.unit)];
    if (options_.device.is_cpu()) {
      wait_for(unit.gathered);
      unit.flat.release_whole();
      return;
    }
    held_.push_back({event.free, event_of_computation(options_.device), unit.flat.release_whole()});
  }

  // The memory goes back to the gathers' stream, so that stream must have waited before.
  void wait_for_free(int free) {
    while (!held_.empty() && held_.front().free <= free) {
      gathers_->wait(held_.front().unused);
      held_.pop_front();
    }
  }
  // Without a limit, memory is used again as soon as the device happens to be through with it.
  void drop_unused_memory() {
    while (!held_.empty() && held_.front().unused.has_fired()) held_.pop_front();
  }

  void reduce_scatter(const StepEvent& event) {
    const auto unit = static_cast<size_t>(event.unit);
    const at::Tensor whole = gradients_->whole(unit);
    check_locally(whole);
    // One in flight: its memory is given back before another unit's gradient follows.
    wait_for(in_flight_.done);
    reductions_->wait(event_of_computation(options_.device));
    const at::Tensor part = units_[unit].flat.own_slice(whole);
    reductions_->run([this, whole, part, label = to_text(event, scheduler_.units())] {
      const TracedCollective traced(trace_.get(), TraceTrack::kReductions, label);
      scatter_group_->reduce_scatter(part, whole, label);
    });
    if (!strategy_.is_replicated()) keep_part(unit, part);
    gradients_->release_whole(unit);
    in_flight_ = {reductions_->record(), whole};
  }

  void all_reduce(const StepEvent& event) {
    const std::string label = to_text(event, scheduler_.units());
    if (event.bucket >= 0) {
      const at::Tensor bucket = gradients_->bucket(static_cast<size_t>(event.bucket));
      check_locally(bucket);
      reduce_over_replicas(bucket, label);
      if (!gradients_->keeps_sums()) return;
      reductions_->run([this, bucket_index = static_cast<size_t>(event.bucket),
                        is_first = gradients_->is_first_sum()] {
        gradients_->add_bucket_to_sums(bucket_index, is_first);
      });
      return;
    }
    const auto unit = static_cast<size_t>(event.unit);
    if (strategy_.is_sharded()) {
      const at::Tensor part = units_[unit].flat.own_slice(in_flight_.whole);
      all_reduce_on_lane(part, label);
      keep_part(unit, part);
      in_flight_.done = reductions_->record();
      return;
    }
    const at::Tensor whole = gradients_->whole(unit);
    check_locally(whole);
    reduce_over_replicas(whole, label);
    if (gradients_->keeps_sums()) keep_part(unit, whole);
  }

  void reduce_over_replicas(const at::Tensor& values, const std::string& label) {
    reductions_->wait(event_of_computation(options_.device));
    all_reduce_on_lane(values, label);
  }

  void all_reduce_on_lane(const at::Tensor& values, const std::string& label) {
    reductions_->run([this, values, label] {
      const TracedCollective traced(trace_.get(), TraceTrack::kReductions, label);
      replicas_->all_reduce(values, label);
    });
  }

  void keep_part(size_t unit, const at::Tensor& part) {
    reductions_->run([this, unit, part, is_first = gradients_->is_first_sum()] {
      gradients_->add_to_sum(unit, part, is_first);
    });
  }

  void check_locally(const at::Tensor& gradient) { local_check_.add_(gradient.sum()); }

  const Strategy strategy_;
  const ShardedOptions options_;
  ProcessGroups& groups_;
  const std::vector<UnitMembers> divided_;
  UnitScheduler scheduler_;

  std::unique_ptr<Communicator> gather_group_;
  std::unique_ptr<Communicator> scatter_group_;
  std::unique_ptr<Communicator> norm_group_;
  std::unique_ptr<Communicator> replicas_;
  std::unique_ptr<Communicator> everyone_;

  std::unique_ptr<Trace> trace_;  // null: off
  std::vector<Unit> units_;
  std::vector<ParamView> views_;
  std::vector<std::pair<std::string, at::Tensor>> frozen_;
  std::unordered_map<std::string, Block> blocks_;
  std::unique_ptr<GradientBuffers> gradients_;
  std::unique_ptr<UnitRunner> inner_;
  std::unique_ptr<Lane> gathers_;
  std::unique_ptr<Lane> reductions_;
  std::deque<HeldMemory> held_;
  struct {
    LaneEvent done;
    at::Tensor whole;
  } in_flight_;
  LaneEvent reduced_;  // everything of the micro-batches so far
  at::Tensor local_check_;
  double exposed_seconds_ = 0;

  int64_t micro_batch_ = 0;
  bool is_in_micro_batch_ = false;
  int open_unit_ = -1;  // whose backward runs
  std::vector<StepEvent> recorded_;
};

ShardedParameters::ShardedParameters(torch::nn::Module& module, const ModelSpec& spec,
                                     const Strategy& strategy, ProcessGroups& groups,
                                     const ShardedOptions& options, const ParameterRules& rules,
                                     const InitialValues& initial_values)
    : Parameters(options.accumulation),
      engine_(std::make_unique<Engine>(module, spec, strategy, groups, options, rules,
                                       initial_values)) {}

ShardedParameters::~ShardedParameters() = default;

void ShardedParameters::begin_step() { engine_->begin_step(); }
void ShardedParameters::begin_forward() { engine_->begin_forward(); }
UnitRunner& ShardedParameters::runner() { return *engine_; }
void ShardedParameters::backward(const at::Tensor& loss) { engine_->backward(loss); }
std::vector<ParamView>& ShardedParameters::views() { return engine_->views(); }
const std::vector<std::pair<std::string, at::Tensor>>& ShardedParameters::named_frozen() const {
  return engine_->frozen();
}
void ShardedParameters::publish() { engine_->publish(); }
int64_t ShardedParameters::rank() const { return engine_->groups().rank(); }
int64_t ShardedParameters::world_size() const { return engine_->groups().world_size(); }
int64_t ShardedParameters::replica() const { return rank() / engine_->strategy().shard_size; }
int64_t ShardedParameters::replicas() const { return engine_->strategy().replicate_size; }
void ShardedParameters::sum_over_ranks(at::Tensor& values) { engine_->sum_over_ranks(values); }
at::Tensor ShardedParameters::local_gradient_check() const { return engine_->local_check(); }
double ShardedParameters::exposed_seconds() const { return engine_->exposed_seconds(); }
const Strategy& ShardedParameters::strategy() const { return engine_->strategy(); }
const std::vector<ScheduleUnit>& ShardedParameters::schedule_units() const {
  return engine_->scheduler().units();
}
Trace* ShardedParameters::trace() { return engine_->trace(); }
const std::vector<StepEvent>& ShardedParameters::recorded_events() const {
  return engine_->recorded();
}

}  // namespace swath::sharding
