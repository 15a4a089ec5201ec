#include "ops/cpu_kernels.h"

#include <fmt/ranges.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"

namespace swath::ops {
namespace {

// Best first.
constexpr const char* kInstructionSets[] = {"avx512", "avx2", "baseline"};

// Queries that attention handles at once: their scores stay in the second cache.
constexpr int64_t kQueryBlock = 64;
constexpr int64_t kWidestVectorBytes = 64;

// Padded for the widest vector of the widest value: enough for every instruction set.
int64_t widest(int64_t count) {
  constexpr int64_t kLanes = kWidestVectorBytes / static_cast<int64_t>(sizeof(float));
  return (count + kLanes - 1) / kLanes * kLanes;
}

}  // namespace

// Per instruction set: the vector, and the rows of a product's tile, so that rows times two vectors
// of sums and their operands fill the registers.
#define SWATH_VECTOR_BYTES 16
#define SWATH_TILE_ROWS 6
namespace baseline {
namespace {
#include "ops/cpu_kernels.inc"
}  // namespace
}  // namespace baseline
#undef SWATH_VECTOR_BYTES
#undef SWATH_TILE_ROWS

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SWATH_X86_KERNELS

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#define SWATH_VECTOR_BYTES 32
#define SWATH_TILE_ROWS 6
namespace avx2 {
namespace {
#include "ops/cpu_kernels.inc"
}  // namespace
}  // namespace avx2
#undef SWATH_VECTOR_BYTES
#undef SWATH_TILE_ROWS
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,prefer-vector-width=512")
#define SWATH_VECTOR_BYTES 64
#define SWATH_TILE_ROWS 12
namespace avx512 {
namespace {
#include "ops/cpu_kernels.inc"
}  // namespace
}  // namespace avx512
#undef SWATH_VECTOR_BYTES
#undef SWATH_TILE_ROWS
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
  std::vector<const char*> usable;
  for (const char* isa : kInstructionSets) {
    if (is_supported(isa)) usable.push_back(isa);
  }
  const char* asked = std::getenv("SWATH_ISA");
  if (asked == nullptr) return *cpu_kernels_for(usable.front());
  if (const CpuKernels* kernels = cpu_kernels_for(asked)) return *kernels;
  throw UsageError(
      fmt::format("ops: SWATH_ISA is \"{}\", which is unknown or not for this processor.", asked),
      fmt::format("known are {}; this processor can run {}.", fmt::join(kInstructionSets, ", "),
                  fmt::join(usable, ", ")));
}

}  // namespace

int64_t attention_scratch(const HeadShape& shape) {
  const int64_t wide_tokens = widest(shape.tokens);
  const int64_t wide_head = widest(shape.head_size);
  return 2 * shape.head_size * wide_tokens + 3 * shape.tokens * wide_head +
         kQueryBlock * (2 * wide_tokens + 3 * wide_head);
}

int64_t window_scratch(int64_t tokens, int64_t head_size) {
  const int64_t wide_tokens = widest(tokens);
  const int64_t wide_head = widest(head_size);
  return 2 * head_size * wide_tokens + 5 * tokens * wide_head +
         kQueryBlock * (2 * wide_tokens + 2 * wide_head) + wide_tokens + 2 * tokens;
}

const CpuKernels* cpu_kernels_for(const char* isa) {
  if (!is_supported(isa)) return nullptr;
#ifdef SWATH_X86_KERNELS
  // Each table is filled by code of its own instruction set: only where that can run.
  if (std::strcmp(isa, "avx512") == 0) {
    static const CpuKernels table = avx512::kernels("avx512");
    return &table;
  }
  if (std::strcmp(isa, "avx2") == 0) {
    static const CpuKernels table = avx2::kernels("avx2");
    return &table;
  }
#endif
  static const CpuKernels table = baseline::kernels("baseline");
  return &table;
}

const CpuKernels& cpu_kernels() {
  static const CpuKernels& chosen = choose();
  return chosen;
}

}  // namespace swath::ops
