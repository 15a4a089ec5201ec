// Where a run computes, and in which precision.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <optional>
#include <string>

namespace swath {

// "cpu", "cuda" (this rank's GPU) or "auto" (a GPU if one is usable). Loads the CUDA plugin when a
// GPU is asked for or found. Throws UsageError saying what is missing when "cuda" cannot be had.
c10::Device select_device(const std::string& name);

// "auto" becomes bfloat16 where the processor multiplies it natively fast (CUDA sm_80 on, AMX)
// and float32 elsewhere: emulated bfloat16 is hundreds of times slower. "bf16" on a
// processor without it is refused unless `allow_slow`.
at::ScalarType select_precision(const std::string& name, c10::Device device,
                                bool allow_slow = false);

// Waits for all that was given to the device: for clocks, never inside a training step.
void synchronize(c10::Device device);

// Floating-point operations per second of a large matrix product, measured for about 0.2 s on
// random data: what a step is compared with. One multiply-add counts as two.
double measured_matmul_flops(c10::Device device, at::ScalarType type);

// The dense peak that the maker publishes for products of `type`; nothing for processors and GPUs
// whose data sheet we have not read.
std::optional<double> published_peak_flops(c10::Device device, at::ScalarType type);

// Names for reports: "AMD EPYC 9654 (2 threads)", "NVIDIA H200".
std::string device_description(c10::Device device);

}  // namespace swath
