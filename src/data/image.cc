#include "data/image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "data/image_codec.h"

namespace swath::data {
namespace {

// Above this a file is mapped instead of read: a region of it may need few of its pages.
constexpr int64_t kLargestReadFile = int64_t{4} << 20;

// Buffers that the thread's readers gave back; taken again by the next, so that a loader's steady
// state does not allocate.
std::vector<std::vector<std::byte>>& spare_buffers() {
  thread_local std::vector<std::vector<std::byte>> buffers;
  return buffers;
}

class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path)
      : value_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

enum class Format { kJpeg, kPng, kNpy, kForGdal, kNoImage };

struct Content {
  Format format = Format::kForGdal;
  std::string found;  // "a PDF document"
};

bool looks_like_text(std::span<const std::byte> head) {
  return std::all_of(head.begin(), head.end(), [](std::byte value) {
    const auto character = static_cast<unsigned char>(value);
    return character >= 0x20 || character == '\n' || character == '\r' || character == '\t';
  });
}

Content recognise(std::span<const std::byte> bytes) {
  using namespace std::string_view_literals;
  struct Signature {
    std::string_view magic;
    Format format;
    const char* found;
  };
  static constexpr Signature kSignatures[] = {
      {"\xFF\xD8\xFF"sv, Format::kJpeg, "JPEG"},
      {"\x89PNG\r\n\x1A\n"sv, Format::kPng, "PNG"},
      {"\x93NUMPY"sv, Format::kNpy, "NumPy .npy"},
      {"II*\0"sv, Format::kForGdal, "TIFF"},
      {"MM\0*"sv, Format::kForGdal, "TIFF"},
      {"II+\0"sv, Format::kForGdal, "BigTIFF"},
      {"MM\0+"sv, Format::kForGdal, "BigTIFF"},
      {"\0\0\0\x0CjP  \r\n"sv, Format::kForGdal, "JPEG 2000"},
      {"GIF8"sv, Format::kForGdal, "GIF"},
      {"BM"sv, Format::kForGdal, "BMP"},
      {"\x89HDF\r\n"sv, Format::kForGdal, "HDF5 or NetCDF-4"},
      {"\x0E\x03\x13\x01"sv, Format::kForGdal, "HDF4"},
      {"CDF\x01"sv, Format::kForGdal, "NetCDF"},
      {"CDF\x02"sv, Format::kForGdal, "NetCDF"},
      {"RIFF"sv, Format::kForGdal, "RIFF (WebP?)"},
      {"SIMPLE  ="sv, Format::kForGdal, "FITS"},
      {"<VRTDataset"sv, Format::kForGdal, "GDAL VRT"},
      {"%PDF"sv, Format::kNoImage, "a PDF document"},
      {"PK\x03\x04"sv, Format::kNoImage, "a ZIP archive (.zip, .npz)"},
      {"\x1F\x8B"sv, Format::kNoImage, "a gzip archive"},
      {"BZh"sv, Format::kNoImage, "a bzip2 archive"},
      {"\x28\xB5\x2F\xFD"sv, Format::kNoImage, "a Zstandard archive"},
      {"7z\xBC\xAF\x27\x1C"sv, Format::kNoImage, "a 7z archive"},
      {"Rar!"sv, Format::kNoImage, "a RAR archive"},
      {"version https://git-lfs"sv, Format::kNoImage,
       "a Git LFS pointer; the picture itself was not downloaded (`git lfs pull`)"},
  };
  for (const Signature& signature : kSignatures) {
    if (begins_with(bytes, signature.magic)) return {signature.format, signature.found};
  }
  const auto head = bytes.first(std::min<size_t>(bytes.size(), 40));
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (looks_like_text(head)) {
    if (text.find("<html") != text.npos || text.find("<!DOCTYPE") != text.npos) {
      return {Format::kNoImage, "an HTML page (a failed download?)"};
    }
    const std::string_view line = text.substr(0, text.find_first_of("\r\n"));
    return {Format::kNoImage, fmt::format("text that begins \"{}\"", line)};
  }
  std::string digits;
  for (const std::byte value : head.first(std::min<size_t>(head.size(), 8))) {
    digits += fmt::format(" {:02X}", static_cast<unsigned>(value));
  }
  return {Format::kForGdal, "unknown content that begins with the bytes" + digits};
}

std::unique_ptr<ImageCodec> open_codec(const ImageSource& source, EncodedBytes::Access access) {
  if (source.raw) return open_raw(source.bytes, *source.raw, source.calibration, source.name);
  if (source.bytes.empty() && source.path.empty()) {
    throw_bad_image(source.name, "the record is empty (0 bytes)");
  }
  const bool from_file = source.bytes.empty();
  EncodedBytes bytes = from_file ? EncodedBytes(source.path, access) : EncodedBytes(source.bytes);
  const Content content = recognise(bytes.span());
  switch (content.format) {
    case Format::kJpeg:
      return open_jpeg(std::move(bytes), source.name);
    case Format::kPng:
      return open_png(std::move(bytes), source.name);
    case Format::kNpy:
      return open_npy(std::move(bytes), source.name);
    case Format::kForGdal:
      return open_gdal(source.path, source.bytes, source.name, content.found);
    case Format::kNoImage:
      break;
  }
  throw_bad_image(source.name, fmt::format("is not an image: found {}", content.found));
}

// A lying name is a sign of a mixed-up or damaged set, so no command takes such a file silently.
std::unique_ptr<ImageCodec> open_named(const ImageSource& source, EncodedBytes::Access access) {
  std::unique_ptr<ImageCodec> codec = open_codec(source, access);
  if (source.raw) return codec;
  if (const auto wrong = wrong_extension(source.path.native(), codec->info().format)) {
    throw_bad_image(source.name, *wrong,
                    "rename the file after its content, or leave it out with `--skip-bad`.");
  }
  return codec;
}

class RawCodec final : public ImageCodec {
 public:
  RawCodec(std::span<const std::byte> bytes, const ImageInfo& info) : bytes_(bytes) {
    info_ = info;
  }

