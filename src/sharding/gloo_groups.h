// Groups of processes that communicate over Gloo (TCP): CPUs, and tests of what GPUs will do.
//
// The processes find each other through a key-value store that rank 0 serves at
// master_address:master_port. Collectives are rings of our own over Gloo's sends and receives (see
// point_to_point.h); small all-reduces are Gloo's.
//
// When a collective fails (a rank died, hangs beyond the timeout, or does something else), every
// rank throws Error naming the first rank that failed, or those that give no sign of life, and the
// collectives that the others were in. The last collectives are written to flight_rank_NNNNN.json
// in the directory of ProcessGroups::record_failures_in.
#pragma once

#include <chrono>
#include <memory>

#include "core/launch_environment.h"
#include "sharding/communicator.h"

namespace swath::sharding {

struct GlooOptions {
  std::chrono::milliseconds timeout = std::chrono::minutes(10);  // of one collective
  std::chrono::milliseconds start_timeout = std::chrono::minutes(5);
};

// Waits until all ranks are there. Throws Error when the port is in use, rank 0's host cannot be
// reached, or some ranks do not come.
std::unique_ptr<ProcessGroups> make_gloo_groups(const LaunchEnvironment& environment,
                                                const GlooOptions& options);

}  // namespace swath::sharding
