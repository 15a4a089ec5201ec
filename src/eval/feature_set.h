// Features of a set of images with what is known about each: what every classifier here works on.
//
// n images, D feature width.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace swath::eval {

struct FeatureSet {
  at::Tensor features_ND;            // float32, CPU, contiguous
  at::Tensor labels_N;               // int64, CPU; -1: no label
  std::vector<uint64_t> sample_ids;  // data::Sample::id
  std::vector<std::string> names;    // data::Sample::name

  int64_t size() const { return features_ND.size(0); }
};

// Views of contiguous CPU tensors for the functions of metrics.h; the tensor must outlive the view.
std::span<const float> as_floats(const at::Tensor& tensor);
std::span<const int64_t> as_integers(const at::Tensor& tensor);

}  // namespace swath::eval
