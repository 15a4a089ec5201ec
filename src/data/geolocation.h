// Where on the Earth an image lies.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "data/dataset.h"

namespace swath::data {

// Degrees east and north (WGS 84) of the centre; nothing without a georeference. Projected
// coordinates need GDAL: without it, or with an unknown coordinate system, nothing.
std::optional<std::array<double, 2>> center_of(const ImageInfo& info);

// What the dataset says, else the georeference of the image itself (which opens the file).
std::optional<std::array<double, 2>> longitude_latitude_of(const Dataset& dataset, int64_t index);

}  // namespace swath::data
