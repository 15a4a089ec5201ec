// Limited-memory BFGS with a strong Wolfe line search, in double precision. Free of LibTorch.
//
// Source: Nocedal and Wright, Numerical Optimization (2nd ed.), algorithms 7.4, 7.5 (two-loop
// recursion) and 3.5, 3.6 (line search with zoom).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace swath::eval {

struct LbfgsOptions {
  int64_t max_iterations = 2000;
  // Ends when `gradient_size` of the current gradient is at most this.
  double tolerance = 1e-6;
  int64_t history = 10;
  // What the tolerance is compared with; the largest absolute element when empty.
  std::function<double(std::span<const double> gradient)> gradient_size = {};
};

struct LbfgsResult {
  double value = 0;
  int64_t iterations = 0;
  int64_t evaluations = 0;
  // Tolerance reached, or no decrease left that double precision can see. False: the limit of
  // iterations ended it.
  bool converged = false;
};

// Value at x; fills `gradient`, which has the size of x.
using DifferentiableFunction =
    std::function<double(std::span<const double> x, std::span<double> gradient)>;

// Minimises a smooth function from the start in `x`, which receives the minimiser.
LbfgsResult minimize_lbfgs(const DifferentiableFunction& function, std::vector<double>* x,
                           const LbfgsOptions& options = {});

}  // namespace swath::eval
