#include "ops/cpu_kernels.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
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
      ASSERT_NEAR(gradient[i], slope, 6e-7 * std::max(std::fabs(slope), 0.5))
          << kernels->isa << " x=" << v;
      ASSERT_EQ(y[i], again[i]);
    }
  }
}

TEST(CpuKernels, GeluOfExtremes) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const CpuKernels* kernels : all_kernels()) {
    const std::vector<float> x = {
        -1e30F, -40.0F, 0.0F, 40.0F, 1e30F, std::numeric_limits<float>::quiet_NaN(), infinity};
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
    if (first.empty()) first = y;
    for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], first[i], 1e-6) << kernels->isa;
  }
}

// Sizes that fill neither vectors nor tiles nor blocks of queries.
TEST(CpuKernels, AttentionAgreesAmongInstructionSets) {
  for (const auto& [queries, tokens, head_size] :
       {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 7}, {70, 131, 33}}) {
    const HeadShape shape{queries,       tokens,        head_size,    head_size + 1,
                          head_size + 2, head_size + 3, head_size + 4};
    const auto values = [](int64_t rows, int64_t stride, float phase) {
      std::vector<float> made(static_cast<size_t>(rows * stride));
      for (size_t i = 0; i < made.size(); ++i) {
        made[i] = std::sin(phase + static_cast<float>(i * i % 1009));
      }
      return made;
    };
    const std::vector<float> q = values(queries, shape.q_stride, 0);
    const std::vector<float> k = values(tokens, shape.k_stride, 1);
    const std::vector<float> v = values(tokens, shape.v_stride, 2);
    const std::vector<float> grad = values(queries, shape.out_stride, 3);
    std::vector<float> first;
    for (const CpuKernels* kernels : all_kernels()) {
      std::vector<float> out(grad.size());
      std::vector<float> log_sum(static_cast<size_t>(queries));
      std::vector<float> scratch(static_cast<size_t>(attention_scratch(shape)));
      std::vector<float> all(q.size() + k.size() + v.size());
      const AttentionKernels<float>& attention = kernels->attention_float;
      attention.forward(shape, q.data(), k.data(), v.data(), 0.4F, out.data(), log_sum.data(),
                        scratch.data());
      attention.backward(shape, shape, q.data(), k.data(), v.data(), out.data(), grad.data(),
                         log_sum.data(), 0.4F, all.data(), all.data() + q.size(),
                         all.data() + q.size() + k.size(), scratch.data());
      all.insert(all.end(), out.begin(), out.end());
      if (first.empty()) first = all;
      for (size_t i = 0; i < all.size(); ++i) {
        ASSERT_NEAR(all[i], first[i], 2e-6 * 4) << kernels->isa << " " << i;
      }
    }
  }
}

TEST(CpuKernels, TransposeAndSum) {
  constexpr int64_t kRows = 131;
  constexpr int64_t kWidth = 37;
  std::vector<float> x(kRows * kWidth);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 101);
  for (const CpuKernels* kernels : all_kernels()) {
    std::vector<float> out(x.size());
    std::vector<float> total(kWidth);
    kernels->transpose_and_sum(x.data(), out.data(), total.data(), kRows, kWidth, 0, 20);
    kernels->transpose_and_sum(x.data(), out.data(), total.data(), kRows, kWidth, 20, kWidth);
    for (int64_t column = 0; column < kWidth; ++column) {
      float sum = 0;
      for (int64_t row = 0; row < kRows; ++row) {
        const float value = x[static_cast<size_t>(row * kWidth + column)];
        ASSERT_EQ(out[static_cast<size_t>(column * kRows + row)], value);
        sum += value;
      }
      ASSERT_EQ(total[static_cast<size_t>(column)], sum) << kernels->isa;
    }
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

// The choice is made once per process: each case is one of its own.
TEST(CpuKernelsDeathTest, AnImpossibleInstructionSetIsRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto choose = [](const char* isa) {
    setenv("SWATH_ISA", isa, 1);
    try {
      set_backend("fused");
    } catch (const UsageError& error) {
      std::fputs(error.what(), stderr);
      std::exit(2);
    }
    std::fputs(cpu_kernels().isa, stderr);
    std::exit(0);
  };
  EXPECT_EXIT(choose("avx1024"), testing::ExitedWithCode(2), "avx1024.*\n.*baseline");
  EXPECT_EXIT(choose(""), testing::ExitedWithCode(2), "SWATH_ISA is \"\"");
  EXPECT_EXIT(choose("baseline"), testing::ExitedWithCode(0), "baseline");
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
