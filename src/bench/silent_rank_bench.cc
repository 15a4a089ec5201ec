#include "bench/silent_rank_bench.h"

#include <fmt/format.h>

#include <vector>

#include "bench/measured_step.h"
#include "core/error.h"
#include "core/log.h"
#include "core/shard_schedule.h"
#include "core/tensor/device.h"
#include "models/model_options.h"
#include "sharding/sharded_parameters.h"
#include "sharding/silent_groups.h"

namespace swath::bench {
namespace {

// AdamW's two moments.
constexpr int64_t kOptimizerBytesPerElement = 8;

// What a rank of such a job holds, from the description alone.
Json expected_bytes(const StepBenchOptions& options, const ModelSpec& spec,
                    at::ScalarType precision) {
  const Strategy strategy = make_strategy(options.sharding.strategy, options.pretend_world);
  const sharding::ShardedOptions sharded =
      sharding::sharded_options(options.sharding, precision, at::kCPU);
  std::vector<ScheduleUnit> units;
  for (const auto& members : sharding::divide_into_units(spec, sharded.least_unit_numel)) {
    units.push_back(members.unit);
  }
  ScheduleOptions schedule;
  schedule.activation_checkpointing = options.activation_checkpointing;
  const ElementBytes bytes = {static_cast<int64_t>(c10::elementSize(sharded.compute_dtype)),
                              static_cast<int64_t>(c10::elementSize(sharded.reduce_dtype))};
  return {{"model_state_bytes",
           model_state_bytes(units, strategy, bytes, kOptimizerBytesPerElement).total()},
          {"gathered_bytes",
           cost_of(make_step_schedule(units, strategy, schedule), units, strategy, schedule, bytes)
               .peak_bytes}};
}

Json memory_only(const StepBenchOptions& options, const ModelSpec& spec, at::ScalarType precision) {
  Json result = expected_bytes(options, spec, precision);
  result.update(
      {{"model", spec.name},
       {"workload", workload_of(options)},
       {"image_size", spec.image_size},
       {"batch_size", options.batch_size},
       {"precision", c10::toString(precision)},
       {"ranks", options.pretend_world},
       {"strategy", to_text(make_strategy(options.sharding.strategy, options.pretend_world))}});
  if (options.activation_checkpointing) return result;
  double activations = 0;
  for (const UnitSpec& unit : spec.units) activations += unit.activation_bytes;
  constexpr double kSpecBytesPerValue = 4;
  activations *= static_cast<double>(options.batch_size) *
                 static_cast<double>(c10::elementSize(precision)) / kSpecBytesPerValue;
  const auto bytes = static_cast<int64_t>(activations);
  result["activation_bytes"] = bytes;
  result["expected_peak_bytes"] = bytes + result.at("model_state_bytes").get<int64_t>() +
                                  result.at("gathered_bytes").get<int64_t>();
  return result;
}

Json measure_fewer_blocks(const StepBenchOptions& options, c10::Device device,
                          sharding::ProcessGroups& groups) {
  if (models::is_swin(options.model.name)) {
    throw UsageError("bench syn-no-comm: the blocks of a SwinV2 differ from stage to stage.",
                     "leave fewer_blocks out.");
  }
  const int64_t depth = models::resolve(options.model).depth;
  const int64_t few = options.fewer_blocks;
  if (2 * few >= depth) {
    throw UsageError(
        fmt::format("bench syn-no-comm: fewer_blocks {} of a model with {}: measured would be {} "
                    "and {} blocks.",
                    few, depth, few, 2 * few),
        "take less than half of the model's depth, or leave fewer_blocks out.");
  }
  Json measured = Json::array();
  for (const int64_t blocks : {few, 2 * few}) {
    log_info(fmt::format("measuring {} of {} blocks.", blocks, depth));
    StepBenchOptions smaller = options;
    smaller.model.depth = blocks;
    measured.push_back(bench_syn(smaller, device, &groups));
    measured.back()["depth"] = blocks;
  }
  const auto at_depth = [&](const char* key) {
    const auto first = measured[0].at(key).get<double>();
    const auto second = measured[1].at(key).get<double>();
    return first + (second - first) * static_cast<double>(depth - few) / static_cast<double>(few);
  };
  const double seconds = at_depth("step_seconds");
  Json result;
  result["extrapolated"] = {
      {"depth", depth},
      {"from_depths", {few, 2 * few}},
      {"step_seconds", seconds},
      {"images_per_second",
       static_cast<double>(options.batch_size * options.pretend_world) / seconds},
      {"allocated_bytes", static_cast<int64_t>(at_depth("allocated_bytes"))}};
  result["measured"] = std::move(measured);
  return result;
}

}  // namespace

Json bench_syn_no_comm(const StepBenchOptions& options, c10::Device device) {
  const int64_t world = options.pretend_world;
  if (world < 2) {
    throw UsageError("bench syn-no-comm: one rank has nothing to be silent about.",
                     "name the ranks of the job: --pretend-world 8.");
  }
  const ModelSpec spec = spec_of(options);
  const at::ScalarType precision = select_precision(options.precision, device);
  if (options.memory_only) return memory_only(options, spec, precision);
  const auto groups = sharding::make_silent_groups(options.pretend_rank, world);
  Json result = options.fewer_blocks > 0 ? measure_fewer_blocks(options, device, *groups)
                                         : bench_syn(options, device, groups.get());
  result.update(expected_bytes(options, spec, precision));
  result["pretended_rank"] = options.pretend_rank;
  return result;
}

}  // namespace swath::bench
