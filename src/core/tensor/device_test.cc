#include "core/tensor/device.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "core/error.h"

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

TEST(Device, CpuIsThere) { EXPECT_TRUE(select_device("cpu").is_cpu()); }

}  // namespace
}  // namespace swath
