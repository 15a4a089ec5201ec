// LARS as MAE's linear probe uses it (util/lars.py of facebookresearch/mae; You et al. 2017,
// "Large batch training of convolutional networks", with the learning rate outside the momentum).
//
// For a parameter w with gradient g and momentum buffer m:
//   more than one dimension: g <- g + wd w;  g <- g * eta |w| / |g|  (factor 1 if a norm is 0)
//   m <- mu m + g;  w <- w - lr m
// Vectors (biases) have neither trust ratio nor decay.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "core/tensor/param_view.h"

namespace swath::optim {

struct LarsOptions {
  double momentum = 0.9;
  double trust_coefficient = 0.001;
  double weight_decay = 0;

  void describe(FieldTable& fields);
};

class Lars {
 public:
  // The views' tensors stay the same for the life of the optimizer; their grads may change. Where
  // sum_over_shards is set, all holders list the same segments in the same order, with length 0 for
  // a parameter of which they hold nothing: norms are those of whole parameters.
  Lars(std::vector<ParamView>* views, LarsOptions options);

  // Updates every view. `found_inf` is a float32 scalar on the device, 1 when a value is not
  // finite: then nothing changes. It may be undefined.
  void step(double lr, const at::Tensor& found_inf = {});

  // "momentum/NAME", in the parameter's shape where all of it is here; aliases.
  std::vector<std::pair<std::string, at::Tensor>> named_state() const;

 private:
  std::vector<ParamView>* views_;
  LarsOptions options_;
  std::vector<at::Tensor> momenta_;
};

}  // namespace swath::optim
