// Groups of processes that communicate over Gloo (TCP): CPUs, and tests of what GPUs will do.
//
// All-gathers and reduce-scatters are rings of our own over Gloo's sends and receives (see
// point_to_point.h); all-reduces and broadcasts are Gloo's, which ours would not outrun.
//
// When a collective fails (a rank died, hangs beyond the timeout, or does something else), every
// rank throws Error naming the first rank that failed, or those that give no sign of life, and the
// collectives that the others were in. The last collectives are written to flight_rank_NNNNN.json
// in the directory of ProcessGroups::record_failures_in.
#pragma once

#include <memory>

#include "core/launch_environment.h"
#include "sharding/communicator.h"
#include "sharding/rendezvous.h"

namespace swath::sharding {

enum class GlooAlgorithms {
  kRings,
  kLibrary,  // Gloo's own throughout: what the rings are measured against
};

// Waits until all ranks are there; throws what Rendezvous does.
std::unique_ptr<ProcessGroups> make_gloo_groups(const LaunchEnvironment& environment,
                                                const RendezvousOptions& options);
// Of ranks that have met.
std::unique_ptr<ProcessGroups> make_gloo_groups(const LaunchEnvironment& environment,
                                                std::shared_ptr<Rendezvous> rendezvous,
                                                GlooAlgorithms algorithms);

}  // namespace swath::sharding
