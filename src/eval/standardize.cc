#include "eval/standardize.h"

#include <ATen/ATen.h>

namespace swath::eval {

at::Tensor feature_deviations(const at::Tensor& features_ND) {
  const at::Tensor deviation_D = features_ND.to(at::kDouble).std(0, /*unbiased=*/false);
  return at::where(deviation_D > 0, deviation_D, at::ones_like(deviation_D));
}

}  // namespace swath::eval
