// The global gradient norm, computed once per step: it feeds clipping, the finite check and the
// log.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/tensor/param_view.h"

namespace swath::optim {

struct GradientNorm {
  at::Tensor norm;       // float32 scalar on the device: L2 over all views and shards
  at::Tensor found_inf;  // float32 scalar on the device: 1 when norm or loss is not finite, else 0
  at::Tensor divisor;    // weight * max(1, norm / max_norm); undefined when that is 1
};

// No host synchronisation. `loss` is the step's loss on the device; `max_norm` 0 means no clipping.
// `weight`, a float32 scalar or undefined, is what the views' gradients have yet to be divided by;
// the norm is that of the divided ones.
GradientNorm measure_gradients(const std::vector<ParamView>& views, const at::Tensor& loss,
                               double max_norm, const at::Tensor& weight = {});

}  // namespace swath::optim
