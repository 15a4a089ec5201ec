#include "ops/cpu_kernels.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace swath::ops {

namespace baseline {
namespace {
#include "ops/cpu_kernels.inc"
}  // namespace
}  // namespace baseline

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SWATH_X86_KERNELS

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
namespace avx2 {
namespace {
#include "ops/cpu_kernels.inc"
}  // namespace
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,prefer-vector-width=512")
namespace avx512 {
namespace {
#include "ops/cpu_kernels.inc"
}  // namespace
}  // namespace avx512
#pragma GCC pop_options

#endif

namespace {

bool is_supported(const char* isa) {
  if (std::strcmp(isa, "baseline") == 0) return true;
#ifdef SWATH_X86_KERNELS
  __builtin_cpu_init();
  if (std::strcmp(isa, "avx2") == 0) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
  }
  if (std::strcmp(isa, "avx512") == 0) {
    return is_supported("avx2") && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
  }
#endif
  return false;
}

const CpuKernels& choose() {
  const char* asked = std::getenv("SWATH_ISA");
  if (asked != nullptr) {
    if (const CpuKernels* kernels = cpu_kernels_for(asked)) return *kernels;
  }
  for (const char* isa : {"avx512", "avx2"}) {
    if (const CpuKernels* kernels = cpu_kernels_for(isa)) return *kernels;
  }
  return *cpu_kernels_for("baseline");
}

}  // namespace

const CpuKernels* cpu_kernels_for(const char* isa) {
  if (!is_supported(isa)) return nullptr;
#ifdef SWATH_X86_KERNELS
  // Each table is filled by code of its own instruction set: only where that can run.
  if (std::strcmp(isa, "avx512") == 0) {
    static const CpuKernels kAvx512 = avx512::kernels("avx512");
    return &kAvx512;
  }
  if (std::strcmp(isa, "avx2") == 0) {
    static const CpuKernels kAvx2 = avx2::kernels("avx2");
    return &kAvx2;
  }
#endif
  static const CpuKernels kBaseline = baseline::kernels("baseline");
  return &kBaseline;
}

const CpuKernels& cpu_kernels() {
  static const CpuKernels& chosen = choose();
  return chosen;
}

}  // namespace swath::ops
