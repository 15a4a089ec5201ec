#include "core/tensor/memory.h"

#include <gtest/gtest.h>

#include "core/tensor/torch.h"

namespace swath {
namespace {

TEST(Memory, CountsAllocatedBytesAndTheirPeak) {
  install_memory_counter();
  const c10::Device cpu(c10::kCPU);
  const int64_t before = memory_stats(cpu).allocated_bytes;
  reset_peak_memory(cpu);
  {
    const at::Tensor kept = at::empty({1000}, at::kFloat);
    EXPECT_EQ(memory_stats(cpu).allocated_bytes - before, 4000);
    {
      const at::Tensor temporary = at::empty({2000}, at::kFloat);
    }
    EXPECT_EQ(memory_stats(cpu).allocated_bytes - before, 4000);
    EXPECT_EQ(memory_stats(cpu).peak_bytes - before, 12000);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(kept.const_data_ptr()) % 64, 0u);
  }
  EXPECT_EQ(memory_stats(cpu).allocated_bytes, before);
  reset_peak_memory(cpu);
  EXPECT_EQ(memory_stats(cpu).peak_bytes, before);
}

TEST(Memory, ResizedStorageKeepsItsBytesAndTheCount) {
  install_memory_counter();
  const int64_t before = memory_stats(c10::kCPU).allocated_bytes;
  {
    at::Tensor tensor = torch::arange(8, at::kFloat);
    tensor.resize_({1000});
    EXPECT_EQ(tensor[7].item<float>(), 7);
    EXPECT_EQ(memory_stats(c10::kCPU).allocated_bytes - before, 4000);
  }
  EXPECT_EQ(memory_stats(c10::kCPU).allocated_bytes, before);
}

}  // namespace
}  // namespace swath
