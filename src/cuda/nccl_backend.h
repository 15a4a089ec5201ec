// NCCL through LibTorch's c10d.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace swath::cuda {

// Connects at once, so that a wrong network shows up here. Throws std::exception.
c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    int64_t rank, int64_t size, c10::Device device,
                                                    std::chrono::milliseconds timeout);

}  // namespace swath::cuda
