// The one precompiled header: what every file that touches tensors needs.
#pragma once

#include <fmt/format.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>