  void decode(const DecodeOptions& options, const Region& region, Image* image) override {
    shape_image(info_, options, region.width, region.height, image);
    const int64_t pixel = info_.bands * pixel_bytes(info_.type);
    for (int64_t row = 0; row < region.height; ++row) {
      const int64_t offset = ((region.top + row) * info_.width + region.left) * pixel;
      copy_row(info_, options, bytes_.data() + offset, row, image);
    }
  }

 private:
  std::span<const std::byte> bytes_;
};

class CountCodec final : public ImageCodec {
 public:
  CountCodec(std::span<const std::byte> bytes, const ImageInfo& info,
             std::shared_ptr<const Calibration> calibration)
      : counts_(reinterpret_cast<const uint16_t*>(bytes.data())),
        calibration_(std::move(calibration)) {
    info_ = info;
    info_.type = PixelType::kFloat32;
    info_.has_missing = true;
  }

  void decode(const DecodeOptions& options, const Region& region, Image* image) override {
    shape_image(info_, options, region.width, region.height, image);
    for (int64_t row = 0; row < region.height; ++row) {
      const int64_t pixel = (region.top + row) * info_.width + region.left;
      calibrate_pixels(counts_ + pixel * info_.bands, region.width, info_.bands, options.bands,
                       *calibration_, image->as<float>() + row * region.width * image->bands);
    }
  }

 private:
  const uint16_t* counts_;
  std::shared_ptr<const Calibration> calibration_;
};

}  // namespace

int64_t pixel_bytes(PixelType type) {
  switch (type) {
    case PixelType::kUint8:
      return 1;
    case PixelType::kUint16:
    case PixelType::kInt16:
      return 2;
    case PixelType::kFloat32:
      return 4;
  }
  return 0;
}

const char* pixel_type_name(PixelType type) {
  switch (type) {
    case PixelType::kUint8:
      return "uint8";
    case PixelType::kUint16:
      return "uint16";
    case PixelType::kInt16:
      return "int16";
    case PixelType::kFloat32:
      return "float32";
  }
  return "?";
}

