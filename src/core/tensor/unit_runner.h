// The one place where something outside a model can act around each of its units.
//
// LibTorch's C++ modules have no forward hooks, so a model calls every block through a UnitRunner.
// Sharding gathers and frees parameters there; activation checkpointing drops and recomputes
// activations there. Alone, a runner just calls.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

namespace swath {

using UnitForward = std::function<at::Tensor(const at::Tensor& x)>;

class UnitRunner {
 public:
  virtual ~UnitRunner() = default;
  // Runs `forward(x)` as the unit `name` (a UnitSpec::name, "blocks.3"). `forward` must be a pure
  // function of x and of the unit's parameters, because it may run again during backward.
  virtual at::Tensor run(const std::string& name, const UnitForward& forward, const at::Tensor& x) {
    return forward(x);
  }
};

// Keeps only each unit's input and runs the unit again in backward: less memory, a third more
// compute. Results and gradients are bit-identical to plain execution on one device and thread
// count.
class CheckpointingRunner : public UnitRunner {
 public:
  at::Tensor run(const std::string& name, const UnitForward& forward, const at::Tensor& x) override;
};

}  // namespace swath
