#include "bench/step_bench.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>

#include "bench/measured_step.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/device_telemetry.h"
#include "core/tensor/memory.h"
#include "data/loader.h"
#include "data/normalization.h"

namespace swath::bench {
namespace {

// Where the time of a step goes. On a GPU the host does not see how long the computation waits for
// others: there the first is both.
Json phases(double seconds, double exposed, double waited, double steps, bool sees_exposed) {
  Json result = {{"compute_seconds", (seconds - exposed - waited) / steps},
                 {"data_wait_seconds", waited / steps}};
  if (sees_exposed) result["exposed_communication_seconds"] = exposed / steps;
  return result;
}

// `waited` counts the seconds that next_batch waited for data.
Json measure(const StepBenchOptions& options, Subject& subject, c10::Device device,
             const std::function<Batch()>& next_batch, const std::function<double()>& waited = {}) {
  const auto exposed_now = [&] { return subject.parameters->exposed_seconds(); };
  run_block(subject, next_batch, options.warmup_steps, device);
  sharding::Trace* trace = subject.trace();
  if (trace != nullptr) trace->clear();
  PeakMemory memory(device);
  const double waited_before = waited ? waited() : 0;
  const double exposed_before = exposed_now();
  double seconds = 0;
  const int64_t images = options.batch_size * subject.parameters->world_size();
  PeakFlops peak(device, select_precision(options.precision, device));
  DeviceTelemetry telemetry(device, options.telemetry, std::chrono::milliseconds(100));
  std::vector<double> rates;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    peak.before_block();
    memory.begin_block();
    const Block block = run_block(subject, next_batch, options.steps, device);
    memory.end_block();
    rates.push_back(rate_of(block.seconds, images));
    seconds = std::accumulate(block.seconds.begin(), block.seconds.end(), seconds);
  }
  Json result = summary(options, subject, device, rates, peak, memory);
  const double exposed = exposed_now() - exposed_before;
  const double wait = waited ? waited() - waited_before : 0;
  result["telemetry"] = telemetry.finish();
  if (!options.telemetry.empty() && result["telemetry"].contains("absent")) {
    log_warning(fmt::format("no telemetry: {}", result["telemetry"]["absent"].get<std::string>()));
  }
  result["allocated_bytes"] = memory_stats(device).allocated_bytes;
  result["reserved_bytes"] = memory_stats(device).reserved_bytes;
  if (subject.parameters->world_size() > 1) {
    result["strategy"] =
        to_text(make_strategy(options.sharding.strategy, subject.parameters->world_size()));
    if (device.is_cpu()) result["exposed_communication"] = exposed / seconds;
    if (trace != nullptr)
      result["overlapped_communication"] = sharding::overlapped_share(trace->spans());
  }
  if (waited) result["data_wait"] = wait / seconds;
  result["phases"] = phases(seconds, exposed, wait,
                            static_cast<double>(options.repeats * options.steps), device.is_cpu());
  return result;
}

}  // namespace

void StepBenchOptions::describe(FieldTable& fields) {
  fields.section("model", model);
  fields.section("data", data);
  fields.section("transform", transform);
  fields
      .add("workload", &workload,
           "mae or simmim: pretraining (empty: what fits the model); vit: every token, "
           "classification "
           "of random labels")
      .one_of({"", "mae", "simmim", "vit"});
  fields.add("batch_size", &batch_size, "images per step, of one rank").at_least(1);
  fields.add("precision", &precision, "of the model's arithmetic").one_of({"auto", "fp32", "bf16"});
  fields.add("activation_checkpointing", &activation_checkpointing, "recompute blocks in backward");
  fields.add("warmup_steps", &warmup_steps, "steps before the clock starts").at_least(1);
  fields.add("steps", &steps, "steps of one repeat").at_least(1);
  fields.add("repeats", &repeats, "repeats; subject and peers take turns").at_least(1);
  fields.add("compile", &compile, "peer: also measure torch.compile");
  fields.section("sharding", sharding);
  fields.add("pretend_world", &pretend_world, "syn-no-comm: ranks of the job that is posed as")
      .at_least(0)
      .flag("pretend-world");
  fields.add("pretend_rank", &pretend_rank, "syn-no-comm: which of them").at_least(0);
  fields
      .add(
          "fewer_blocks", &fewer_blocks,
          "syn-no-comm: measure so many of the encoder's blocks and twice as many, and go on along "
          "the line; 0: measure all")
      .at_least(0)
      .flag("fewer-blocks");
  fields
      .add("memory_only", &memory_only,
           "syn-no-comm: the bytes from the model's description; nothing is allocated")
      .flag("memory-only");
  fields.add("telemetry", &telemetry,
             "file for the trace of power, utilisation and memory; empty: none");
}

Json bench_syn(const StepBenchOptions& options, c10::Device device,
               sharding::ProcessGroups* groups) {
  const int64_t rank = groups != nullptr ? groups->rank() : 0;
  Batch batch = random_batch(options, spec_of(options), device, rank);
  check_backends_agree(options, batch, device);
  Subject subject(options, device, groups);
  return measure(options, subject, device, [&] { return batch; });
}

Json bench_real(const StepBenchOptions& options, c10::Device device,
                sharding::ProcessGroups* groups) {
  const std::shared_ptr<const data::Dataset> dataset = data::open_dataset(options.data);
  data::NormalizationOptions few;
  few.bands = options.transform.bands;
  few.most_samples = 256;
  few.skip_bad = options.data.skip_bad;
  const data::Transform transform(options.transform,
                                  data::compute_normalization(*dataset, few).normalization());
  StepBenchOptions fitted = options;
  fitted.workload = "";
  fitted.model.channels = transform.channels();
  fitted.model.image_size = options.transform.size;
  data::LoaderOptions loader_options;
  loader_options.batch_size = options.batch_size;
  loader_options.skip_bad = options.data.skip_bad;
  data::Loader loader(dataset, transform, loader_options, seed_of(options), device,
                      groups != nullptr ? groups->rank() : 0,
                      groups != nullptr ? groups->world_size() : 1);
  check_backends_agree(fitted, loader.next(), device);
  Subject subject(fitted, device, groups);
  Json result = measure(
      fitted, subject, device, [&] { return loader.next(); },
      [&] { return loader.wait_seconds(); });
  result["skipped"] = loader.skipped_samples();
  return result;
}

}  // namespace swath::bench
