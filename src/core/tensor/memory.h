// Bytes that tensors hold, now and at their peak.
//
// LibTorch keeps no statistics for the CPU, so a counting allocator of ours stands in front of its
// own one. On CUDA the caching allocator's numbers are read.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

#include <cstdint>

namespace swath {

struct MemoryStats {
  int64_t allocated_bytes = 0;
  int64_t peak_bytes = 0;      // the largest allocated_bytes since the last reset
  int64_t reserved_bytes = 0;  // what the allocator holds from the system; CPU: as allocated
};

// Puts the counting allocator in place; call once, before the first tensor.
void install_memory_counter();

MemoryStats memory_stats(c10::Device device);
void reset_peak_memory(c10::Device device);

// Takes the memory from a tensor, and from all its views; it keeps its identity and its shape, and
// may be given other memory. What is returned lives as long as the caller holds it.
c10::DataPtr release_memory(const at::Tensor& tensor);
bool has_memory(const at::Tensor& tensor);

}  // namespace swath
