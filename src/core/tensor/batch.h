// What the loader hands to an objective.
//
// B samples, C channels (bands), H = W image side.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace swath {

struct Batch {
  at::Tensor images_BCHW;  // float32, normalised per band, on the device of the run
  at::Tensor labels_B;     // int64 class indices; undefined when the data has no labels
  // A stable identity per record: masks and augmentation are functions of (seed, epoch, id).
  std::vector<uint64_t> sample_ids;
  uint64_t epoch = 0;

  int64_t size() const { return static_cast<int64_t>(sample_ids.size()); }
};

}  // namespace swath
