// The table of where embedded images lie, which `swath embed` writes and reports read. Free of
// LibTorch.
#pragma once

namespace swath::eval {

inline constexpr const char* kPlacesFile = "places.csv";

// Degrees of the centre; the granule's name ("MOD021KM.A2012123.1015") and platform; the chip's
// first pixel in the granule; the cluster, from 0 on. What is not known is an empty cell.
inline constexpr const char* kPlacesHeader =
    "name,longitude,latitude,granule,platform,row,column,cluster";

// What embed.json beside it says of the whole.
inline constexpr const char* kEmbeddingFile = "embed.json";

}  // namespace swath::eval
