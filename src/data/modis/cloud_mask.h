// What MOD06 and MOD35 say of each pixel: cloud and surface.
#pragma once

#include <cstdint>
#include <vector>

#include "data/modis/hdf4_file.h"

namespace swath::data::modis {

// Byte 0 of the cloud mask [text of MOD35's Cloud_Mask attribute], as stored: signed.
struct CloudMaskByte {
  explicit CloudMaskByte(int8_t stored) : bits(static_cast<uint8_t>(stored)) {}

  // Otherwise nothing else means anything: a zero byte would read as cloudy over water.
  bool is_determined() const { return (bits & 1U) != 0; }
  bool is_cloudy() const { return is_determined() && (bits >> 1 & 3U) == 0; }
  bool is_water() const { return is_determined() && (bits >> 6 & 3U) == 0; }

  uint8_t bits;
};

// Byte 0 of every pixel of a MOD06 (`Cloud_Mask_1km`) or MOD35 (`Cloud_Mask`) file. Throws
// BadSample when it has neither, and BadGranule when they belong to another number of pixels.
std::vector<int8_t> read_cloud_mask(const Hdf4File& file, int64_t rows, int64_t columns);

}  // namespace swath::data::modis
