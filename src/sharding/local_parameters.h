// The parameters of a module that one process trains alone, as views for the optimizer.
//
// float32: the optimizer updates the module's own tensors. bfloat16: the module computes with
// bfloat16 tensors and this class keeps float32 masters; gradients arrive in bfloat16 and are
// summed in float32. Views are one per parameter, so that gradients need no copy into a flat
// buffer.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sharding/parameters.h"

namespace torch::nn {
class Module;
}

namespace swath::sharding {

class LocalParameters final : public Parameters {
 public:
  struct Options {
    at::ScalarType compute_dtype = at::kFloat;
    int64_t accumulation = 1;
    bool activation_checkpointing = false;
  };

  // Takes every parameter of `module` that requires a gradient, in registration order. With
  // compute_dtype bfloat16 all floating-point parameters and buffers of the module become bfloat16.
  LocalParameters(torch::nn::Module& module, const Options& options, const ParameterRules& rules);

  void begin_step() override;
  void begin_forward() override {}
  UnitRunner& runner() override { return *runner_; }
  void backward(const at::Tensor& loss) override;

  std::vector<ParamView>& views() override { return views_; }
  const std::vector<std::pair<std::string, at::Tensor>>& named_frozen() const override {
    return frozen_;
  }
  void publish() override;
  void sum_over_ranks(at::Tensor&) override {}

  // float32 values under their names, in the parameters' shapes.
  std::vector<std::pair<std::string, at::Tensor>> named_masters() const;

 private:
  bool has_masters() const { return options_.compute_dtype != at::kFloat; }
  void sum_gradients();
  void hand_over_gradients();

  Options options_;
  std::unique_ptr<UnitRunner> runner_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;  // what the module computes with
  std::vector<at::Tensor> masters_;     // float32, the parameter's shape
  std::vector<at::Tensor> sums_;        // float32 gradients; used with masters only
  std::vector<ParamView> views_;
  std::vector<std::pair<std::string, at::Tensor>> frozen_;
  int64_t micro_batch_ = 0;
};

}  // namespace swath::sharding
