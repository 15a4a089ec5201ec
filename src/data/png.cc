// PNG through libpng. Rows before the region are decoded and dropped, for the format is one
// compressed stream; rows after it are not read.
#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <bit>
#include <csetjmp>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "data/image_codec.h"

namespace swath::data {
namespace {

struct PngErrors {
  std::jmp_buf jump;
  char message[200];
};

[[noreturn]] void leave_with_error(png_structp png, png_const_charp message) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::strncpy(errors->message, message, sizeof errors->message - 1);
  std::longjmp(errors->jump, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

// The bytes not yet read.
struct PngInput {
  const unsigned char* next;
  size_t left;
};

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
  if (count > input->left) png_error(png, "the data end too early");
  std::memcpy(out, input->next, count);
  input->next += count;
  input->left -= count;
}

class PngCodec final : public ImageCodec {
 public:
  PngCodec(EncodedBytes bytes, std::string name)
      : bytes_(std::move(bytes)), name_(std::move(name)) {
    check_complete();
    try {
      read_header();
      describe();
    } catch (...) {
      png_destroy_read_struct(&png_, &png_info_, nullptr);
      throw;
    }
  }

  ~PngCodec() override { png_destroy_read_struct(&png_, &png_info_, nullptr); }
  PngCodec(const PngCodec&) = delete;
  PngCodec& operator=(const PngCodec&) = delete;

  void decode(const DecodeOptions& options, const Region& region, Image* image) override {
    if (decoded_before_) {
      png_destroy_read_struct(&png_, &png_info_, nullptr);
      read_header();
    }
    decoded_before_ = true;
    guarded([this] {
      if (std::endian::native == std::endian::little) png_set_swap(png_);
      const int color = png_get_color_type(png_, png_info_);
      if (color == PNG_COLOR_TYPE_PALETTE) {
        png_set_palette_to_rgb(png_);
        // A palette with transparent colours would become four bands.
        png_set_strip_alpha(png_);
      }
      if (color == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
      passes_ = png_set_interlace_handling(png_);
      png_read_update_info(png_, png_info_);
    });
    row_bytes_ = png_get_rowbytes(png_, png_info_);
    const size_t pixel = row_bytes_ / static_cast<size_t>(info_.width);
    shape_image(info_, options, region.width, region.height, image);
    const size_t offset = static_cast<size_t>(region.left) * pixel;
    if (passes_ > 1) {
      decode_interlaced(options);
      for (int64_t row = 0; row < region.height; ++row) {
        const size_t start = static_cast<size_t>(region.top + row) * row_bytes_ + offset;
        copy_row(info_, options, reinterpret_cast<const std::byte*>(rows_.data() + start), row,
                 image);
      }
      return;
    }
    rows_.resize(row_bytes_);
    for (int64_t row = 0; row < region.top + region.height; ++row) {
      guarded([this] { png_read_row(png_, rows_.data(), nullptr); });
      if (row < region.top) continue;
      copy_row(info_, options, reinterpret_cast<const std::byte*>(rows_.data() + offset),
               row - region.top, image);
    }
  }

 private:
  // Runs `step`, which calls libpng and may be left by longjmp: it holds nothing that needs a
  // destructor.
  template <class Step>
  void guarded(Step step) {
    if (setjmp(errors_.jump) != 0) {
      throw_bad_image(name_, fmt::format("is a damaged PNG: {}", errors_.message));
    }
    step();
  }

  void decode_interlaced(const DecodeOptions& options) {
    // The passes of an interlaced file cover the whole image, so all of it is held.
    const double bytes = static_cast<double>(row_bytes_) * static_cast<double>(info_.height);
    if (bytes > static_cast<double>(options.memory_limit_bytes)) {
      throw_bad_image(
          name_,
          fmt::format("is an interlaced PNG of {} x {} pixels, which cannot be decoded by region: "
                      "it takes {:.0f} MB, over the limit of {:.0f} MB",
                      info_.width, info_.height, bytes / 1e6,
                      static_cast<double>(options.memory_limit_bytes) / 1e6),
          "save it without interlacing.");
    }
    rows_.resize(row_bytes_ * static_cast<size_t>(info_.height));
    for (int pass = 0; pass < passes_; ++pass) {
      for (int64_t row = 0; row < info_.height; ++row) {
        guarded([&] {
          png_read_row(png_, rows_.data() + static_cast<size_t>(row) * row_bytes_, nullptr);
        });
      }
    }
  }

  void read_header() {
    png_info_ = nullptr;
    png_ =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, leave_with_error, ignore_warning);
    if (png_ != nullptr) png_info_ = png_create_info_struct(png_);
    if (png_info_ == nullptr) throw_bad_image(name_, "libpng ran out of memory");
    input_ = {bytes_.data(), bytes_.size()};
    guarded([this] {
      // The default limit of a million pixels a side is kept; of memory, ours counts.
      png_set_read_fn(png_, &input_, read_bytes);
      png_read_info(png_, png_info_);
    });
  }

