// A folder of granules to a folder of record shards, by many processes, on one machine or many.
//
// Granules are sorted and taken in groups; group k becomes shard-0000k.shard and a note beside it
// in `.chips/`, both complete or absent, the note last. So what a killed run left undone is found
// by looking, and the result does not depend on the number of processes or ranks. A finished group
// is done again only when one of its files has another size since, or could not be read then. The
// manifest comes when every group has its note.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "core/launch_environment.h"
#include "data/modis/chip_cutter.h"
#include "data/modis/chip_options.h"

namespace swath::data::modis {

struct ChipJobOptions {
  std::string root;         // folder that is searched for MOD021KM and MYD021KM files, or one file
  std::string masks;        // folder of MOD06 or MOD35 files; empty: root
  std::string geolocation;  // folder of MOD03 files; empty: root
  std::string output;
  ChipOptions chips;
  std::string encoding = "raw";
  int64_t granules_per_shard = 0;  // 0: by their number
  int64_t processes = 0;           // of each rank; 0: one per processor core
  bool quick_looks = true;
  bool skip_bad = false;
  bool overwrite = false;
  double rank_timeout_minutes = 60;

  void describe(FieldTable& fields);
};

// Level-1B files below `root`, in the order of platform and time, each with the files that belong
// to it. Throws UsageError when there is none, and when two Level-1B files are of one granule; of
// other products the newest counts.
std::vector<GranuleFiles> find_granules(const ChipJobOptions& options);

// Returns, on rank 0 after waiting for the others, else null:
//   {"output", "granules", "used", "chips", "rejected": {reason: chips}, "bad_granules":
//    {reason: granules}, "bad": [{name, reason, message}], "shards", "bytes", "sha256" (of the
//    manifest), "codes": {band: {code: pixels}}, "striped": {band: granules}, "unused":
//    {"mask" | "geolocation": granules}, "synthetic": granules, "resumed_shards", "seconds",
//    "granules_per_second"}
// "bad" names the first 100; `granules.csv` in the output has them all. Without skip_bad the first
// bad granule stops the job (BadGranule); what was finished stays, and the same command goes on
// from there. With it, a granule that ends its process is one of them ("crash"). Throws UsageError
// for an output that another list of granules or other options made.
//
// Call it before the process has threads that hold locks: it forks.
Json make_chips(const ChipJobOptions& options, const LaunchEnvironment& environment);

}  // namespace swath::data::modis
