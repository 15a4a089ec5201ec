// `bench syn-no-comm`: one rank of a job of any size, measured alone.
#pragma once

#include <c10/core/Device.h>

#include "bench/step_bench.h"
#include "core/json.h"

namespace swath::bench {

// What one rank of a job computes and allocates when communication costs nothing: it poses as
// pretend_rank of pretend_world and talks to nobody. As bench_syn, and "images_per_second" is that
// of all ranks, were each as fast. "model_state_bytes" is what the strategy's formula says of
// parameters, gradients and optimizer, "gathered_bytes" of the units gathered at a time and their
// whole gradients.
//
// For models that do not fit here:
// - fewer_blocks = k measures the model with k and with 2k of its encoder's blocks ("measured":
// both
//   results) and goes on along the straight line through them to its depth: "extrapolated" has
//   "depth", "from_depths", "step_seconds", "images_per_second" and "allocated_bytes"; not the
//   peak, whose place in the step moves with the depth: memory_only has it. Noise of the two step
//   times is multiplied by up to depth / k.
// - memory_only computes the bytes from the model's description and allocates nothing:
//   "activation_bytes" (without activation_checkpointing) and "expected_peak_bytes", their sum with
//   the model's. The description is exact where meta tensors are, and knows gradients too.
Json bench_syn_no_comm(const StepBenchOptions& options, c10::Device device);

}  // namespace swath::bench
