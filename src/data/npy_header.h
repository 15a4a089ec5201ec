// The head of a NumPy .npy file (format version 1.0) for a C-ordered array.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"

namespace swath::data {

// 6 bytes of magic, version, length and the dictionary, padded to a multiple of 64.
std::string npy_header(PixelType type, const std::vector<int64_t>& shape);

}  // namespace swath::data
