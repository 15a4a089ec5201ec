// AdamW with decoupled weight decay (Loshchilov and Hutter, ICLR 2019), fused: one pass over
// parameters, gradients and moments.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "core/tensor/param_view.h"

namespace swath::optim {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;  // MAE's pretraining; fine-tuning uses 0.999
  double epsilon = 1e-8;
  double weight_decay = 0.05;

  void describe(FieldTable& fields);
};

class AdamW {
 public:
  // The views' tensors stay the same for the life of the optimizer; their grads may change.
  AdamW(std::vector<ParamView>* views, AdamWOptions options);

  // Updates every view. `found_inf` is a float32 scalar on the device, 1 when a value is not
  // finite: then nothing changes, and the host does not wait to know. `grad_divisor`, another such
  // scalar, divides the gradients (clipping); it may be undefined.
  void step(double lr, const at::Tensor& found_inf, const at::Tensor& grad_divisor);

  // The moments, one of each for every view, and the count of updates (a float32 scalar on the
  // device).
  const std::vector<at::Tensor>& exp_avgs() const { return exp_avgs_; }
  const std::vector<at::Tensor>& exp_avg_sqs() const { return exp_avg_sqs_; }
  const at::Tensor& step_count() const { return step_; }
  // The moments under the parameters' names ("exp_avg/NAME", "exp_avg_sq/NAME", each in the
  // parameter's shape) and "step"; aliases, so that loading writes through them.
  std::vector<std::pair<std::string, at::Tensor>> named_state() const;

 private:
  struct Group;  // views that share weight decay and learning-rate scale

  std::vector<ParamView>* views_;
  AdamWOptions options_;
  std::vector<at::Tensor> exp_avgs_;
  std::vector<at::Tensor> exp_avg_sqs_;
  at::Tensor step_;  // float32 scalar on the device; counts the updates that happened
};

// MAE's and timm's rule: vectors and biases are not decayed, everything else is (class and mask
// tokens too). By name and shape, never by position.
bool is_decayed(const std::string& name, at::IntArrayRef shape);

}  // namespace swath::optim
