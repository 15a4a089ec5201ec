// What the CUDA plugin library offers to the CPU-clean core. The plugin is loaded at run time where
// a GPU is; loading it also registers LibTorch's CUDA kernels.
#pragma once

#include <string>

namespace swath {

class CudaPlugin {
 public:
  virtual ~CudaPlugin() = default;
  virtual std::string device_name(int index) const = 0;  // "NVIDIA H200"
  virtual int compute_capability(int index) const = 0;   // 90 for sm_90
};

// The C function that the plugin exports under this name returns its only instance.
inline constexpr const char* kCudaPluginEntry = "swath_cuda_plugin";
using CudaPluginEntry = const CudaPlugin* (*)();

// The loaded plugin, or null with `*reason` set. Loads it on the first call.
const CudaPlugin* cuda_plugin(std::string* reason);

}  // namespace swath