ImageSource ImageSource::from_file(const std::filesystem::path& path) {
  ImageSource source;
  source.name = path.string();
  source.path = path;
  return source;
}

EncodedBytes::EncodedBytes(const std::filesystem::path& path, Access access) {
  const std::string name = path.string();
  const Descriptor file(path);
  struct stat status{};
  if (file.value() < 0 || fstat(file.value(), &status) != 0) {
    throw_bad_image(name, fmt::format("cannot be opened: {}", std::strerror(errno)),
                    "check the path and its permissions.");
  }
  if (!S_ISREG(status.st_mode)) {
    throw_bad_image(
        name, S_ISDIR(status.st_mode) ? "is a directory, not an image" : "is not a regular file");
  }
  if (status.st_size == 0) throw_bad_image(name, "is empty (0 bytes)");
  if (access == Access::kHeadOnly || status.st_size > kLargestReadFile) {
    try {
      mapping_.emplace(path);
    } catch (const Error& error) {
      throw_bad_image(name, error.message(), error.hint());
    }
    const std::string_view bytes = mapping_->bytes();
    bytes_ = {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};
    return;
  }
  if (!spare_buffers().empty()) {
    buffer_ = std::move(spare_buffers().back());
    spare_buffers().pop_back();
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (buffer_.size() < size) buffer_.resize(size);
  size_t done = 0;
  while (done < size) {
    const ssize_t count = read(file.value(), buffer_.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_bad_image(name, fmt::format("cannot be read: {}", std::strerror(errno)));
    if (count == 0) throw_bad_image(name, "became shorter while it was read");
    done += static_cast<size_t>(count);
  }
  bytes_ = {buffer_.data(), size};
}

EncodedBytes::~EncodedBytes() {
  if (!buffer_.empty()) spare_buffers().push_back(std::move(buffer_));
}

EncodedBytes::EncodedBytes(EncodedBytes&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})),
      buffer_(std::move(other.buffer_)),
      mapping_(std::move(other.mapping_)) {
  other.buffer_.clear();
}

std::optional<std::string> wrong_extension(std::string_view name, std::string_view format) {
  struct Extension {
    std::string_view name;
    std::string_view format;  // begins so: GDAL has several readers of JPEG 2000
  };
  static constexpr Extension kExtensions[] = {{"jpg", "JPEG"},  {"jpeg", "JPEG"},  {"png", "PNG"},
                                              {"tif", "GTiff"}, {"tiff", "GTiff"}, {"npy", "NPY"},
                                              {"jp2", "JP2"}};
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view extension = name.substr(dot + 1);
  const auto is_same_letter = [](char known, char letter) {
    return known ==
           (letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter);
  };
  for (const Extension& known : kExtensions) {
    if (!std::ranges::equal(known.name, extension, is_same_letter)) continue;
    if (format.starts_with(known.format)) return std::nullopt;
    return fmt::format("holds {} data under the extension .{}", format, extension);
  }
  return std::nullopt;
}

void throw_bad_image(const std::string& name, const std::string& what, const std::string& hint) {
  throw BadSample(fmt::format("{}: {}.", name, what),
                  hint.empty()
                      ? "replace or remove it; `--skip-bad` counts such samples, lists them "
                        "and goes on without them."
                      : hint);
}

