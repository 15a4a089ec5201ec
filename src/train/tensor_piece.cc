#include "train/tensor_piece.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "train/checkpoint_format.h"

namespace swath::train {

int64_t TensorPiece::bytes() const {
  return values.defined() ? numel() * static_cast<int64_t>(values.element_size()) : 0;
}

bool TensorPiece::is_whole() const { return start == 0 && numel() == element_count(shape); }

std::vector<TensorPiece> pieces_of(const NamedTensors& tensors) {
  std::vector<TensorPiece> pieces;
  pieces.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    pieces.push_back({name, tensor.sizes().vec(), 0, tensor});
  }
  return pieces;
}

void append_pieces(const std::string& prefix, const ParamView& view, const at::Tensor& values,
                   std::vector<TensorPiece>* pieces) {
  for (const ParamSegment& segment : view.segments) {
    pieces->push_back({prefix + segment.name, segment.shape, segment.start,
                       values.narrow(0, segment.offset, segment.length)});
  }
}

std::vector<TensorPiece> share_of_replica(std::vector<TensorPiece> pieces, int64_t replica,
                                          int64_t replicas) {
  int64_t total_bytes = 0;
  for (const TensorPiece& piece : pieces) total_bytes += piece.bytes();
  // A piece goes to the one in whose part of all the bytes its middle lies. Doubles: the product of
  // bytes and replicas may exceed 64 bits, and all replicas compute the same.
  double before = 0;
  for (TensorPiece& piece : pieces) {
    const auto bytes = static_cast<double>(piece.bytes());
    const double middle =
        (before + bytes / 2) / static_cast<double>(std::max<int64_t>(1, total_bytes));
    const auto owner =
        std::min(static_cast<int64_t>(middle * static_cast<double>(replicas)), replicas - 1);
    before += bytes;
    if (owner != replica) piece.values = at::Tensor();
  }
  return pieces;
}

void check_pieces(const std::vector<TensorPiece>& pieces) {
  for (const TensorPiece& piece : pieces) {
    if (piece.start >= 0 && piece.start + piece.numel() <= element_count(piece.shape)) continue;
    throw Error(fmt::format(
        "checkpoint: elements {} to {} of tensor {} with shape [{}] do not exist.", piece.start,
        piece.start + piece.numel(), piece.name, fmt::join(piece.shape, ", ")));
  }
}

}  // namespace swath::train
