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

  void describe(FieldTable& fields);
};

// {"images_per_second": {median, minimum, maximum, count}, "images_per_second_per_core",
//  "workers", "peer": {...}, "ratio": of medians}. The first batch is checked before anything is
// timed: finite, right shape, the same for another number of workers.
Json bench_io(const IoBenchOptions& options);

}  // namespace swath::bench
