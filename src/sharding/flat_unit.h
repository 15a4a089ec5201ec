// One unit of the model as one-dimensional memory: the parameters of a block laid end to end,
// padded on the right so that the shard group divides it.
//
//   master  float32, this rank's part; lives for the whole run, the optimizer updates it
//   whole   all of the unit in the dtype that computes; the module's parameters are views of it
//
// Sharded, `whole` has memory only between allocate_whole() and release_whole(): the module's
// tensors keep their identity, so that what autograd saved is valid again after the next gather.
// Alone in its shard group, `whole` stays; in float32 it is the master itself.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor/param_view.h"
#include "sharding/parameters.h"

namespace swath::sharding {

struct UnitParameter {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0;  // first element in the unit
  int64_t numel = 0;
  ParameterRule rule;
  at::Tensor tensor;  // the module's own
};

class FlatUnit {
 public:
  struct Options {
    at::ScalarType compute_dtype = at::kFloat;
    c10::Device device = at::kCPU;
    int64_t shard_rank = 0;
    int64_t shard_size = 1;
  };

  // Takes over the module's parameters: gives them memory on the device, with the values they have,
  // or `initial_values` where they have no memory yet. Holds one whole unit for a moment.
  FlatUnit(std::string name, std::vector<UnitParameter> parameters, const Options& options,
           const InitialValues& initial_values);

  const std::string& name() const { return name_; }
  const std::vector<UnitParameter>& parameters() const { return parameters_; }
  int64_t padded_numel() const { return shard_numel_ * shard_size_; }
  int64_t shard_numel() const { return shard_numel_; }
  bool is_sharded() const { return shard_size_ > 1; }

  const at::Tensor& master() const { return master_; }
  const at::Tensor& whole() const { return whole_; }
  // This rank's slice of a padded whole of any dtype.
  at::Tensor own_slice(const at::Tensor& whole) const;

  // Sharded units only. Memory comes from the current stream's allocator; what is released is
  // returned, so that a caller can hold it until the device is through with it.
  void allocate_whole();
  c10::DataPtr release_whole();
  // Writes this rank's part into `whole`, in its dtype.
  void refresh_own_slice();

  // The parameters' parts that lie in this rank's master.
  std::vector<ParamSegment> segments() const;

 private:
  std::string name_;
  std::vector<UnitParameter> parameters_;
  int64_t shard_rank_;
  int64_t shard_size_;
  int64_t shard_numel_ = 0;
  at::Tensor master_;
  at::Tensor whole_;
};

}  // namespace swath::sharding
