// The parameters of a module that one process trains alone, as views for the optimizer.
//
// float32: the optimizer updates the module's own tensors. bfloat16: the module computes with
// bfloat16 tensors and this class keeps float32 masters; gradients arrive in bfloat16 and are
// summed in float32. Views are one per parameter, so that gradients need no copy into a flat
// buffer.
#pragma once

#include <torch/nn/module.h>

#include <functional>
#include <string>
#include <vector>

#include "core/tensor/param_view.h"

namespace swath::sharding {

// What a parameter's name and shape decide for the optimizer.
struct ParameterRule {
  bool decay = true;
  double lr_scale = 1;
};
using ParameterRules = std::function<ParameterRule(const std::string& name, at::IntArrayRef shape)>;

class LocalParameters {
 public:
  // Takes every parameter of `module` that requires a gradient, in registration order. With
  // compute_dtype bfloat16 all floating-point parameters and buffers of the module become bfloat16.
  LocalParameters(torch::nn::Module& module, at::ScalarType compute_dtype,
                  const ParameterRules& rules);

  // Forgets gradients: the next backward pass hands over its own buffers.
  void clear_gradients();
  // Call after each backward pass; `is_last` when the optimizer comes next. Afterwards every view
  // holds the sum of the gradients since clear_gradients() in float32. A parameter that no loss
  // reached has a zero gradient.
  void collect_gradients(bool is_last);

  std::vector<ParamView>& views() { return views_; }
  // float32 values under their names, for checkpoints and export; loading writes through them,
  // then publish() refreshes what the module computes with.
  std::vector<std::pair<std::string, at::Tensor>> named_masters() const;
  // The same of parameters that are not trained (position tables).
  const std::vector<std::pair<std::string, at::Tensor>>& named_frozen() const { return frozen_; }
  void publish();

 private:
  bool has_masters() const { return compute_dtype_ != at::kFloat; }

  at::ScalarType compute_dtype_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;  // what the module computes with
  std::vector<at::Tensor> masters_;     // float32, the parameter's shape
  std::vector<at::Tensor> sums_;        // float32 gradients; used with masters only
  std::vector<ParamView> views_;
  std::vector<std::pair<std::string, at::Tensor>> frozen_;
};

}  // namespace swath::sharding
