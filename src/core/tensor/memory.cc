#include "core/tensor/memory.h"

#include <ATen/DeviceAccelerator.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <atomic>

namespace swath {
namespace {

std::atomic<int64_t> allocated{0};
std::atomic<int64_t> peak{0};

void count(int64_t bytes) {
  const int64_t now = allocated.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t seen = peak.load(std::memory_order_relaxed);
  while (now > seen && !peak.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
  }
}

// The size lies in front of the block, in one cache line so that the block stays aligned for AVX.
constexpr size_t kHeader = 64;
static_assert(kHeader >= c10::gAlignment);

void free_counted(void* data) {
  if (data == nullptr) return;
  char* block = static_cast<char*>(data) - kHeader;
  count(-*reinterpret_cast<int64_t*>(block));
  c10::free_cpu(block);
}

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &free_counted, c10::Device(c10::kCPU)};
    char* block = static_cast<char*>(c10::alloc_cpu(bytes + kHeader));
    *reinterpret_cast<int64_t*>(block) = static_cast<int64_t>(bytes);
    count(static_cast<int64_t>(bytes));
    void* data = block + kHeader;
    return {data, data, &free_counted, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_counted; }
  void copy_data(void* destination, const void* source, std::size_t bytes) const override {
    default_copy_data(destination, source, bytes);
  }
};

}  // namespace

void install_memory_counter() {
  static CountingAllocator allocator;
  // Above LibTorch's own priority 0, so that a later default registration does not replace it.
  c10::SetCPUAllocator(&allocator, 1);
}

MemoryStats memory_stats(c10::Device device) {
  if (device.is_cpu()) {
    const int64_t now = allocated.load(std::memory_order_relaxed);
    return {now, peak.load(std::memory_order_relaxed), now};
  }
  const auto stats = at::accelerator::getDeviceStats(device.index());
  const auto total = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {stats.allocated_bytes[total].current, stats.allocated_bytes[total].peak,
          stats.reserved_bytes[total].peak};
}

void reset_peak_memory(c10::Device device) {
  if (device.is_cpu()) {
    peak.store(allocated.load());
  } else {
    at::accelerator::resetPeakStats(device.index());
  }
}

c10::DataPtr release_memory(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  c10::DataPtr memory = storage->set_data_ptr(c10::DataPtr(nullptr, storage->device()));
  storage->set_nbytes(0);
  return memory;
}

bool has_memory(const at::Tensor& tensor) { return tensor.storage().nbytes() > 0; }

}  // namespace swath