  // A region's decode stops at its last row, so the end of the file is looked at on its own.
  void check_complete() {
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
    if (text.rfind("IEND") == text.npos) {
      throw_bad_image(name_, fmt::format("is a truncated PNG: {} bytes end without an IEND chunk",
                                         text.size()));
    }
  }

  void describe() {
    info_.format = "PNG";
    info_.width = png_get_image_width(png_, png_info_);
    info_.height = png_get_image_height(png_, png_info_);
    info_.type = png_get_bit_depth(png_, png_info_) == 16 ? PixelType::kUint16 : PixelType::kUint8;
    switch (png_get_color_type(png_, png_info_)) {
      case PNG_COLOR_TYPE_GRAY:
        info_.bands = 1;
        break;
      case PNG_COLOR_TYPE_GRAY_ALPHA:
        info_.bands = 2;
        break;
      case PNG_COLOR_TYPE_RGB_ALPHA:
        info_.bands = 4;
        break;
      default:
        info_.bands = 3;
    }
  }

  EncodedBytes bytes_;
  std::string name_;
  PngErrors errors_{};
  PngInput input_{};
  png_structp png_ = nullptr;
  png_infop png_info_ = nullptr;
  int passes_ = 1;
  size_t row_bytes_ = 0;
  std::vector<unsigned char> rows_;
  bool decoded_before_ = false;
};

void append_bytes(png_structp png, png_bytep bytes, size_t count) {
  auto* out = static_cast<std::vector<std::byte>*>(png_get_io_ptr(png));
  const auto* first = reinterpret_cast<const std::byte*>(bytes);
  out->insert(out->end(), first, first + count);
}

void flush_nothing(png_structp) {}

// Holds the writer's structures; png_ calls inside run() may leave by longjmp.
class PngWriter {
 public:
  PngWriter() {
    png_ =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors_, leave_with_error, ignore_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) throw Error("png: libpng ran out of memory.");
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  void run(const Image& image, int color, std::vector<std::byte>* out) {
    if (setjmp(errors_.jump) != 0) throw Error(fmt::format("png: {}.", errors_.message));
    png_set_write_fn(png_, out, append_bytes, flush_nothing);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(image.width),
                 static_cast<png_uint_32>(image.height), 8, color, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    for (int64_t row = 0; row < image.height; ++row) {
      png_write_row(png_, image.as<png_byte>() + row * image.width * image.bands);
    }
    png_write_end(png_, info_);
  }

 private:
  PngErrors errors_{};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

std::unique_ptr<ImageCodec> open_png(EncodedBytes bytes, const std::string& name) {
  return std::make_unique<PngCodec>(std::move(bytes), name);
}

std::vector<std::byte> encode_png(const Image& image) {
  const int color = image.bands == 1   ? PNG_COLOR_TYPE_GRAY
                    : image.bands == 3 ? PNG_COLOR_TYPE_RGB
                    : image.bands == 4 ? PNG_COLOR_TYPE_RGB_ALPHA
                                       : -1;
  if (color < 0 || image.type != PixelType::kUint8 || image.width < 1 || image.height < 1) {
    throw Error(fmt::format("png: cannot write {} x {} pixels of {} {} bands.", image.width,
                            image.height, image.bands, pixel_type_name(image.type)),
                "PNG is written for uint8 images of 1, 3 or 4 bands; select bands and stretch them "
                "to 0..255 first.");
  }
  std::vector<std::byte> bytes;
  PngWriter().run(image, color, &bytes);
  return bytes;
}

void write_png(const std::filesystem::path& path, const Image& image) {
  const std::vector<std::byte> bytes = encode_png(image);
  write_file_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace swath::data
