#include "ops/backend.h"

#include <fmt/format.h>

#include <atomic>
#include <string_view>

#include "core/error.h"
#include "ops/cpu_kernels.h"

namespace swath::ops {
namespace {

bool is_amd_processor() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

std::atomic<Backend> current{Backend::kFused};
std::atomic<bool> use_onednn{is_amd_processor()};

}  // namespace

void set_backend(const std::string& name) {
  if (name == "reference") {
    current = Backend::kReference;
  } else if (name == "fused") {
    cpu_kernels();  // refuses an impossible SWATH_ISA here, not in the first step
    current = Backend::kFused;
  } else {
    throw UsageError(fmt::format("ops: there is no backend \"{}\".", name),
                     "choose \"fused\" (default) or \"reference\".");
  }
}

Backend backend() { return current; }

std::string backend_description() {
  if (backend() == Backend::kReference) return "reference";
  return fmt::format("fused (kernels {}, products {})", cpu_kernels().isa,
                     products_use_onednn() ? "oneDNN" : "LibTorch's");
}

bool products_use_onednn() { return use_onednn; }

void set_product_library(const std::string& name) {
  if (name == "auto") {
    use_onednn = is_amd_processor();
  } else if (name == "mkl" || name == "onednn") {
    use_onednn = name == "onednn";
  } else {
    throw UsageError(fmt::format("ops: there is no product library \"{}\".", name),
                     "choose \"auto\", \"mkl\" or \"onednn\".");
  }
}

}  // namespace swath::ops
