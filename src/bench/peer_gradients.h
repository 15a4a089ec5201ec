// Our gradients and a Python peer's beside exact ones.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/tensor/param_view.h"

namespace swath::bench {

// Both compare with the gradients in `exact`, computed in float64: float32 gradients of two
// programs that sum in another order differ by twice what either is wrong by. The largest of
// max|gradient - exact| / max|exact| over parameters; the maximum is that of the whole parameter,
// also where a view holds a part of it. Files have each whole gradient under its parameter's name.
// Throws Error naming the parameter where that is more than `tolerance` or not a number, where a
// gradient is missing or has another shape, and where there is nothing to compare.
double check_our_gradients(const std::vector<ParamView>& views, const std::filesystem::path& exact,
                           double tolerance);
// Of what a peer has written in `file`.
double check_peer_gradients(const std::filesystem::path& file, const std::filesystem::path& exact,
                            double tolerance);

}  // namespace swath::bench
