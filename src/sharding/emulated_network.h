// A slower network than there is: each collective takes at least as long as the links of a cluster
// would let it. What overlaps and what does not shows on one machine.
//
// The time of a ring over p ranks: (p - 1) steps of the slowest link's latency, and (p - 1) / p of
// the bytes at its bandwidth; an all-reduce takes twice that. A group whose ranks lie on several
// nodes has the link across nodes, otherwise the one inside.
#pragma once

#include <cstdint>
#include <memory>

#include "core/config.h"
#include "sharding/communicator.h"

namespace swath::sharding {

struct EmulatedNetworkOptions {
  int64_t ranks_per_node = 0;  // 0: no emulation
  double inside_latency_us = 5;
  double inside_gb_per_s = 50;
  double across_latency_us = 50;
  double across_gb_per_s = 5;

  void describe(FieldTable& fields);
};

// Seconds of a collective that moves `bytes` (the whole, not the part) over these ranks.
double emulated_seconds(const EmulatedNetworkOptions& options,
                        const std::vector<int64_t>& global_ranks, int64_t bytes,
                        bool is_all_reduce);

// For lanes of a CPU: the calling thread sleeps.
std::unique_ptr<ProcessGroups> make_emulated_groups(std::unique_ptr<ProcessGroups> real,
                                                    const EmulatedNetworkOptions& options);

}  // namespace swath::sharding
