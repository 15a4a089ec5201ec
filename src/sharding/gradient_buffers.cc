#include "sharding/gradient_buffers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace swath::sharding {

GradientBuffers::GradientBuffers(const std::vector<const FlatUnit*>& units,
                                 std::vector<GradientBucket> buckets, const Strategy& strategy,
                                 const Options& options)
    : reduce_dtype_(strategy.world_size > 1 ? options.reduce_dtype : at::kFloat),
      adds_whole_(strategy.world_size == 1 || !options.reduce_every_micro_batch),
      keeps_sums_(strategy.is_sharded() || reduce_dtype_ != at::kFloat ||
                  (options.accumulation > 1 && !adds_whole_)) {
  for (const FlatUnit* flat : units) {
    Unit unit;
    unit.flat = flat;
    for (const UnitParameter& parameter : flat->parameters()) {
      unit.places.push_back({-1, parameter.offset});
    }
    unit.has_values.assign(unit.places.size(), false);
    const at::TensorOptions float32 = flat->master().options();
    if (keeps_sums_) unit.sum = at::zeros({flat->shard_numel()}, float32);
    units_.push_back(std::move(unit));
  }
  for (GradientBucket& content : buckets) {
    int64_t offset = 0;
    for (const GradientBucket::Piece& piece : content.pieces) {
      Unit& unit = units_[static_cast<size_t>(piece.unit)];
      const auto parameter = static_cast<size_t>(piece.parameter);
      unit.places[parameter] = {static_cast<int64_t>(buckets_.size()), offset};
      offset += unit.flat->parameters()[parameter].numel;
    }
    const at::TensorOptions options_of_sum = units_.front().flat->master().options();
    buckets_.push_back(
        {std::move(content), at::zeros({offset}, options_of_sum.dtype(reduce_dtype_))});
  }
  if (strategy.is_sharded() || !buckets_.empty()) return;
  for (Unit& unit : units_) unit.whole = allocate_whole(*unit.flat);
}

at::Tensor GradientBuffers::allocate_whole(const FlatUnit& flat) const {
  at::Tensor whole = at::empty({flat.padded_numel()}, flat.master().options().dtype(reduce_dtype_));
  const UnitParameter& last = flat.parameters().back();
  whole.slice(0, last.offset + last.numel).zero_();
  return whole;
}

void GradientBuffers::begin_step() {
  micro_batch_ = 0;
  for (Unit& unit : units_) {
    unit.has_values.assign(unit.has_values.size(), false);
    if (unit.flat->is_sharded()) unit.whole.reset();
  }
}

void GradientBuffers::begin_micro_batch(int64_t micro_batch) {
  micro_batch_ = micro_batch;
  if (adds_whole_) return;
  for (Unit& unit : units_) unit.has_values.assign(unit.has_values.size(), false);
}

at::Tensor GradientBuffers::slot(Unit& unit, size_t parameter) {
  const Place& place = unit.places[parameter];
  const int64_t numel = unit.flat->parameters()[parameter].numel;
  if (place.bucket >= 0) {
    return buckets_[static_cast<size_t>(place.bucket)].values.narrow(0, place.offset, numel);
  }
  if (!unit.whole.defined()) unit.whole = allocate_whole(*unit.flat);
  return unit.whole.narrow(0, place.offset, numel);
}

void GradientBuffers::take(size_t unit_index, size_t parameter, const at::Tensor& gradient) {
  Unit& unit = units_[unit_index];
  const at::Tensor target = slot(unit, parameter).view(gradient.sizes());
  if (unit.has_values[parameter]) {
    target.add_(gradient);
  } else {
    target.copy_(gradient);
    unit.has_values[parameter] = true;
  }
}

void GradientBuffers::complete(size_t unit_index) {
  Unit& unit = units_[unit_index];
  for (size_t i = 0; i < unit.has_values.size(); ++i) {
    if (unit.has_values[i]) continue;
    slot(unit, i).zero_();
    unit.has_values[i] = true;
  }
}

void GradientBuffers::add_to_sum(size_t unit, const at::Tensor& part, bool is_first) {
  at::Tensor& sum = units_[unit].sum;
  if (is_first) {
    sum.copy_(part);
  } else {
    sum.add_(part);
  }
}

void GradientBuffers::add_bucket_to_sums(size_t index, bool is_first) {
  const Bucket& bucket = buckets_[index];
  int64_t offset = 0;
  for (const GradientBucket::Piece& piece : bucket.content.pieces) {
    const Unit& unit = units_[static_cast<size_t>(piece.unit)];
    const UnitParameter& parameter = unit.flat->parameters()[static_cast<size_t>(piece.parameter)];
    const at::Tensor part = bucket.values.narrow(0, offset, parameter.numel);
    const at::Tensor sum = unit.sum.narrow(0, parameter.offset, parameter.numel);
    if (is_first) {
      sum.copy_(part);
    } else {
      sum.add_(part);
    }
    offset += parameter.numel;
  }
}

at::Tensor GradientBuffers::parameter_gradient(size_t unit_index, size_t parameter) const {
  const Unit& unit = units_[unit_index];
  const UnitParameter& of_unit = unit.flat->parameters()[parameter];
  if (keeps_sums_) return unit.sum.narrow(0, of_unit.offset, of_unit.numel);
  const Place& place = unit.places[parameter];
  const at::Tensor& values =
      place.bucket >= 0 ? buckets_[static_cast<size_t>(place.bucket)].values : unit.whole;
  return values.narrow(0, place.offset, of_unit.numel);
}

}  // namespace swath::sharding
