#include "core/tensor/device.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "core/tensor/onednn.h"

namespace swath {
namespace {

bool processor_has(const std::string& flag) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags")) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      if (word == flag) return true;
    }
    return false;
  }
  return false;
}

TEST(Device, Bfloat16OnlyWhereTheProcessorHasIt) {
  const c10::Device cpu(c10::kCPU);
  EXPECT_EQ(select_precision("fp32", cpu), at::kFloat);
  EXPECT_EQ(select_precision("auto", cpu), processor_has("amx_bf16") ? at::kBFloat16 : at::kFloat);
  if (processor_has("avx512_bf16") || processor_has("amx_bf16")) {
    EXPECT_EQ(select_precision("bf16", cpu), at::kBFloat16);
  } else {
    EXPECT_THROW(select_precision("bf16", cpu), UsageError);
  }
  EXPECT_EQ(select_precision("bf16", cpu, /*allow_slow=*/true), at::kBFloat16);
  EXPECT_THROW(select_precision("fp8", cpu), UsageError);
}

TEST(Device, ProcessorsHaveNoPublishedPeakButAMeasuredOne) {
  const c10::Device cpu(c10::kCPU);
  EXPECT_FALSE(published_peak_flops(cpu, at::kBFloat16).has_value());
  EXPECT_GT(measured_matmul_flops(cpu, at::kFloat), 1e8);
}

TEST(Device, MeasuredPeakIsThatOfTheFasterLibrary) {
  if (!has_onednn()) GTEST_SKIP() << "LibTorch without oneDNN: there is one library";
  const at::Tensor a = at::randn({1024, 1024});
  at::Tensor product = onednn_linear(a, a);
  EXPECT_TRUE(at::allclose(product, at::mm(a, a.t()), 1e-4, 1e-3));
  double fastest = 0;
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    product = onednn_linear(a, a);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    fastest = std::max(fastest, 2.0 * 1024 * 1024 * 1024 / seconds.count());
  }
  // The share allows for a busy machine; the slower library reaches 0.4 where they differ.
  EXPECT_GT(measured_matmul_flops(c10::Device(c10::kCPU), at::kFloat), 0.6 * fastest);
}

TEST(Device, CpuIsThere) { EXPECT_TRUE(select_device("cpu").is_cpu()); }

}  // namespace
}  // namespace swath
