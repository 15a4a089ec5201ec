// Conversions that operators and models share.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace swath {

// Float64 stays, all else becomes float32: what norms, losses and exponentials are computed in.
inline at::Tensor at_least_float(const at::Tensor& x) {
  return x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

// Without a host sync: from pinned memory the copy queues behind the device's work.
inline at::Tensor copy_to_device(const at::Tensor& x, c10::Device device) {
  if (x.device() == device) return x;
  return (x.device().is_cpu() ? x.pin_memory() : x)
      .to(device, x.scalar_type(), /*non_blocking=*/true);
}

}  // namespace swath
