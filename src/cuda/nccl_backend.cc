#include "cuda/nccl_backend.h"

// nccl.h of another version than LibTorch's changes the layout of ProcessGroupNCCL::Options.
#include <nccl.h>
static_assert(NCCL_MAJOR == 2 && NCCL_MINOR == 28, "nccl.h must be that of LibTorch 2.11: 2.28");

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

namespace swath::cuda {

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    int64_t rank, int64_t size, c10::Device device,
                                                    std::chrono::milliseconds timeout) {
  const auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/false);
  options->timeout = timeout;
  auto backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, static_cast<int>(rank),
                                                             static_cast<int>(size), options);
  backend->setBoundDeviceId(device);
  backend->eagerConnectSingleDevice(device);
  return backend;
}

}  // namespace swath::cuda
