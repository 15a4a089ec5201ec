// The parameters of a module as a training step and an optimizer see them, whoever holds them: one
// process (LocalParameters) or many ranks (ShardedParameters). A step is
//
//   parameters.begin_step();
//   for each micro-batch:
//     parameters.begin_forward();
//     loss = objective.loss(batch, parameters.runner());
//     parameters.backward(loss * share);   // the sum over ranks and micro-batches is minimised
//   ... views() hold the gradient: the optimizer's turn
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor/param_view.h"
#include "core/tensor/unit_runner.h"

namespace swath::sharding {

// What a parameter's name and shape decide for the optimizer.
struct ParameterRule {
  bool decay = true;
  double lr_scale = 1;
};
using ParameterRules = std::function<ParameterRule(const std::string& name, at::IntArrayRef shape)>;

// Writes what the parameter `name` starts with into a tensor of its shape.
using InitialValues = std::function<void(const std::string& name, const at::Tensor& values)>;

class Parameters {
 public:
  explicit Parameters(int64_t accumulation) : accumulation_(accumulation) {}
  virtual ~Parameters() = default;

  int64_t accumulation() const { return accumulation_; }  // micro-batches per step

  // Forgets gradients. A step may be given up before its last micro-batch, by all ranks alike.
  virtual void begin_step() = 0;
  // Before every forward pass of the step.
  virtual void begin_forward() = 0;
  // What the model runs its units through.
  virtual UnitRunner& runner() = 0;
  // Back-propagates and adds up gradients. After the step's last micro-batch every view's gradient
  // is the sum over micro-batches and ranks, in float32; a parameter that no loss reached has a
  // zero gradient.
  virtual void backward(const at::Tensor& loss) = 0;

  // What the optimizer updates: all of it in one process, this rank's part otherwise. Tensors stay
  // the same for the life of the object, grads may not.
  virtual std::vector<ParamView>& views() = 0;
  // Parameters that are not trained (position tables), whole on every rank.
  virtual const std::vector<std::pair<std::string, at::Tensor>>& named_frozen() const = 0;
  // Takes over values that were written into the views (a loaded checkpoint).
  virtual void publish() = 0;

  virtual int64_t rank() const { return 0; }
  virtual int64_t world_size() const { return 1; }
  // Values that only one rank has to write: each part of the model is on `replicas` ranks, of which
  // this one is number `replica`.
  virtual int64_t replica() const { return 0; }
  virtual int64_t replicas() const { return 1; }
  // The sum over all ranks, in place, in the order of the computation.
  virtual void sum_over_ranks(at::Tensor& values) = 0;
  // A float32 scalar that is not finite when a gradient of this very rank was not, before it was
  // summed with the others'; undefined in one process.
  virtual at::Tensor local_gradient_check() const { return {}; }
  // Seconds that the computation has waited for communication. On a CPU only: on a GPU the host
  // does not know.
  virtual double exposed_seconds() const { return 0; }

 private:
  int64_t accumulation_;
};

}  // namespace swath::sharding
