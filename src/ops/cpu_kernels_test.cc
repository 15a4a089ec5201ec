#include "ops/cpu_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "ops/backend.h"

namespace swath::ops {
namespace {

// Every instruction set that this machine can run.
std::vector<const CpuKernels*> all_kernels() {
  std::vector<const CpuKernels*> found;
  for (const char* isa : {"baseline", "avx2", "avx512"}) {
    if (const CpuKernels* kernels = cpu_kernels_for(isa)) found.push_back(kernels);
  }
  return found;
}

std::vector<float> sweep() {
  std::vector<float> values;
  for (int i = -160000; i <= 160000; ++i) values.push_back(static_cast<float>(i) * 1e-4F);
  return values;
}

// x Phi(x) and its derivative in double, against float results: 6e-7 of the larger of the value and
// 1e-3 (float's own rounding is 6e-8, the fit's 2e-8).
TEST(CpuKernels, GeluIsAccurate) {
  const std::vector<float> x = sweep();
  const auto count = static_cast<int64_t>(x.size());
  std::vector<float> ones(x.size(), 1.0F);
  for (const CpuKernels* kernels : all_kernels()) {
    std::vector<float> y(x.size());
    std::vector<float> again(x.size());
    std::vector<float> gradient(x.size());
    kernels->for_float.gelu(x.data(), y.data(), count);
    kernels->for_float.gelu_backward(x.data(), ones.data(), gradient.data(), again.data(), count);
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i];
      const double phi = 0.5 * std::erfc(-v / std::sqrt(2.0));
      const double slope = phi + v * std::exp(-0.5 * v * v) / std::sqrt(2.0 * M_PI);
      ASSERT_NEAR(y[i], v * phi, 6e-7 * std::max(std::fabs(v * phi), 1e-3))
          << kernels->isa << " x=" << v;
      ASSERT_NEAR(gradient[i], slope, 6e-7 * std::max(std::fabs(slope), 0.2))
          << kernels->isa << " x=" << v;
      ASSERT_EQ(y[i], again[i]);
    }
  }
}

TEST(CpuKernels, GeluOfExtremes) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const CpuKernels* kernels : all_kernels()) {
    const std::vector<float> x = {-1e30F, -40.0F, 0.0F, 40.0F, 1e30F,
                                  std::numeric_limits<float>::quiet_NaN(), infinity};
    std::vector<float> y(x.size());
    kernels->for_float.gelu(x.data(), y.data(), static_cast<int64_t>(x.size()));
    EXPECT_EQ(y[0], 0.0F);
    EXPECT_EQ(y[1], 0.0F);
    EXPECT_EQ(y[2], 0.0F);
    EXPECT_EQ(y[3], 40.0F);
    EXPECT_EQ(y[4], 1e30F);
    EXPECT_TRUE(std::isnan(y[5])) << "a NaN must not be hidden";
    EXPECT_EQ(y[6], infinity);
  }
}

TEST(CpuKernels, InstructionSetsAgree) {
  constexpr int64_t kRows = 7;
  constexpr int64_t kWidth = 53;
  std::vector<float> x;
  for (int64_t i = 0; i < kRows * kWidth; ++i) x.push_back(std::sin(static_cast<float>(i)) * 3);
  std::vector<float> weight(kWidth, 1.5F);
  std::vector<float> bias(kWidth, 0.25F);
  std::vector<float> first;
  for (const CpuKernels* kernels : all_kernels()) {
    std::vector<float> y(x.size());
    std::vector<float> mean(kRows);
    std::vector<float> deviation(kRows);
    kernels->for_float.layer_norm(x.data(), nullptr, weight.data(), bias.data(), nullptr, y.data(),
                                  mean.data(), deviation.data(), kRows, kWidth, 1e-6F);
    kernels->for_float.softmax(y.data(), kRows, kWidth, kWidth, 0.5F);
    if (first.empty()) first = y;
    for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], first[i], 1e-6) << kernels->isa;
  }
}

TEST(CpuKernels, BfloatRoundsToNearestEven) {
  // 1 + 2^-8 lies half way between two values: the even one is 1. NaN stays NaN.
  const std::vector<Bf16> a = {{0x3F80}, {0x3F80}, {0x3F81}, {0x7FC0}};  // 1, 1, 1 + 2^-7, NaN
  const std::vector<Bf16> b = {{0x3B80}, {0x3BC0}, {0x3B80}, {0x3F80}};  // 2^-8, 1.5 2^-8, 2^-8, 1
  for (const CpuKernels* kernels : all_kernels()) {
    std::vector<Bf16> sum(a.size());
    kernels->for_bfloat16.add(a.data(), b.data(), sum.data(), 4);
    EXPECT_EQ(sum[0].bits, 0x3F80) << kernels->isa;
    EXPECT_EQ(sum[1].bits, 0x3F81) << kernels->isa;
    EXPECT_EQ(sum[2].bits, 0x3F82) << kernels->isa;
    EXPECT_EQ(sum[3].bits & 0x7FC0, 0x7FC0) << kernels->isa;
  }
}

TEST(CpuKernels, BackendIsChosenByName) {
  set_backend("reference");
  EXPECT_EQ(backend(), Backend::kReference);
  EXPECT_EQ(backend_description(), "reference");
  set_backend("fused");
  EXPECT_NE(backend_description().find(cpu_kernels().isa), std::string::npos);
  EXPECT_THROW(set_backend("fast"), UsageError);
}

}  // namespace
}  // namespace swath::ops
