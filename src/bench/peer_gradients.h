// Our gradients beside those that a Python peer has written.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/tensor/param_view.h"

namespace swath::bench {

// The largest of max|ours - theirs| / max|theirs| over parameters; the maximum of theirs is that of
// the whole parameter, also where a view holds a part of it. `file` has each whole gradient under
// its parameter's name, in float32. Throws Error naming the parameter where that is more than
// `tolerance` or not a number, where a gradient is missing or has another shape, and where the
// views hold nothing.
double check_same_gradients(const std::vector<ParamView>& views, const std::filesystem::path& file,
                            double tolerance);

}  // namespace swath::bench
