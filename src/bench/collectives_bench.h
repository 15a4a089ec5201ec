// `bench collectives`: what the network between ranks gives, collective by collective.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "sharding/communicator.h"
#include "sharding/options.h"

namespace swath::bench {

struct CollectivesBenchOptions {
  sharding::ShardingOptions sharding;
  std::vector<double> mib = {0.25, 1, 4, 16, 64};
  int64_t iterations = 5;
  int64_t repeats = 7;
  int64_t seed = 0;  // set by the command; values are ranks' numbers

  void describe(FieldTable& fields);
};

// {"ranks", "carrier", "rows": [{"collective", "mib", "seconds": {median, minimum, maximum},
// "gigabytes_per_second"}]}. `mib` is the size of what is gathered, scattered or summed, in
// float32. The rate is that of each rank's link, whatever the number of ranks: bytes sent by the
// best algorithm, (p - 1) / p of the whole, twice that for an all-reduce.
// With `library` (other groups of the same ranks) each row has "library_seconds" and "ratio", its
// median over ours, measured in turns. Results are checked before anything is timed: Error.
Json bench_collectives(const CollectivesBenchOptions& options, c10::Device device,
                       sharding::ProcessGroups& groups, sharding::ProcessGroups* library);

}  // namespace swath::bench
