// `bench chips`: reading, calibrating and cutting granules, beside satpy and beside pyhdf + NumPy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"

namespace swath::bench {

struct ChipsBenchOptions {
  std::string root;  // a MOD021KM or MYD021KM file; empty: a synthetic granule, plain and deflated
  std::vector<std::string> bands = {"6/5", "7", "20", "28", "29", "31"};
  int64_t size = 128;
  int64_t scans = 203;  // of the synthetic granule
  int64_t repeats = 7;
  bool peer = true;
  int64_t seed = 0;  // of the synthetic granule; set by the command

  void describe(FieldTable& fields);
};

// Everybody opens the file anew, from the page cache, in one thread, and ends with the accepted
// chips as float32 radiances (chip, band, row, column) in memory. Ours also reads positions, angles
// and the scans' metadata, counts codes and stripes, and keeps its memory from one granule to the
// next, as a job does. satpy also reads the uncertainty indexes; pyhdf reads whole slabs of all
// bands of an array, as its users do. Before anything is timed, the peers' chips
// are compared with ours: their number, and every value. {"files": [{"kind", "bytes", "chips",
// "seconds": spread, "granules_per_second", "inflate_share" (of our seconds), "read_seconds" (the
// bands alone), "peers": [{"what", "versions", "seconds", "ratio": theirs / ours,
// "ratio_spread"}]}]}
Json bench_chips(const ChipsBenchOptions& options);

// `bench chip-loader`: batches of calibrated float32 out of record shards of chips, beside pread()
// of the same records from the page cache into memory that is used again.
struct ChipLoaderBenchOptions {
  std::string root;  // a folder that `swath chips` wrote; empty: synthetic chips
  std::string units = "radiance";
  int64_t size = 128;
  int64_t chips = 2048;  // synthetic ones
  int64_t batch_size = 64;
  int64_t workers = 1;
  double seconds = 2;
  int64_t repeats = 5;
  int64_t seed = 0;

  void describe(FieldTable& fields);
};

// {"chips_per_second": spread, "stored_gigabytes_per_second", "batch_gigabytes_per_second",
//  "pread_chips_per_second": spread, "pread_gigabytes_per_second", "ratio": batch bytes to pread's,
//  "record_ratio": chips to pread's, "ratio_spread"}. The first batch is compared with values
// calibrated one by one before anything is timed.
Json bench_chip_loader(const ChipLoaderBenchOptions& options);

}  // namespace swath::bench
