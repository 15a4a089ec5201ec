// What the CUDA plugin library offers to the CPU-clean core. The plugin is loaded at run time where
// a GPU is; loading it also registers LibTorch's CUDA kernels.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace swath {

class CudaPlugin {
 public:
  virtual ~CudaPlugin() = default;
  virtual std::string device_name(int index) const = 0;  // "NVIDIA H200"
  virtual int compute_capability(int index) const = 0;   // 90 for sm_90
  // One group of processes over NCCL, each with a GPU of its own. Throws std::exception.
  virtual c10::intrusive_ptr<c10d::Backend> make_nccl_backend(
      const c10::intrusive_ptr<c10d::Store>& store, int64_t rank, int64_t size, c10::Device device,
      std::chrono::milliseconds timeout) const = 0;
};

// The C function that the plugin exports under this name returns its only instance.
inline constexpr const char* kCudaPluginEntry = "swath_cuda_plugin";
using CudaPluginEntry = const CudaPlugin* (*)();

// The loaded plugin, or null with `*reason` set. Loads it on the first call.
const CudaPlugin* cuda_plugin(std::string* reason);

}  // namespace swath
