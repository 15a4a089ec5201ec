// For tests: an objective small enough to know every number.
#pragma once

#include <cmath>
#include <functional>

#include "core/tensor/torch.h"
#include "core/tensor/unit_runner.h"
#include "models/objective.h"

namespace swath::train {

// A linear regression of two inputs on 1, with the interface of a model.
class LineObjective : public models::Objective {
 public:
  LineObjective() : weight_(module_.register_parameter("weight", torch::ones({1, 2}))) {
    spec_.units.push_back({"root", {{"weight", {1, 2}, true}}});
  }
  models::LossResult loss(const Batch& batch, UnitRunner& runner) override {
    is_checkpointing = dynamic_cast<CheckpointingRunner*>(&runner) != nullptr;
    const at::Tensor x = batch.images_BCHW.flatten(1).to(weight_.scalar_type());
    const at::Tensor error = torch::mm(x, weight_.t()).squeeze(1).to(torch::kFloat) - 1;
    if (before_call) before_call(calls_);
    const double factor = calls_ >= first_bad_call && calls_ < end_of_bad_calls ? NAN : 1.0;
    ++calls_;
    models::LossResult result;
    result.metrics = {{"largest", error.detach().abs().max()}};
    if (valid.defined()) {
      result.loss = factor * (error.square() * valid).sum() / valid.sum().clamp_min(1);
      result.weight = valid.mean();
    } else {
      result.loss = factor * error.square().mean();
    }
    return result;
  }
  torch::nn::Module& module() override { return module_; }
  const ModelSpec& spec() const override { return spec_; }
  void initialize(const std::string& /*name*/, const at::Tensor& values) const override {
    values.fill_(1);
  }
  at::Tensor weight() const { return weight_; }

  std::function<void(int64_t call)> before_call;  // of loss(), counted from 0

  // Calls of loss(), counted from 0, in [first, end) give a loss that is not a number.
  int64_t first_bad_call = 0;
  int64_t end_of_bad_calls = 0;
  at::Tensor valid;               // of the next batch's samples, 1 or 0; undefined: all
  bool is_checkpointing = false;  // whether the last call was given a runner that recomputes

 private:
  torch::nn::Module module_;
  at::Tensor weight_;
  ModelSpec spec_;
  int64_t calls_ = 0;
};

}  // namespace swath::train
