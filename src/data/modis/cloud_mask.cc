#include "data/modis/cloud_mask.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/modis/granule.h"

namespace swath::data::modis {

std::vector<int8_t> read_cloud_mask(const Hdf4File& file, int64_t rows, int64_t columns) {
  const bool is_mod06 = file.has_array("Cloud_Mask_1km");
  const char* name = is_mod06 ? "Cloud_Mask_1km" : "Cloud_Mask";
  const ArrayInfo& info = file.array(name);
  // MOD06: bytes of a pixel together; MOD35: one plane per byte.
  const size_t first = is_mod06 ? 0 : 1;
  if (info.shape.size() != 3 || info.shape[first] != rows || info.shape[first + 1] != columns) {
    throw BadGranule(
        "pair",
        fmt::format("{}: `{}` is {}, the granule has {} x {} pixels.", file.path().string(), name,
                    fmt::join(info.shape, " x "), rows, columns),
        "give the mask of the same granule.");
  }
  std::vector<int8_t> bytes = file.read<int8_t>(name);
  const auto pixels = static_cast<size_t>(rows * columns);
  if (is_mod06) {
    const auto per_pixel = static_cast<size_t>(info.shape[2]);
    for (size_t i = 0; i < pixels; ++i) bytes[i] = bytes[i * per_pixel];
  }
  bytes.resize(pixels);
  return bytes;
}

}  // namespace swath::data::modis
