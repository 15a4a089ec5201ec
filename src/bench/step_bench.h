// `bench syn`, `bench real` and `bench peer`: training steps, measured.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/transform.h"
#include "models/model_options.h"

namespace swath::bench {

struct StepBenchOptions {
  models::ModelOptions model;
  int64_t batch_size = 16;
  std::string precision = "auto";
  bool activation_checkpointing = false;
  int64_t warmup_steps = 2;
  int64_t steps = 3;                 // of one block
  int64_t repeats = 7;               // blocks of steps; subject and peers take turns
  data::DatasetOptions data;         // `real` only
  data::TransformOptions transform;  // `real` only
  bool compile = true;               // `peer`: also torch.compile

  void describe(FieldTable& fields);
};

// One batch of random pixels, again and again: {"images_per_second": {median, minimum, maximum,
// count}, "step_seconds", "matmul_share" (of the machine's own measured rate), "peak_memory_bytes",
// "train_gflops_per_image", ...}. The loss is checked to be finite and equal under both operator
// backends before anything is timed.
Json bench_syn(const StepBenchOptions& options, c10::Device device);

// The same with images from a dataset, and "data_wait": the share of the time spent on it.
Json bench_real(const StepBenchOptions& options, c10::Device device);

// The same step in Python (torch and timm), eager and compiled, in turns with ours: same weights,
// images, masks, threads and dtype. Losses must agree to 1e-4 (float32) before anything is timed.
// Adds "peers": {eager, compiled}, each with "images_per_second", "ratio" (ours to theirs, of
// medians), "ratio_spread" (of the blocks, pair by pair) and "peak_rss_bytes".
Json bench_peer(const StepBenchOptions& options, c10::Device device);

}  // namespace swath::bench
