// What an optimizer sees of the parameters: local memory and names, sharded or not.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace swath {

// One parameter, or the part of it that lies in this view.
struct ParamSegment {
  std::string name;            // "blocks.0.attn.qkv.weight"
  std::vector<int64_t> shape;  // of the whole parameter
  int64_t offset = 0;          // first element in ParamView::local
  int64_t length = 0;          // elements in ParamView::local
  bool decay = true;           // whether weight decay applies
  double lr_scale = 1;         // layer-wise learning-rate decay
  int64_t start = 0;           // first element of the flattened parameter that lies here
};

struct ParamView {
  at::Tensor local;  // one-dimensional, contiguous, float32: updated in place
  at::Tensor grad;   // the same size and device; float32
  // The lower-precision copy that the model computes with; undefined when it computes with `local`.
  // An optimizer writes the rounded result of its update here.
  at::Tensor compute_copy;
  std::vector<ParamSegment> segments;
  // Sums a small tensor over all holders of a shard of the same parameters; absent: nothing is
  // sharded. Global norms and LARS ratios need it.
  std::function<void(at::Tensor&)> sum_over_shards;
};

}  // namespace swath
