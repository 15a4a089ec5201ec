// Images of any size, band count and pixel type, decoded whole or by region.
//
// Formats: JPEG (libjpeg-turbo), PNG (libpng), NumPy .npy, and what GDAL reads (TIFF, GeoTIFF,
// JPEG 2000 ...) when swath was built with GDAL. The format is told by the content, not by the name.
// Thread rule: all functions may be called from many threads at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace swath::data {

enum class PixelType { kUint8, kUint16, kInt16, kFloat32 };

int64_t pixel_bytes(PixelType type);
const char* pixel_type_name(PixelType type);

// Pixels in (row, column, band) order, bands interleaved.
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  int64_t bands = 0;
  PixelType type = PixelType::kUint8;
  std::vector<std::byte> pixels;

  template <class T>
  const T* as() const { return reinterpret_cast<const T*>(pixels.data()); }
  template <class T>
  T* as() { return reinterpret_cast<T*>(pixels.data()); }
};

struct Region {
  int64_t left = 0;
  int64_t top = 0;
  int64_t width = 0;
  int64_t height = 0;
};

// Where a north-up raster lies: x = origin_x + column * step_x, y = origin_y + row * step_y.
struct Georeference {
  double origin_x = 0;
  double origin_y = 0;
  double step_x = 0;
  double step_y = 0;
  std::string coordinate_system;  // WKT
};

struct ImageInfo {
  std::string format;  // "JPEG", "PNG", "NPY", "GTiff" ...
  int64_t width = 0;
  int64_t height = 0;
  int64_t bands = 0;
  PixelType type = PixelType::kUint8;
  std::optional<Georeference> georeference;
};

// Something that can be decoded: a file, encoded bytes in memory, or raw pixels in memory (a record
// of a shard). Bytes are borrowed: they must outlive the source.
struct ImageSource {
  std::string name;  // for errors: the path, or shard and record
  std::filesystem::path path;               // used when `bytes` is empty
  std::span<const std::byte> bytes;
  std::optional<ImageInfo> raw;             // set: `bytes` are raw pixels of this shape

  static ImageSource from_file(const std::filesystem::path& path);
};

struct DecodeOptions {
  std::optional<Region> region;     // absent: the whole image
  std::vector<int64_t> bands;       // 0-based selection in this order; empty: all
  // JPEG only: decode at 1/scale of the size (1, 2, 4, 8), then `region` counts full-size pixels and
  // the result has about region / scale pixels. For pretraining crops, never for evaluation.
  int jpeg_scale = 1;
  // Refuses to hold more than this many bytes of decoded pixels at once.
  int64_t memory_limit_bytes = int64_t{1} << 31;
};

// Throw BadSample naming the source when it is missing, empty, truncated, or not an image.
ImageInfo read_image_info(const ImageSource& source);
Image decode_image(const ImageSource& source, const DecodeOptions& options = {});

}  // namespace swath::data
