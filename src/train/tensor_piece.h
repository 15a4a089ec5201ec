// The part of a tensor that one process holds: what checkpoints are written from and loaded into.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor/param_view.h"
#include "core/tensor/tensor_io.h"

namespace swath::train {

// Elements [start, start + numel()) of the flattened tensor `name`. Flat shards cut a parameter
// anywhere, so a piece need not be a row or a rectangle of it.
struct TensorPiece {
  std::string name;
  std::vector<int64_t> shape;  // of the whole tensor
  int64_t start = 0;
  // Any shape and device. Undefined or empty: this process holds nothing of the tensor, and says
  // only that it belongs to the state.
  at::Tensor values{};

  int64_t numel() const { return values.defined() ? values.numel() : 0; }
  int64_t bytes() const;
  bool is_whole() const;
};

// Whole tensors.
std::vector<TensorPiece> pieces_of(const NamedTensors& tensors);

// Adds the parts of parameters in `values`, a tensor that is laid out like view.local (the weights,
// a moment, an average), under `prefix` + their names.
void append_pieces(const std::string& prefix, const ParamView& view, const at::Tensor& values,
                   std::vector<TensorPiece>* pieces);

// What number `replica` of `replicas` processes that hold the same pieces has to write, so that
// each value is written once and all have about as many bytes to write. The other pieces keep their
// names and lose their values.
std::vector<TensorPiece> share_of_replica(std::vector<TensorPiece> pieces, int64_t replica,
                                          int64_t replicas);

// Throws Error naming a piece that does not lie within its tensor.
void check_pieces(const std::vector<TensorPiece>& pieces);

}  // namespace swath::train
