// Where a rank's gradients lie from the moment autograd hands them over until the optimizer reads
// them.
//
//   whole  a unit's gradient in the dtype of the reduction. Sharded: from its first parameter's
//          gradient until it is scattered. Otherwise: for the whole run.
//   bucket the same under DDP, laid out in the order in which gradients become ready, so that a
//          bucket is reduced where it lies
//   sum    float32, this rank's part, over micro-batches; absent where the whole is just that
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/shard_schedule.h"
#include "core/strategy.h"
#include "sharding/flat_unit.h"

namespace swath::sharding {

class GradientBuffers {
 public:
  struct Options {
    at::ScalarType reduce_dtype = at::kFloat;
    int64_t accumulation = 1;
    bool reduce_every_micro_batch = true;
  };
  // The units outlive the buffers.
  GradientBuffers(const std::vector<const FlatUnit*>& units, std::vector<GradientBucket> buckets,
                  const Strategy& strategy, const Options& options);

  void begin_step();
  void begin_micro_batch(int64_t micro_batch);

  // Takes over a parameter's gradient of this micro-batch.
  void take(size_t unit, size_t parameter, const at::Tensor& gradient);
  // Zeros for parameters that got none since the last reduction.
  void complete(size_t unit);

  at::Tensor whole(size_t unit) const { return units_[unit].whole; }
  void release_whole(size_t unit) { units_[unit].whole.reset(); }
  at::Tensor bucket(size_t index) const { return buckets_[index].values; }

  // Whether reduced gradients go into sums, and whether those of this micro-batch open them.
  bool keeps_sums() const { return keeps_sums_; }
  bool is_first_sum() const { return adds_whole_ || micro_batch_ == 0; }
  // On the reductions' lane.
  void add_to_sum(size_t unit, const at::Tensor& part, bool is_first);
  void add_bucket_to_sums(size_t index, bool is_first);

  // What the optimizer reads.
  at::Tensor shard_gradient(size_t unit) const { return units_[unit].sum; }
  at::Tensor parameter_gradient(size_t unit, size_t parameter) const;

 private:
  struct Place {  // of a parameter's gradient
    int64_t bucket = -1;
    int64_t offset = 0;  // in the bucket or the unit's whole
  };
  struct Unit {
    const FlatUnit* flat = nullptr;
    std::vector<Place> places;
    std::vector<bool> has_values;
    at::Tensor whole;
    at::Tensor sum;
  };
  struct Bucket {
    GradientBucket content;
    at::Tensor values;
  };

  at::Tensor allocate_whole(const FlatUnit& flat) const;
  at::Tensor slot(Unit& unit, size_t parameter);

  std::vector<Unit> units_;
  std::vector<Bucket> buckets_;
  at::ScalarType reduce_dtype_;
  bool adds_whole_;  // micro-batches are added up before they are reduced
  bool keeps_sums_;
  int64_t micro_batch_ = 0;
};

}  // namespace swath::sharding
