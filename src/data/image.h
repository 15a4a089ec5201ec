// Images of any size, band count and pixel type, decoded whole or by region.
//
// Formats: JPEG (libjpeg-turbo), PNG (libpng), NumPy .npy, and what GDAL reads (TIFF, GeoTIFF,
// JPEG 2000 ...) when swath was built with GDAL. The content tells the format; a name whose
// extension says another is an error.
//
// What becomes of a file's pixels:
//   JPEG    gray (1 band) or RGB (3), uint8, bit-equal to Pillow's. CMYK is refused. A
//           camera's orientation tag is not applied.
//   PNG     gray 1, gray + alpha 2, RGB 3, RGBA 4, palette 3 bands (a transparent colour stays
//           opaque); uint8, or uint16 for 16 bits; gray of 1, 2, 4 bits is spread over 0..255.
//   .npy    little-endian u1, u2, i2, f4, and f8 turned to float32, in C order. (H, W) is one band.
//           Of three dimensions the odd one out of a square is the band count, else the smaller of
//           first and last; in doubt the last: (64, 64, 12), (12, 64, 64), (480, 640, 3).
//   GDAL    Byte, UInt16, Int16, Float32 as they are, other real types turned to float32. Palettes
//           stay indices.
// Thread rule: all functions may be called from many threads at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/calibration.h"

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
  const T* as() const {
    return reinterpret_cast<const T*>(pixels.data());
  }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(pixels.data());
  }
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
  bool has_missing = false;  // NaN stands for values that were not measured
};

// Something that can be decoded: a file, encoded bytes in memory, or raw pixels in memory (a record
// of a shard). Bytes are borrowed: they must outlive the source.
struct ImageSource {
  std::string name;  // for errors: the path, or shard and record
  // The file; with `bytes`, the name they have in their archive (may be empty). Its extension has
  // to agree with the content.
  std::filesystem::path path;
  std::span<const std::byte> bytes;  // empty: the file is read
  std::optional<ImageInfo> raw;      // set: `bytes` are raw pixels of this shape
  // Of raw uint16 pixels: they decode to float32 physical values, NaN where there is none.
  std::shared_ptr<const Calibration> calibration;

  static ImageSource from_file(const std::filesystem::path& path);
};

struct DecodeOptions {
  std::optional<Region> region;  // absent: the whole image
  std::vector<int64_t> bands;    // 0-based selection in this order; empty: all
  // JPEG only (others ignore it): decode at 1/scale of the size (1, 2, 4, 8). `region` still counts
  // full-size pixels; the result covers it: columns floor(left / scale) to ceil(right / scale) of
  // the smaller image, rows alike. For pretraining crops, never for evaluation.
  int jpeg_scale = 1;
  // Refuses to hold more than this many bytes of decoded pixels at once.
  int64_t memory_limit_bytes = int64_t{1} << 31;
};

// Throw BadSample naming the source when it is missing, empty, truncated, not an image, or of
// another format than its extension says, and when the region or a band lies outside it. A JPEG,
// PNG or .npy cut off behind the region fails too.
ImageInfo read_image_info(const ImageSource& source);
Image decode_image(const ImageSource& source, const DecodeOptions& options = {});

class ImageCodec;

// A source opened once, for callers that choose the region after seeing the size. Errors as above.
// Thread rule: one thread at a time per reader.
class ImageReader {
 public:
  explicit ImageReader(const ImageSource& source);
  ~ImageReader();
  ImageReader(const ImageReader&) = delete;
  ImageReader& operator=(const ImageReader&) = delete;

  const ImageInfo& info() const;
  // Fills `image`, reusing its memory. May be called again.
  void read(const DecodeOptions& options, Image* image);

 private:
  std::string name_;
  std::unique_ptr<ImageCodec> codec_;
};

// 8-bit images of 1 (gray), 3 (RGB) or 4 (RGBA) bands as PNG; throw Error on others.
std::vector<std::byte> encode_png(const Image& image);
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace swath::data
