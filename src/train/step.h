// One optimizer step. This file and one objective are all there is to a step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor/batch.h"
#include "models/objective.h"
#include "optim/adamw.h"
#include "sharding/parameters.h"

namespace swath::train {

// Everything a step measured, the same on all ranks and still on the device: reading a tensor here
// is a host sync.
struct StepResult {
  // float32: loss, gradient norm, 1 if either is not finite (no update then); for each rank, 1 if
  // its own loss or gradient was not; the sums of the votes.
  at::Tensor measured;
  std::vector<std::pair<std::string, at::Tensor>> metrics;  // of this rank's last micro-batch
  std::vector<uint64_t> sample_ids;                         // of this rank
};

class TrainStep {
 public:
  struct Options {
    int64_t batch_size = 0;  // samples of a step, over ranks and micro-batches; 0: in equal parts
    double clip_norm = 0;
    double ema_decay = 0;
  };

  // All references outlive the step.
  TrainStep(models::Objective& objective, sharding::Parameters& parameters, optim::AdamW& optimizer,
            Options options);

  // Draws the micro-batches and updates the weights once, at learning rate `lr`. `votes` are summed
  // over ranks on the way.
  StepResult run(const std::function<Batch()>& next_batch, double lr,
                 const std::vector<float>& votes = {});

  // Forward and backward of one batch, then forgets the gradients: what a step costs, without one.
  void rehearse(const Batch& batch);

  // The mean loss over the next `batches` batches of all ranks, each sample (or its valid part)
  // counting alike; a float32 scalar, the same on all ranks, still on the device. The model is in
  // evaluation mode meanwhile; nothing is learned.
  at::Tensor mean_loss(const std::function<Batch()>& next_batch, int64_t batches);

  // The moving averages, one for each of the parameters' views; empty without ema_decay.
  const std::vector<at::Tensor>& averages() const { return averages_; }

 private:
  struct Sums {  // over micro-batches, float32 scalars
    at::Tensor loss;
    at::Tensor weight;  // undefined while samples are the weight: their shares sum to 1
  };
  void forward_backward(const Batch& batch, Sums* sums, StepResult* result);
  at::Tensor sum_over_ranks(const Sums& sums, const std::vector<float>& votes);
  void update_averages(const at::Tensor& found_inf);

  models::Objective& objective_;
  sharding::Parameters& parameters_;
  optim::AdamW& optimizer_;
  Options options_;
  std::vector<at::Tensor> averages_;
};

}  // namespace swath::train
