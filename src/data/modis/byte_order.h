// 16-bit values in the other byte order: HDF4 stores them big-endian.
#pragma once

#include <cstddef>
#include <cstdint>

namespace swath::data::modis {

// `bytes` and `out` may be the same memory.
void swap_bytes(const std::byte* bytes, int64_t count, uint16_t* out);

}  // namespace swath::data::modis
