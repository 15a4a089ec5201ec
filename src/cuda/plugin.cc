// The CUDA plugin: linked with libtorch_cuda, opened by core where a GPU is.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "core/error.h"
#include "core/tensor/cuda_plugin.h"
#include "cuda/nccl_backend.h"

namespace swath::cuda {
namespace {

cudaDeviceProp properties_of(int index) {
  cudaDeviceProp properties{};
  const cudaError_t status = cudaGetDeviceProperties(&properties, index);
  if (status != cudaSuccess) {
    throw Error(fmt::format("CUDA device {}: {}.", index, cudaGetErrorString(status)));
  }
  return properties;
}

class Plugin final : public CudaPlugin {
 public:
  std::string device_name(int index) const override { return properties_of(index).name; }
  int compute_capability(int index) const override {
    const cudaDeviceProp properties = properties_of(index);
    return 10 * properties.major + properties.minor;
  }
  c10::intrusive_ptr<c10d::Backend> make_nccl_backend(
      const c10::intrusive_ptr<c10d::Store>& store, int64_t rank, int64_t size, c10::Device device,
      std::chrono::milliseconds timeout) const override {
    return cuda::make_nccl_backend(store, rank, size, device, timeout);
  }
};

}  // namespace
}  // namespace swath::cuda

extern "C" __attribute__((visibility("default"))) const swath::CudaPlugin* swath_cuda_plugin() {
  static const swath::cuda::Plugin plugin;
  return &plugin;
}
