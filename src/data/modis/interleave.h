// Planes of bands to pixels with their bands together, as records of shards have them.
#pragma once

#include <cstdint>
#include <span>

namespace swath::data::modis {

// A window of `height` x `width` pixels: plane b begins at planes[b], its rows `row_counts` apart.
// `out` takes height * width * planes.size() counts.
void interleave(std::span<const uint16_t* const> planes, int64_t row_counts, int64_t height,
                int64_t width, uint16_t* out);

}  // namespace swath::data::modis
