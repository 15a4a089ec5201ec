// Shared by the fused operators: who may run them, and how rows are cut among threads.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <cstdint>

#include "ops/backend.h"
#include "ops/cpu_kernels.h"

namespace swath::ops {

// Whether the fused CPU version takes this tensor.
inline bool runs_fused(const at::Tensor& x) {
  if (backend() != Backend::kFused || !x.device().is_cpu()) return false;
  const at::ScalarType type = x.scalar_type();
  return type == at::kFloat || type == at::kDouble || type == at::kBFloat16;
}

// Calls function(T{}) with the storage type of `type`: float, double or Bf16.
template <class Function>
void with_storage_type(at::ScalarType type, const Function& function) {
  if (type == at::kFloat) {
    function(float{});
  } else if (type == at::kDouble) {
    function(double{});
  } else {
    function(Bf16{});
  }
}

// Where sums over many values are kept for data of `type`.
inline at::ScalarType arithmetic_type(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

// Calls function(A{}) with that type.
template <class Function>
void with_arithmetic(const at::Tensor& x, const Function& function) {
  if (arithmetic_type(x.scalar_type()) == at::kDouble) {
    function(double{});
  } else {
    function(float{});
  }
}

template <class T>
const T* data_of(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const T*>(tensor.const_data_ptr()) : nullptr;
}
template <class T>
T* mutable_data_of(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

// function(part, begin, end) over `num_parts` equal ranges of [0, count): the number of ranges
// depends on the number of threads only, so sums kept per range are the same in every run.
template <class Function>
void for_each_part(int64_t count, int64_t num_parts, const Function& function) {
  at::parallel_for(0, num_parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      function(part, count * part / num_parts, count * (part + 1) / num_parts);
    }
  });
}

// Values below which cutting the work among threads costs more than it gives.
inline constexpr int64_t kGrainValues = 32768;

}  // namespace swath::ops
