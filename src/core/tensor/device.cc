#include "core/tensor/device.h"

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor/cuda_plugin.h"
#include "core/tensor/onednn.h"

namespace swath {
namespace {

struct LoadedPlugin {
  const CudaPlugin* plugin = nullptr;
  std::string reason;  // why it is not there
};

LoadedPlugin load_cuda_plugin() {
  const char* override_path = std::getenv("SWATH_CUDA_PLUGIN");
  const std::string name = override_path != nullptr ? override_path : "libswath_cuda.so";
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) return {nullptr, dlerror()};
  const auto entry = reinterpret_cast<CudaPluginEntry>(dlsym(library, kCudaPluginEntry));
  if (entry == nullptr) return {nullptr, name + " is not a plugin of this program"};
  return {entry(), {}};
}

// The text behind "name :" in /proc/cpuinfo's first processor.
std::string cpuinfo_field(const std::string& name) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (line.starts_with(name) && colon != std::string::npos && colon + 2 <= line.size()) {
      return line.substr(colon + 2);
    }
  }
  return {};
}

bool cpu_has(const std::string& flag) {
  const std::string flags = " " + cpuinfo_field("flags") + " ";
  return flags.find(" " + flag + " ") != std::string::npos;
}

bool nvidia_driver_is_there() { return std::ifstream("/proc/driver/nvidia/version").good(); }

c10::DeviceIndex local_rank() {
  for (const char* variable : {"LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"}) {
    if (const char* text = std::getenv(variable)) {
      return static_cast<c10::DeviceIndex>(std::strtol(text, nullptr, 10));
    }
  }
  return 0;
}

// Operations per second of the fastest of the rounds that fit into a fifth of a second.
template <class Product>
double best_rate(c10::Device device, double operations, const Product& product) {
  constexpr int kRepeats = 4;
  product();
  synchronize(device);
  double best = 0;
  const auto begin = std::chrono::steady_clock::now();
  auto now = begin;
  while (now - begin < std::chrono::milliseconds(200)) {
    const auto start = now;
    for (int i = 0; i < kRepeats; ++i) product();
    synchronize(device);
    now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start).count();
    best = std::max(best, kRepeats * operations / seconds);
  }
  return best;
}

}  // namespace

const CudaPlugin* cuda_plugin(std::string* reason) {
  static const LoadedPlugin loaded = load_cuda_plugin();
  if (reason != nullptr) *reason = loaded.reason;
  return loaded.plugin;
}

c10::Device select_device(const std::string& name) {
  if (name == "cpu" || (name == "auto" && !nvidia_driver_is_there())) return c10::Device(c10::kCPU);
  std::string failure;
  if (cuda_plugin(&failure) != nullptr && at::hasCUDA()) {
    const c10::DeviceIndex count = at::accelerator::deviceCount();
    if (count > 0) {
      return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(local_rank() % count));
    }
  }
  const std::string reason = !failure.empty() ? failure : "no GPU is visible";
  if (name == "auto") {
    log_warning(fmt::format("an NVIDIA driver is there, but its GPU is not used: {}.", reason));
    return c10::Device(c10::kCPU);
  }
  throw UsageError(
      fmt::format("device cuda cannot be used: {}.", reason),
      "build the CUDA plugin with `SWATH_CUDA=1 ./swath build`, or take --device cpu.");
}

at::ScalarType select_precision(const std::string& name, c10::Device device, bool allow_slow) {
  if (name == "fp32") return at::kFloat;
  bool has_bfloat16 = false;
  if (device.is_cpu()) {
    has_bfloat16 = cpu_has("avx512_bf16") || cpu_has("amx_bf16");
  } else {
    has_bfloat16 = cuda_plugin(nullptr)->compute_capability(device.index()) >= 80;
  }
  // AVX512-BF16 exists, yet on short rows it gains little: "auto" takes it on GPUs and AMX only.
  if (name == "auto") {
    const bool is_fast = device.is_cpu() ? cpu_has("amx_bf16") : has_bfloat16;
    return is_fast ? at::kBFloat16 : at::kFloat;
  }
  if (name != "bf16") throw UsageError(fmt::format("precision {} is unknown.", name));
  if (!has_bfloat16 && !allow_slow) {
    throw UsageError("precision bf16: this processor only emulates it, hundreds of times slower.",
                     "use precision=fp32 or auto.");
  }
  return at::kBFloat16;
}

void synchronize(c10::Device device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

double measured_matmul_flops(c10::Device device, at::ScalarType type) {
  at::NoGradGuard no_grad;
  const int64_t size = device.is_cpu() ? 1024 : 8192;
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
  const at::Tensor a = at::randn({size, size}, options).to(type);
  const at::Tensor b = at::randn({size, size}, options).to(type);
  at::Tensor product = at::empty_like(a);
  const auto operations = 2.0 * static_cast<double>(size * size * size);
  double best = best_rate(device, operations, [&] { at::mm_out(product, a, b); });
  // On some processors one of the two libraries runs at less than half the rate of the other.
  if (device.is_cpu() && type == at::kFloat && has_onednn()) {
    best = std::max(best, best_rate(device, operations, [&] { product = onednn_linear(a, b); }));
  }
  return best;
}

std::optional<double> published_peak_flops(c10::Device device, at::ScalarType type) {
  if (device.is_cpu() || type != at::kBFloat16) return std::nullopt;
  // Data sheets, bfloat16 without sparsity.
  struct Peak {
    const char* name;
    double flops;
  };
  constexpr Peak kPeaks[] = {{"H200", 989e12}, {"H100", 989e12}, {"A100", 312e12}};
  const std::string name = cuda_plugin(nullptr)->device_name(device.index());
  // The PCIe versions are other chips.
  if (name.find("PCIe") != std::string::npos && name.find("A100") == std::string::npos) {
    return std::nullopt;
  }
  for (const Peak& peak : kPeaks) {
    if (name.find(peak.name) != std::string::npos) return peak.flops;
  }
  return std::nullopt;
}

std::string device_description(c10::Device device) {
  if (!device.is_cpu()) return cuda_plugin(nullptr)->device_name(device.index());
  const std::string model = cpuinfo_field("model name");
  return fmt::format("{} ({} threads)", model.empty() ? "CPU" : model, at::get_num_threads());
}

}  // namespace swath
