// `bench syn` and `bench real`: training steps, measured.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/transform.h"
#include "models/model_options.h"
#include "sharding/communicator.h"
#include "sharding/options.h"

namespace swath::bench {

struct StepBenchOptions {
  models::ModelOptions model;
  // "mae" or "simmim": pretraining; "vit": all tokens, 1000 classes, random labels; "": pretraining
  // as it fits the model.
  std::string workload;
  int64_t batch_size = 16;  // images per step of one rank
  std::string precision = "auto";
  bool activation_checkpointing = false;
  int64_t warmup_steps = 2;
  int64_t steps = 3;                 // of one block
  int64_t repeats = 7;               // blocks of steps; subject and peers take turns
  data::DatasetOptions data;         // `real` only
  data::TransformOptions transform;  // `real` only
  bool compile = true;               // `peer`: also torch.compile
  sharding::ShardingOptions sharding;
  int64_t pretend_world = 0;  // `syn-no-comm`: ranks of the job that is posed as; 0: as started
  int64_t pretend_rank = 0;
  int64_t fewer_blocks = 0;  // `syn-no-comm`: measure so many blocks and twice as many; 0: all
  bool memory_only = false;  // `syn-no-comm`: compute the bytes, allocate nothing
  std::string telemetry;     // file for the trace of power, utilisation and memory; empty: none
  int64_t seed = 0;          // of everything random; set by the command

  void describe(FieldTable& fields);
};

// One batch of random pixels, again and again: {"images_per_second": {median, minimum, maximum,
// count}, "step_seconds", "mfu", "peak_flops", "peak_flops_are", "peak_memory_bytes",
// "train_gflops_per_image", ...}. With `groups`, all ranks call it and the rates are those of all
// together; "phases" has the mean seconds of a step that
// go into computation, waiting for data and (CPU) waiting for other ranks;
// "exposed_communication" is the share of the time in which this rank's computation
// waited for the others, "overlapped_communication" (with sharding.trace, which then has the
// measured steps) the share of its collectives' time in which it computed, "allocated_bytes" what
// it holds between steps (parameters, gradients, optimizer), "telemetry" what its device says of
// itself (core/telemetry.h). The loss is checked to be finite and equal under both operator
// backends before anything is timed. The three names mean
// what they mean in a run's log (train/run_log.h): "mfu" is the FLOPs that the model needs as a
// share of "peak_flops". Peak FLOPs that are "measured" are those of one large product of the same
// precision, measured before each repeat, of which the largest counts.
Json bench_syn(const StepBenchOptions& options, c10::Device device,
               sharding::ProcessGroups* groups = nullptr);

// The same with images from a dataset, "data_wait": the share of the time spent waiting for it, and
// "skipped": unusable samples left out (data.skip_bad).
Json bench_real(const StepBenchOptions& options, c10::Device device,
                sharding::ProcessGroups* groups = nullptr);

}  // namespace swath::bench
