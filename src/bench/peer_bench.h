// `bench peer`: our training step beside Python's.
#pragma once

#include <c10/core/Device.h>

#include "bench/step_bench.h"
#include "core/json.h"
#include "sharding/communicator.h"

namespace swath::bench {

// The same step in Python (torch and timm, fused AdamW), eager and compiled, in turns with ours:
// same weights, images, masks, threads and dtype. With `groups`, all ranks (of one host) call it,
// and each has a peer that is the same rank among the peers: under DistributedDataParallel for DDP
// and NO_SHARD, under FSDP2's fully_shard for FULL_SHARD and SHARD_GRAD_OP ("peer_wrapper").
// Throws Error, before anything is timed, when the two disagree: a gradient of the first step,
// averaged over ranks, by 1e-5 (ours) or 1e-4 (theirs) of the parameter's largest from the peer's
// own in float64 (float32), the first loss by 1e-4, those after the warm-up's updates by 1e-3
// (float32).
// Adds "peak_rss_bytes" (of the whole process from its start, VmHWM on both sides, the largest of
// the ranks), "peers": {eager, compile}, each with "images_per_second", "ratio" (ours to theirs, of
// medians), "ratio_spread" (of the blocks, pair by pair), "gradient_difference", "warmup_losses"
// and "peak_rss_bytes"; our own "gradient_difference", and "ratio" to the fastest peer,
// "fastest_peer".
Json bench_peer(const StepBenchOptions& options, c10::Device device,
                sharding::ProcessGroups* groups = nullptr);

}  // namespace swath::bench
