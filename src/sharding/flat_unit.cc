#include "sharding/flat_unit.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace swath::sharding {

FlatUnit::FlatUnit(std::string name, std::vector<UnitParameter> parameters,
                   at::ScalarType compute_dtype, int64_t shard_rank, int64_t shard_size)
    : name_(std::move(name)),
      parameters_(std::move(parameters)),
      shard_rank_(shard_rank),
      shard_size_(shard_size) {
  const at::NoGradGuard no_grad;
  int64_t numel = 0;
  for (UnitParameter& parameter : parameters_) {
    parameter.shape = parameter.tensor.sizes().vec();
    parameter.numel = parameter.tensor.numel();
    parameter.offset = std::exchange(numel, numel + parameter.numel);
    if (parameter.tensor.device() == parameters_.front().tensor.device()) continue;
    throw Error(fmt::format("sharding: {} is on {}, {} on {}.", parameter.name,
                            parameter.tensor.device().str(), parameters_.front().name,
                            parameters_.front().tensor.device().str()),
                "a model lies on one device.");
  }
  shard_numel_ = (numel + shard_size_ - 1) / shard_size_;
  const at::TensorOptions options = parameters_.front().tensor.options().requires_grad(false);

  at::Tensor values = at::zeros({padded_numel()}, options.dtype(at::kFloat));
  for (const UnitParameter& parameter : parameters_) {
    values.narrow(0, parameter.offset, parameter.numel).copy_(parameter.tensor.flatten());
  }
  master_ = is_sharded() ? own_slice(values).clone() : values;
  whole_ = compute_dtype == at::kFloat ? values : values.to(compute_dtype);
  for (UnitParameter& parameter : parameters_) {
    parameter.tensor.set_data(
        whole_.narrow(0, parameter.offset, parameter.numel).view(parameter.shape));
  }
  if (is_sharded()) release_whole();
}

at::Tensor FlatUnit::own_slice(const at::Tensor& whole) const {
  return whole.narrow(0, shard_rank_ * shard_numel_, shard_numel_);
}

// The StorageImpl stays the same, so the parameters' tensors see the new memory.
void FlatUnit::allocate_whole() {
  c10::StorageImpl* storage = whole_.storage().unsafeGetStorageImpl();
  const auto bytes = static_cast<size_t>(padded_numel()) * whole_.element_size();
  storage->set_data_ptr_noswap(storage->allocator()->allocate(bytes));
  storage->set_nbytes(bytes);
}

c10::DataPtr FlatUnit::release_whole() {
  c10::StorageImpl* storage = whole_.storage().unsafeGetStorageImpl();
  c10::DataPtr memory = storage->set_data_ptr(c10::DataPtr(nullptr, storage->device()));
  storage->set_nbytes(0);
  return memory;
}

void FlatUnit::refresh_own_slice() { own_slice(whole_).copy_(master_); }

std::vector<ParamSegment> FlatUnit::segments() const {
  const int64_t begin = shard_rank_ * shard_numel_;
  std::vector<ParamSegment> segments;
  for (const UnitParameter& parameter : parameters_) {
    const int64_t first = std::max(begin, parameter.offset);
    const int64_t last = std::min(begin + shard_numel_, parameter.offset + parameter.numel);
    if (first >= last) continue;
    ParamSegment segment;
    segment.name = parameter.name;
    segment.shape = parameter.shape;
    segment.start = first - parameter.offset;
    segment.offset = first - begin;
    segment.length = last - first;
    segment.decay = parameter.rule.decay;
    segment.lr_scale = parameter.rule.lr_scale;
    segments.push_back(std::move(segment));
  }
  return segments;
}

}  // namespace swath::sharding
