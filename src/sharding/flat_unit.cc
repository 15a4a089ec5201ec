#include "sharding/flat_unit.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/tensor/memory.h"

namespace swath::sharding {

FlatUnit::FlatUnit(std::string name, std::vector<UnitParameter> parameters, const Options& options,
                   const InitialValues& initial_values)
    : name_(std::move(name)),
      parameters_(std::move(parameters)),
      shard_rank_(options.shard_rank),
      shard_size_(options.shard_size) {
  const at::NoGradGuard no_grad;
  int64_t numel = 0;
  for (UnitParameter& parameter : parameters_) {
    parameter.shape = parameter.tensor.sizes().vec();
    parameter.numel = parameter.tensor.numel();
    parameter.offset = std::exchange(numel, numel + parameter.numel);
  }
  shard_numel_ = (numel + shard_size_ - 1) / shard_size_;

  const at::TensorOptions on_device(options.device);
  const at::Tensor values = at::zeros({padded_numel()}, on_device.dtype(at::kFloat));
  for (const UnitParameter& parameter : parameters_) {
    const at::Tensor into =
        values.narrow(0, parameter.offset, parameter.numel).view(parameter.shape);
    if (has_memory(parameter.tensor)) {
      into.copy_(parameter.tensor);
    } else if (initial_values) {
      initial_values(parameter.name, into);
    } else {
      throw Error(fmt::format("sharding: {} has no memory and no initial values.", parameter.name));
    }
  }
  master_ = is_sharded() ? own_slice(values).clone() : values;
  if (options.compute_dtype == at::kFloat) {
    whole_ = values;
  } else if (is_sharded()) {  // gathered before it is read
    whole_ = at::empty({padded_numel()}, on_device.dtype(options.compute_dtype));
  } else {
    whole_ = values.to(options.compute_dtype);
  }
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

c10::DataPtr FlatUnit::release_whole() { return release_memory(whole_); }

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
