#include "eval/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

#include "core/interrupt.h"

namespace swath::eval {
namespace {

constexpr double kSufficientDecrease = 1e-4;
constexpr double kCurvature = 0.9;
constexpr int kMaxLineSearchEvaluations = 40;

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double largest_absolute(std::span<const double> values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// A point on the search line.
struct Trial {
  double step = 0;
  double value = 0;
  double slope = 0;
};

// The minimiser of the cubic through two points with slopes (equation 3.59), kept inside the middle
// 80 % of the bracket so that the bracket shrinks.
double interpolate(const Trial& a, const Trial& b) {
  const double low = std::min(a.step, b.step);
  const double width = std::abs(b.step - a.step);
  const double d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step);
  const double square = d1 * d1 - a.slope * b.slope;
  double step = low + width / 2;
  if (square >= 0) {
    const double d2 = std::copysign(std::sqrt(square), b.step - a.step);
    const double candidate =
        b.step - (b.step - a.step) * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
    if (std::isfinite(candidate)) step = candidate;
  }
  return std::clamp(step, low + 0.1 * width, low + 0.9 * width);
}

class LineSearch {
 public:
  LineSearch(const DifferentiableFunction& function, const Vector& x, const Vector& direction,
             double value, double slope)
      : function_(function), x_(x), direction_(direction), start_{0, value, slope} {}

  // True when a point was found that decreases the value enough; it is in point(), gradient().
  bool run(double first_step) {
    Trial previous = start_;
    double step = first_step;
    double wall = std::numeric_limits<double>::infinity();  // the nearest step outside the domain
    while (evaluations_ < kMaxLineSearchEvaluations) {
      const Trial trial = evaluate(step);
      if (!std::isfinite(trial.value)) {
        wall = step;
        step = (previous.step + wall) / 2;
        continue;
      }
      if (!decreases(trial) || (evaluations_ > 1 && trial.value >= previous.value)) {
        return zoom(previous, trial);
      }
      if (std::abs(trial.slope) <= -kCurvature * start_.slope) return true;
      if (trial.slope >= 0) return zoom(trial, previous);
      previous = trial;
      step = std::min(2 * step, (step + wall) / 2);
    }
    return accept_decrease(previous);
  }

  const Vector& point() const { return point_; }
  const Vector& gradient() const { return gradient_; }
  double value() const { return value_; }
  int64_t evaluations() const { return evaluations_; }

 private:
  bool decreases(const Trial& trial) const {
    return trial.value <= start_.value + kSufficientDecrease * trial.step * start_.slope;
  }

  Trial evaluate(double step) {
    point_.resize(x_.size());
    gradient_.resize(x_.size());
    for (size_t i = 0; i < x_.size(); ++i) point_[i] = x_[i] + step * direction_[i];
    value_ = function_(point_, gradient_);
    ++evaluations_;
    return {step, value_, dot(gradient_, direction_)};
  }

  // `low` has the smallest value so far that decreases enough; the minimum lies towards `high`.
  bool zoom(Trial low, Trial high) {
    while (evaluations_ < kMaxLineSearchEvaluations) {
      const double step = interpolate(low, high);
      if (step == low.step || step == high.step) break;
      const Trial trial = evaluate(step);
      if (!decreases(trial) || trial.value >= low.value) {
        high = trial;
      } else {
        if (std::abs(trial.slope) <= -kCurvature * start_.slope) return true;
        if (trial.slope * (high.step - low.step) >= 0) high = low;
        low = trial;
      }
    }
    return accept_decrease(low);
  }

  // Rounding can hide the curvature condition; a decrease is still progress.
  bool accept_decrease(const Trial& trial) {
    if (trial.step <= 0 || trial.value >= start_.value) return false;
    evaluate(trial.step);
    return true;
  }

  const DifferentiableFunction& function_;
  const Vector& x_;
  const Vector& direction_;
  Trial start_;
  Vector point_;
  Vector gradient_;
  double value_ = 0;
  int64_t evaluations_ = 0;
};

struct Pair {
  Vector step;                 // s = x_next - x
  Vector gradient_step;        // y = g_next - g
  double inverse_product = 0;  // 1 / (s . y)
};

// -H g by the two-loop recursion.
Vector descent_direction(const std::deque<Pair>& pairs, const Vector& gradient) {
  Vector direction = gradient;
  Vector alphas(pairs.size());
  for (size_t i = pairs.size(); i-- > 0;) {
    alphas[i] = pairs[i].inverse_product * dot(pairs[i].step, direction);
    for (size_t j = 0; j < direction.size(); ++j) {
      direction[j] -= alphas[i] * pairs[i].gradient_step[j];
    }
  }
  if (!pairs.empty()) {
    const Pair& last = pairs.back();
    const double scale = 1 / (last.inverse_product * dot(last.gradient_step, last.gradient_step));
    for (double& element : direction) element *= scale;
  }
  for (size_t i = 0; i < pairs.size(); ++i) {
    const double beta = pairs[i].inverse_product * dot(pairs[i].gradient_step, direction);
    for (size_t j = 0; j < direction.size(); ++j) {
      direction[j] += (alphas[i] - beta) * pairs[i].step[j];
    }
  }
  for (double& element : direction) element = -element;
  return direction;
}

}  // namespace

LbfgsResult minimize_lbfgs(const DifferentiableFunction& function, std::vector<double>* x,
                           const LbfgsOptions& options) {
  const auto size_of = [&](const Vector& gradient) {
    return options.gradient_size ? options.gradient_size(gradient) : largest_absolute(gradient);
  };
  LbfgsResult result;
  Vector gradient(x->size());
  result.value = function(*x, gradient);
  result.evaluations = 1;
  std::deque<Pair> pairs;
  while (true) {
    stop_if_interrupted("L-BFGS");
    if (size_of(gradient) <= options.tolerance) {
      result.converged = true;
      return result;
    }
    if (result.iterations >= options.max_iterations) return result;
    Vector direction = descent_direction(pairs, gradient);
    double slope = dot(gradient, direction);
    if (!(slope < 0)) {  // the curvature pairs have gone stale through rounding
      pairs.clear();
      direction = descent_direction(pairs, gradient);
      slope = dot(gradient, direction);
    }
    const double first_step =
        pairs.empty() ? std::min(1.0, 1.0 / std::sqrt(dot(gradient, gradient))) : 1.0;
    LineSearch search(function, *x, direction, result.value, slope);
    const bool found = search.run(first_step);
    result.evaluations += search.evaluations();
    if (!found) {
      if (!pairs.empty()) {  // once more along the plain gradient
        pairs.clear();
        continue;
      }
      result.converged = true;
      return result;
    }
    ++result.iterations;
    Pair pair;
    pair.step.resize(x->size());
    pair.gradient_step.resize(x->size());
    for (size_t i = 0; i < x->size(); ++i) {
      pair.step[i] = search.point()[i] - (*x)[i];
      pair.gradient_step[i] = search.gradient()[i] - gradient[i];
    }
    *x = search.point();
    gradient = search.gradient();
    result.value = search.value();
    const double product = dot(pair.step, pair.gradient_step);
    if (product >
        std::numeric_limits<double>::epsilon() * dot(pair.gradient_step, pair.gradient_step)) {
      pair.inverse_product = 1 / product;
      pairs.push_back(std::move(pair));
      if (pairs.size() > static_cast<size_t>(options.history)) pairs.pop_front();
    }
  }
}

}  // namespace swath::eval
