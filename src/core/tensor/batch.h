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
  // bool (B, C, H, W), or (B, 1, H, W) for all bands alike: which values of `images_BCHW` were
  // measured. Undefined: all. Where it is false the image holds 0, the mean of its band, and the
  // value enters neither a loss nor a statistic.
  at::Tensor valid;
  // A stable identity per record: masks and augmentation are functions of (seed, epoch, id).
  std::vector<uint64_t> sample_ids;
  uint64_t epoch = 0;

  int64_t size() const { return static_cast<int64_t>(sample_ids.size()); }
};

}  // namespace swath
