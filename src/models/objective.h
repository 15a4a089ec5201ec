// What training and evaluation know of a model.
//
// B samples, C channels, N patches, D width.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/model_spec.h"
#include "core/tensor/batch.h"
#include "core/tensor/unit_runner.h"

namespace torch::nn {
class Module;
}

namespace swath::models {

struct LossResult {
  // Mean over the batch, float32, one element, attached to the graph, on the device.
  at::Tensor loss;
  // Values worth a log line, detached and left on the device: reading them is a host sync.
  std::vector<std::pair<std::string, at::Tensor>> metrics;
  // How much of the batch that mean is over, where it is not all of it: valid pixels divided by all
  // (float32, one element). A step is the mean over what is valid in all of its micro-batches;
  // where nothing is, the loss must still be finite.
  at::Tensor weight = {};
};

// A model together with the loss it is trained on: MAE, SimMIM, classification.
class Objective {
 public:
  virtual ~Objective() = default;

  // One forward pass. All randomness (masks, drop path) is a function of the objective's seed, the
  // batch's epoch and its sample ids, so any rank or test can replay it.
  virtual LossResult loss(const Batch& batch, UnitRunner& runner) = 0;

  // The parameters under the names of timm and MAE. Training may replace their storage (flat
  // buffers, bfloat16), never their shapes.
  virtual torch::nn::Module& module() = 0;
  virtual const ModelSpec& spec() const = 0;

  // Writes the initial values of the parameter `name`, a function of (seed, name), into a tensor of
  // its shape.
  virtual void initialize(const std::string& name, const at::Tensor& values) const = 0;

  // Whether weight decay spares this parameter although it is no vector and no bias.
  virtual bool never_decays(const std::string& /*name*/) const { return false; }
};

// Pictures for people, (B, C, H, W) each in the units of the input, H = W = the pixels used.
struct Reconstruction {
  at::Tensor original;
  at::Tensor masked;  // masked pixels are 0
  at::Tensor
      reconstruction;       // masked pixels as predicted, in the input's units; others as they are
  at::Tensor removed_BCHW;  // bool, (B, 1, H, W) where all bands lose the same pixels
};

// An objective that completes images: MAE, SimMIM.
class MaskedModel : public Objective {
 public:
  // With masks drawn from `seed`, the batch's epoch and its sample ids. No gradient.
  virtual Reconstruction reconstruct(const Batch& batch, uint64_t seed, UnitRunner& runner) = 0;
};

// The part of a model that turns images into features; what probes freeze.
class Encoder {
 public:
  virtual ~Encoder() = default;

  // Tokens after the final norm, (B, N + 1, D): row 0 stands for the image (the CLS token, or the
  // mean of the patches where a model has none), then the patches in row-major order. No masking.
  virtual at::Tensor forward_features(const at::Tensor& images_BCHW, UnitRunner& runner) = 0;

  virtual torch::nn::Module& module() = 0;
  virtual const ModelSpec& spec() const = 0;
};

// An encoder with a head of classes: what fine-tuning trains.
class ClassifyingEncoder : public Encoder {
 public:
  // (B, num_classes), in the dtype of the weights. Stochastic depth: scales[2 i] and
  // scales[2 i + 1], (B, 1, 1) each, are factors of the attention and MLP branch of block i,
  // counted in the order in which they run; empty: none.
  virtual at::Tensor forward_logits(const at::Tensor& images_BCHW,
                                    const std::vector<at::Tensor>& scales, UnitRunner& runner) = 0;
  // As Objective's, from `seed`.
  virtual void initialize(const std::string& name, const at::Tensor& values,
                          uint64_t seed) const = 0;
  virtual bool never_decays(const std::string& /*name*/) const { return false; }
  // The layer of a parameter, for learning rates that fall from layer to layer: 0 before the
  // blocks, i + 1 for block i, spec().depth + 1 behind them.
  virtual int64_t layer_of(const std::string& name) const = 0;
};

}  // namespace swath::models
