// What the decoders of the formats share. Not for use outside of image decoding.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "data/image.h"

namespace swath::data {

// One opened source of one format.
class ImageCodec {
 public:
  virtual ~ImageCodec() = default;
  const ImageInfo& info() const { return info_; }
  // `options` has passed check_options().
  virtual void decode(const DecodeOptions& options, const Region& region, Image* image) = 0;

 protected:
  ImageInfo info_;
};

// The encoded bytes of a source: borrowed, read into a buffer that the thread uses again, or mapped
// when the file is large or only its head is wanted.
class EncodedBytes {
 public:
  explicit EncodedBytes(std::span<const std::byte> borrowed) : bytes_(borrowed) {}
  enum class Access { kWhole, kHeadOnly };
  // Throws BadSample when the path is missing, a directory, empty or unreadable.
  EncodedBytes(const std::filesystem::path& path, Access access);
  ~EncodedBytes();
  EncodedBytes(EncodedBytes&& other) noexcept;
  EncodedBytes(const EncodedBytes&) = delete;
  EncodedBytes& operator=(const EncodedBytes&) = delete;

  std::span<const std::byte> span() const { return bytes_; }
  const unsigned char* data() const {
    return reinterpret_cast<const unsigned char*>(bytes_.data());
  }
  size_t size() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  std::vector<std::byte> buffer_;
  std::optional<MappedFile> mapping_;
};

std::unique_ptr<ImageCodec> open_jpeg(EncodedBytes bytes, const std::string& name);
std::unique_ptr<ImageCodec> open_png(EncodedBytes bytes, const std::string& name);
std::unique_ptr<ImageCodec> open_npy(EncodedBytes bytes, const std::string& name);
// `bytes` are pixels of the shape `info`; with a calibration, counts that decode to values.
std::unique_ptr<ImageCodec> open_raw(std::span<const std::byte> bytes, const ImageInfo& info,
                                     std::shared_ptr<const Calibration> calibration,
                                     const std::string& name);
// By path when `bytes` is empty. `found` says what the content looks like, for the error.
std::unique_ptr<ImageCodec> open_gdal(const std::filesystem::path& path,
                                      std::span<const std::byte> bytes, const std::string& name,
                                      const std::string& found);

// Why content of this format does not belong under that name, or nothing. Names whose extension is
// not one of an image are not judged. `format` as in ImageInfo.
std::optional<std::string> wrong_extension(std::string_view name, std::string_view format);

// Throws BadSample "name: what"; without a hint, the one that fits any bad file.
[[noreturn]] void throw_bad_image(const std::string& name, const std::string& what,
                                  const std::string& hint = {});

// The region asked for, or the whole image. Throws BadSample when it or a band lies outside the
// image, or when its pixels pass the memory limit.
Region check_options(const ImageInfo& info, const DecodeOptions& options, const std::string& name);

// Gives `image` the shape (width, height, selected bands).
void shape_image(const ImageInfo& info, const DecodeOptions& options, int64_t width, int64_t height,
                 Image* image);

// Copies `width` pixels of `info.bands` interleaved bands to `row` of `image`, selected bands only.
void copy_row(const ImageInfo& info, const DecodeOptions& options, const std::byte* pixels,
              int64_t row, Image* image);

}  // namespace swath::data
