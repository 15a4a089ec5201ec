// What brings features of different scales to one.
//
// n items, D feature width.
#pragma once

#include <ATen/core/Tensor.h>

namespace swath::eval {

// Per feature (D): the items' standard deviation in double precision, 1 where it is 0, so that
// every feature can be divided by it.
at::Tensor feature_deviations(const at::Tensor& features_ND);

}  // namespace swath::eval
