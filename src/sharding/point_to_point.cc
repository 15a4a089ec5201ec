#include "sharding/point_to_point.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace swath::sharding {
namespace {

// Chunks travel in segments, so that one is added while the next is on its way.
constexpr int64_t kSegmentBytes = 1 << 20;

class Ring {
 public:
  Ring(PointToPoint& links, const at::Tensor& values, int64_t rank, int64_t size, int64_t tag)
      : links_(links), values_(values), rank_(rank), size_(size), tag_(tag) {
    const int64_t largest = (values.numel() + size - 1) / size;
    segment_numel_ = std::max<int64_t>(1, kSegmentBytes / values.element_size());
    num_segments_ = (largest + segment_numel_ - 1) / segment_numel_;
  }

  int64_t num_segments() const { return num_segments_; }

  // Segment `s` of chunk `c`, counted around the ring; may be empty.
  at::Tensor segment(int64_t c, int64_t s) const {
    c = ((c % size_) + size_) % size_;
    const int64_t begin = values_.numel() * c / size_;
    const int64_t end = values_.numel() * (c + 1) / size_;
    const int64_t first = std::min(begin + s * segment_numel_, end);
    const int64_t last = std::min(first + segment_numel_, end);
    return values_.narrow(0, first, last - first);
  }

  void send(const at::Tensor& part, int64_t step, int64_t s) {
    if (part.numel() == 0) return;
    sends_.push_back(links_.send(part, (rank_ + 1) % size_, tag_of(step, s)));
  }
  Completion receive(const at::Tensor& part, int64_t step, int64_t s) {
    if (part.numel() == 0) return [] {};
    return links_.receive(part, (rank_ + size_ - 1) % size_, tag_of(step, s));
  }
  void finish() {
    for (const Completion& send : sends_) send();
  }

 private:
  int64_t tag_of(int64_t step, int64_t s) const { return tag_ + step * num_segments_ + s; }

  PointToPoint& links_;
  const at::Tensor& values_;
  int64_t rank_;
  int64_t size_;
  int64_t tag_;
  int64_t segment_numel_ = 1;
  int64_t num_segments_ = 1;
  std::vector<Completion> sends_;
};

}  // namespace

int64_t tags_used(int64_t numel, int64_t element_bytes, int64_t size) {
  const int64_t largest_bytes = (numel + size - 1) / size * element_bytes;
  return std::max<int64_t>(1, size - 1) * (largest_bytes / kSegmentBytes + 1);
}

// In step k this rank passes on chunk rank - 1 - k, to which it has added its own values, and
// receives chunk rank - 2 - k; after size - 1 steps that is chunk `rank`.
void ring_reduce_scatter(PointToPoint& links, const at::Tensor& values, int64_t rank, int64_t size,
                         int64_t tag) {
  if (size == 1) return;
  Ring ring(links, values, rank, size, tag);
  const int64_t segments = ring.num_segments();
  const at::Tensor scratch =
      at::empty({(values.numel() + size - 1) / size}, values.options().requires_grad(false));
  const auto scratch_for = [&](const at::Tensor& segment, int64_t s) {
    const int64_t begin = s * std::max<int64_t>(1, kSegmentBytes / values.element_size());
    return scratch.narrow(0, std::min(begin, scratch.numel()), segment.numel());
  };
  std::vector<Completion> arrivals(static_cast<size_t>(segments));
  for (int64_t s = 0; s < segments; ++s) {
    const at::Tensor incoming = ring.segment(rank - 2, s);
    if (incoming.numel() > 0) {
      arrivals[static_cast<size_t>(s)] = ring.receive(scratch_for(incoming, s), 0, s);
    } else {
      arrivals[static_cast<size_t>(s)] = [] {};
    }
  }
  for (int64_t s = 0; s < segments; ++s) ring.send(ring.segment(rank - 1, s), 0, s);
  for (int64_t step = 0; step + 1 < size; ++step) {
    for (int64_t s = 0; s < segments; ++s) {
      arrivals[static_cast<size_t>(s)]();
      const at::Tensor mine = ring.segment(rank - 2 - step, s);
      if (mine.numel() > 0) mine.add_(scratch_for(mine, s));
      if (step + 2 == size) continue;
      const at::Tensor following = ring.segment(rank - 3 - step, s);
      if (following.numel() > 0) {
        arrivals[static_cast<size_t>(s)] = ring.receive(scratch_for(following, s), step + 1, s);
      } else {
        arrivals[static_cast<size_t>(s)] = [] {};
      }
      ring.send(mine, step + 1, s);
    }
  }
  ring.finish();
}

void ring_all_gather(PointToPoint& links, const at::Tensor& values, int64_t rank, int64_t size,
                     int64_t tag) {
  if (size == 1) return;
  Ring ring(links, values, rank, size, tag);
  const int64_t segments = ring.num_segments();
  // Every message has its place and tag: all receives can wait from the start.
  std::vector<Completion> arrivals;
  for (int64_t step = 0; step + 1 < size; ++step) {
    for (int64_t s = 0; s < segments; ++s) {
      arrivals.push_back(ring.receive(ring.segment(rank - 1 - step, s), step, s));
    }
  }
  for (int64_t s = 0; s < segments; ++s) ring.send(ring.segment(rank, s), 0, s);
  for (int64_t step = 0; step + 1 < size; ++step) {
    for (int64_t s = 0; s < segments; ++s) {
      arrivals[static_cast<size_t>(step * segments + s)]();
      if (step + 2 < size) ring.send(ring.segment(rank - 1 - step, s), step + 1, s);
    }
  }
  ring.finish();
}

}  // namespace swath::sharding
