// Ring collectives over sends and receives: every byte crosses each link once, straight from and
// into the caller's memory.
//
// Gloo's own reduce-scatter is a clone and a whole all-reduce (twice the traffic, one more buffer
// of full size), its all-gather lands in a buffer of its own and is copied. The rings here move (p
// - 1) / p of the bytes per rank and need one part as scratch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace swath::sharding {

// Waits for a send or receive; throws what went wrong.
using Completion = std::function<void()>;

// Messages between the members of a group. Tensors stay alive and untouched until the completion
// has run. Messages of one pair and tag arrive in order.
class PointToPoint {
 public:
  virtual ~PointToPoint() = default;
  virtual Completion send(const at::Tensor& values, int64_t to, int64_t tag) = 0;
  virtual Completion receive(const at::Tensor& values, int64_t from, int64_t tag) = 0;
};

// `values` is cut into one chunk per member, [numel * c / size, numel * (c + 1) / size).
// Afterwards chunk `rank` holds the members' sum; the others are scratch. `tag` and the
// `tags_used()` after it belong to the call.
void ring_reduce_scatter(PointToPoint& links, const at::Tensor& values, int64_t rank, int64_t size,
                         int64_t tag);
// Chunk `rank` goes to everyone.
void ring_all_gather(PointToPoint& links, const at::Tensor& values, int64_t rank, int64_t size,
                     int64_t tag);
int64_t tags_used(int64_t numel, int64_t element_bytes, int64_t size);

}  // namespace swath::sharding
