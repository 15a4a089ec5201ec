// `bench io`: the data loader alone, beside torchvision and Pillow doing the same work.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/transform.h"

namespace swath::bench {

struct IoBenchOptions {
  data::DatasetOptions data;
  data::TransformOptions transform;
  int64_t workers = 1;
  int64_t batch_size = 64;
  double seconds = 3;  // of each repeat
  int64_t repeats = 5;
  bool peer = true;  // also runs Python, in turns
  int64_t seed = 0;  // of crops and order; set by the command

  void describe(FieldTable& fields);
};

// {"images_per_second": {median, minimum, maximum, count}, "images_per_second_per_core",
//  "workers", "peer": {...}, "ratio": of medians, "ratio_spread": turn by turn}. The first batch is
// checked before anything is timed: finite, the same for another number of workers. The peer reads
// the same files with the same random crops; UsageError for data or a transform it does not know.
Json bench_io(const IoBenchOptions& options);

}  // namespace swath::bench