Region check_options(const ImageInfo& info, const DecodeOptions& options, const std::string& name) {
  const Region region = options.region.value_or(Region{0, 0, info.width, info.height});
  if (region.left < 0 || region.top < 0 || region.width < 1 || region.height < 1 ||
      region.left > info.width - region.width || region.top > info.height - region.height) {
    throw_bad_image(
        name,
        fmt::format("the region {} x {} at column {}, row {} is not inside the image of "
                    "{} x {} pixels",
                    region.width, region.height, region.left, region.top, info.width, info.height));
  }
  for (const int64_t band : options.bands) {
    if (band < 0 || band >= info.bands) {
      throw_bad_image(name,
                      fmt::format("band {} was selected, but the image has {} (0 to {})", band,
                                  info.bands, info.bands - 1),
                      "correct the selection of bands, or leave the image out.");
    }
  }
  const int64_t bands =
      options.bands.empty() ? info.bands : static_cast<int64_t>(options.bands.size());
  const int64_t scale = info.format == "JPEG" ? options.jpeg_scale : 1;
  const double bytes = static_cast<double>(region.width) * static_cast<double>(region.height) *
                       static_cast<double>(bands * pixel_bytes(info.type)) /
                       static_cast<double>(scale * scale);
  if (bytes > static_cast<double>(options.memory_limit_bytes)) {
    throw_bad_image(
        name,
        fmt::format("{} x {} pixels of {} {} bands take {:.0f} MB, over the limit of {:.0f} MB",
                    region.width, region.height, bands, pixel_type_name(info.type), bytes / 1e6,
                    static_cast<double>(options.memory_limit_bytes) / 1e6),
        "decode a smaller region, cut the image into tiles, or raise the memory limit.");
  }
  return region;
}

void shape_image(const ImageInfo& info, const DecodeOptions& options, int64_t width, int64_t height,
                 Image* image) {
  image->width = width;
  image->height = height;
  image->bands = options.bands.empty() ? info.bands : static_cast<int64_t>(options.bands.size());
  image->type = info.type;
  image->pixels.resize(static_cast<size_t>(width * height * image->bands * pixel_bytes(info.type)));
}

void copy_row(const ImageInfo& info, const DecodeOptions& options, const std::byte* pixels,
              int64_t row, Image* image) {
  const int64_t value_bytes = pixel_bytes(info.type);
  std::byte* out = image->pixels.data() + row * image->width * image->bands * value_bytes;
  if (options.bands.empty()) {
    std::memcpy(out, pixels, static_cast<size_t>(image->width * info.bands * value_bytes));
    return;
  }
  for (int64_t column = 0; column < image->width; ++column) {
    for (const int64_t band : options.bands) {
      std::memcpy(out, pixels + band * value_bytes, static_cast<size_t>(value_bytes));
      out += value_bytes;
    }
    pixels += info.bands * value_bytes;
  }
}

std::unique_ptr<ImageCodec> open_raw(std::span<const std::byte> bytes, const ImageInfo& info,
                                     std::shared_ptr<const Calibration> calibration,
                                     const std::string& name) {
  const int64_t expected = info.width * info.height * info.bands * pixel_bytes(info.type);
  if (info.width < 1 || info.height < 1 || info.bands < 1 ||
      static_cast<int64_t>(bytes.size()) != expected) {
    throw_bad_image(name, fmt::format("raw pixels of {} x {} x {} {} take {} bytes, found {}",
                                      info.width, info.height, info.bands,
                                      pixel_type_name(info.type), expected, bytes.size()));
  }
  if (!calibration) return std::make_unique<RawCodec>(bytes, info);
  if (info.type != PixelType::kUint16 ||
      std::cmp_not_equal(calibration->bands.size(), info.bands)) {
    throw_bad_image(name, fmt::format("{} scales for {} bands of {}", calibration->bands.size(),
                                      info.bands, pixel_type_name(info.type)));
  }
  return std::make_unique<CountCodec>(bytes, info, std::move(calibration));
}

ImageReader::ImageReader(const ImageSource& source)
    : name_(source.name), codec_(open_named(source, EncodedBytes::Access::kWhole)) {}

ImageReader::~ImageReader() = default;

const ImageInfo& ImageReader::info() const { return codec_->info(); }

void ImageReader::read(const DecodeOptions& options, Image* image) {
  const Region region = check_options(codec_->info(), options, name_);
  codec_->decode(options, region, image);
}

ImageInfo read_image_info(const ImageSource& source) {
  return open_named(source, EncodedBytes::Access::kHeadOnly)->info();
}

Image decode_image(const ImageSource& source, const DecodeOptions& options) {
  Image image;
  ImageReader(source).read(options, &image);
  return image;
}

}  // namespace swath::data
