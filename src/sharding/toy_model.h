// For tests: a model with a root, blocks of two sizes, a frozen table and a parameter that no loss
// reaches, and the same training loop for one process and for many ranks.
#pragma once

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

#include "core/model_spec.h"
#include "core/tensor/torch.h"
#include "core/tensor/unit_runner.h"
#include "sharding/parameters.h"

namespace swath::sharding {

class ToyModel : public torch::nn::Module {
 public:
  static constexpr int64_t kWidth = 7;
  static constexpr int64_t kBlocks = 4;

  ToyModel() {
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(11);
    const auto add = [&](const std::string& unit, const std::string& name,
                         const std::vector<int64_t>& shape, bool trainable = true) {
      // Registered names may hold no dot.
      std::string flat = unit.empty() ? name : unit + "_" + name;
      at::Tensor tensor = register_parameter(flat, 0.3 * at::randn(shape, generator), trainable);
      if (spec_.units.empty() || spec_.units.back().name != (unit.empty() ? "root" : unit)) {
        spec_.units.emplace_back();
        spec_.units.back().name = unit.empty() ? "root" : unit;
      }
      spec_.units.back().parameters.push_back({flat, shape, trainable});
      return tensor;
    };
    embed_ = add("", "embed", {kWidth, 5});
    table_ = add("", "table", {1, kWidth}, false);
    head_ = add("", "head", {3, kWidth});
    for (int64_t i = 0; i < kBlocks; ++i) {
      const std::string unit = "block" + std::to_string(i);
      const int64_t hidden = i % 2 == 0 ? 13 : 4;
      Block block;
      block.norm = add(unit, "norm", {kWidth});
      block.up = add(unit, "up", {hidden, kWidth});
      if (i == 1) add(unit, "unused", {3});
      block.bias = add(unit, "bias", {hidden});
      block.down = add(unit, "down", {kWidth, hidden});
      blocks_.push_back(block);
    }
  }

  // The sum of squared errors of the samples.
  at::Tensor loss(const at::Tensor& inputs, const at::Tensor& targets, UnitRunner& runner) const {
    at::Tensor x = inputs.to(embed_.scalar_type()).matmul(embed_.t()) + table_;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const Block& block = blocks_[i];
      x = runner.run(
          "block" + std::to_string(i),
          [block](const at::Tensor& h) {
            const at::Tensor normed = at::layer_norm(h, {kWidth}, block.norm, at::Tensor(), 1e-5);
            return h + at::linear(at::gelu(at::linear(normed, block.up, block.bias)), block.down);
          },
          x);
    }
    return (x.matmul(head_.t()).to(at::kFloat) - targets).pow(2).sum();
  }

  const ModelSpec& spec() const { return spec_; }

 private:
  struct Block {
    at::Tensor norm, up, bias, down;
  };
  at::Tensor embed_, table_, head_;
  std::vector<Block> blocks_;
  ModelSpec spec_;
};

// Samples of one step; the same on every rank.
struct ToyData {
  at::Tensor inputs;
  at::Tensor targets;

  static ToyData of_step(int64_t step, int64_t samples) {
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(100 + step);
    ToyData data;
    data.inputs = at::randn({samples, 5}, generator);
    data.targets = at::randn({samples, 3}, generator);
    return data;
  }
};

struct ToyRun {
  int64_t steps = 20;
  int64_t samples = 24;  // of a step, over ranks and micro-batches
  int64_t accumulation = 1;
  double lr = 0.05;
  double clip_norm = 1.5;  // active in some steps and not in others
  double momentum = 0.9;
};

// Trains and returns the losses of the steps. Every rank takes its part of every micro-batch; parts
// differ in size when they cannot be equal.
inline std::vector<double> train_toy(ToyModel& model, Parameters& parameters, const ToyRun& run) {
  std::vector<at::Tensor> velocities;
  std::vector<double> losses;
  for (int64_t step = 0; step < run.steps; ++step) {
    const ToyData data = ToyData::of_step(step, run.samples);
    parameters.begin_step();
    at::Tensor loss = at::zeros({1});
    for (int64_t micro = 0; micro < run.accumulation; ++micro) {
      const int64_t parts = run.accumulation * parameters.world_size();
      const int64_t part = micro * parameters.world_size() + parameters.rank();
      const int64_t begin = run.samples * part / parts;
      const int64_t end = run.samples * (part + 1) / parts;
      parameters.begin_forward();
      const at::Tensor of_part =
          model.loss(data.inputs.slice(0, begin, end), data.targets.slice(0, begin, end),
                     parameters.runner()) /
          run.samples;
      parameters.backward(of_part);
      loss += of_part.detach();
    }
    parameters.sum_over_ranks(loss);
    losses.push_back(loss.item<double>());

    const at::NoGradGuard no_grad;
    std::vector<ParamView>& views = parameters.views();
    at::Tensor square = at::zeros({1});
    for (const ParamView& view : views) square += view.grad.square().sum();
    if (views.front().sum_over_shards) views.front().sum_over_shards(square);
    const double norm = square.sqrt().item<double>();
    const double scale = std::min(1.0, run.clip_norm / (norm + 1e-6));
    for (size_t i = 0; i < views.size(); ++i) {
      if (velocities.size() == i) velocities.push_back(at::zeros_like(views[i].local));
      velocities[i].mul_(run.momentum).add_(views[i].grad, scale);
      views[i].local.sub_(velocities[i], run.lr);
      if (views[i].compute_copy.defined()) views[i].compute_copy.copy_(views[i].local);
    }
  }
  return losses;
}

// Writes what this rank holds into whole, flat parameters by name.
inline void collect_toy(Parameters& parameters, std::map<std::string, at::Tensor>& by_name) {
  const at::NoGradGuard no_grad;
  for (const ParamView& view : parameters.views()) {
    for (const ParamSegment& segment : view.segments) {
      int64_t numel = 1;
      for (const int64_t size : segment.shape) numel *= size;
      at::Tensor& whole = by_name[segment.name];
      if (!whole.defined()) whole = at::full({numel}, std::nan(""));
      whole.narrow(0, segment.start, segment.length)
          .copy_(view.local.narrow(0, segment.offset, segment.length));
    }
  }
}

}  // namespace swath::sharding
