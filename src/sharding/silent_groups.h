// Poses as one rank of a job of any size without communicating: what one rank allocates and
// computes, measured on one machine.
//
// Memory and computation are those of the real rank; results are not. A gather leaves what the
// memory held except for this rank's own part (kOwnPart) or fills every part with it (kRepeat:
// finite values everywhere, so that computation does not meet NaNs). A reduce-scatter takes this
// rank's own slice, an all-reduce and a broadcast change nothing: sums are local.
#pragma once

#include <memory>

#include "sharding/communicator.h"

namespace swath::sharding {

enum class SilentGather { kOwnPart, kRepeat };

// Throws UsageError when `rank` is not one of `world_size`.
std::unique_ptr<ProcessGroups> make_silent_groups(int64_t rank, int64_t world_size,
                                                  SilentGather gather = SilentGather::kRepeat);

}  // namespace swath::sharding
