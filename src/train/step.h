// One optimizer step. This file and one objective are all there is to a step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor/batch.h"
#include "core/tensor/unit_runner.h"
#include "models/objective.h"
#include "optim/adamw.h"
#include "sharding/local_parameters.h"

namespace swath::train {

// Everything a step measured, still on the device: reading a tensor here is a host sync.
struct StepResult {
  at::Tensor measured;  // float32: loss, gradient norm, 1 if either is not finite (no update then)
  std::vector<std::pair<std::string, at::Tensor>> metrics;  // of the last micro-batch
  std::vector<uint64_t> sample_ids;
};

class TrainStep {
 public:
  struct Options {
    int64_t accumulation = 1;
    double clip_norm = 0;
    double ema_decay = 0;
  };

  // All references outlive the step.
  TrainStep(models::Objective& objective, sharding::LocalParameters& parameters,
            optim::AdamW& optimizer, UnitRunner& runner, Options options);

  // Draws `accumulation` micro-batches and updates the weights once, at learning rate `lr`.
  StepResult run(const std::function<Batch()>& next_batch, double lr);

  // Forward and backward of one batch, then forgets the gradients: what a step costs, without one.
  void rehearse(const Batch& batch);

  // The moving averages under the parameters' names; empty without ema_decay.
  std::vector<std::pair<std::string, at::Tensor>> named_averages() const;

 private:
  at::Tensor forward_backward(const Batch& batch, bool is_last, StepResult* result);
  void update_averages(const at::Tensor& found_inf);

  models::Objective& objective_;
  sharding::LocalParameters& parameters_;
  optim::AdamW& optimizer_;
  UnitRunner& runner_;
  Options options_;
  std::vector<at::Tensor> averages_;
};

}  // namespace swath::train
