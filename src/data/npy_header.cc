#include "data/npy_header.h"

#include <fmt/format.h>

namespace swath::data {

std::string npy_header(PixelType type, const std::vector<int64_t>& shape) {
  const char* description = "|u1";
  if (type == PixelType::kUint16) description = "<u2";
  if (type == PixelType::kInt16) description = "<i2";
  if (type == PixelType::kFloat32) description = "<f4";
  std::string dimensions;
  for (const int64_t size : shape) {
    if (!dimensions.empty()) dimensions += ", ";
    dimensions += fmt::format("{}", size);
  }
  if (shape.size() == 1) dimensions += ',';
  std::string dictionary = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                       description, dimensions);
  constexpr size_t kFixedBytes = 10;
  while ((kFixedBytes + dictionary.size() + 1) % 64 != 0) dictionary += ' ';
  dictionary += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(dictionary.size() & 0xff);
  header += static_cast<char>(dictionary.size() >> 8);
  return header + dictionary;
}

}  // namespace swath::data
