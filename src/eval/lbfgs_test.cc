#include "eval/lbfgs.h"

#include <gtest/gtest.h>

#include <cmath>

namespace swath::eval {
namespace {

TEST(Lbfgs, Quadratic) {
  // sum c_i (x_i - i)^2 with condition number 1e3.
  const auto function = [](std::span<const double> x, std::span<double> gradient) {
    double value = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double scale = std::pow(10.0, static_cast<double>(i) * 3 / 19);
      const double distance = x[i] - static_cast<double>(i);
      value += scale * distance * distance;
      gradient[i] = 2 * scale * distance;
    }
    return value;
  };
  std::vector<double> x(20, 0.5);
  const LbfgsResult result = minimize_lbfgs(function, &x, {.tolerance = 1e-9});
  EXPECT_TRUE(result.converged);
  EXPECT_LT(result.iterations, 400);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], static_cast<double>(i), 1e-8) << i;
}

// Rosenbrock's valley (1960), minimum 0 at (1, 1): needs a line search that respects curvature.
TEST(Lbfgs, Rosenbrock) {
  int64_t evaluations = 0;
  const auto function = [&](std::span<const double> x, std::span<double> gradient) {
    ++evaluations;
    const double a = 1 - x[0];
    const double b = x[1] - x[0] * x[0];
    gradient[0] = -2 * a - 400 * x[0] * b;
    gradient[1] = 200 * b;
    return a * a + 100 * b * b;
  };
  std::vector<double> x = {-1.2, 1};
  const LbfgsResult result = minimize_lbfgs(function, &x, {.tolerance = 1e-8});
  EXPECT_TRUE(result.converged);
  EXPECT_NEAR(x[0], 1, 1e-7);
  EXPECT_NEAR(x[1], 1, 1e-7);
  EXPECT_LT(result.iterations, 60);
  EXPECT_EQ(result.evaluations, evaluations);
}

TEST(Lbfgs, StopsAtTheLimitAndSaysSo) {
  const auto function = [](std::span<const double> x, std::span<double> gradient) {
    gradient[0] = 4 * x[0] * x[0] * x[0];
    return x[0] * x[0] * x[0] * x[0];
  };
  std::vector<double> x = {100};
  const LbfgsResult result = minimize_lbfgs(function, &x, {.max_iterations = 3, .tolerance = 0});
  EXPECT_FALSE(result.converged);
  EXPECT_EQ(result.iterations, 3);
}

TEST(Lbfgs, StartAtTheMinimumIsDone) {
  const auto function = [](std::span<const double> x, std::span<double> gradient) {
    gradient[0] = 2 * x[0];
    return x[0] * x[0];
  };
  std::vector<double> x = {0};
  const LbfgsResult result = minimize_lbfgs(function, &x);
  EXPECT_TRUE(result.converged);
  EXPECT_EQ(result.iterations, 0);
}

// A wall of infinities beyond x = 2 must not end the search.
TEST(Lbfgs, ComesBackFromOutsideTheDomain) {
  const auto function = [](std::span<const double> x, std::span<double> gradient) {
    gradient[0] = -1 + 1e-3 / (2 - x[0]);
    return x[0] < 2 ? -x[0] - 1e-3 * std::log(2 - x[0]) : INFINITY;
  };
  std::vector<double> x = {-50};
  const LbfgsResult result = minimize_lbfgs(function, &x, {.tolerance = 1e-7});
  EXPECT_TRUE(result.converged);
  EXPECT_NEAR(x[0], 2 - 1e-3, 1e-8);
}

}  // namespace
}  // namespace swath::eval
