// JPEG through libjpeg-turbo, by region.
//
// A region's pixels are bit-equal to those of the whole decode. Columns are decoded from a little
// left of the region to a little right of it, because the smooth upsampling of chroma treats the
// outermost columns of what it is given as the image's edge. Rows need no margin: libjpeg keeps the
// context rows of what it skips.
#include <fmt/format.h>

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>

// These two lean on <cstdio> and on each other, in this order.
#include <jpeglib.h>

#include <jerror.h>

#include "data/image_codec.h"

namespace swath::data {
namespace {

// Chroma upsampling looks one sample to each side, which is two pixels.
constexpr int64_t kMargin = 2;
constexpr int kRowsAtOnce = 16;

// libjpeg leaves through longjmp; `base` must come first.
struct JpegErrors {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void leave_with_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  (*info->err->format_message)(info, errors->message);
  std::longjmp(errors->jump, 1);
}

// libjpeg fills missing data with gray and only warns; here that is an error.
void judge_warning(j_common_ptr info, int level) {
  if (level >= 0) return;
  ++info->err->num_warnings;
  switch (info->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_JPEG_EOF:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
      leave_with_error(info);
    default:
      break;
  }
}

void ignore_message(j_common_ptr) {}

class JpegCodec final : public ImageCodec {
 public:
  JpegCodec(EncodedBytes bytes, std::string name)
      : bytes_(std::move(bytes)), name_(std::move(name)) {
    jpeg_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = leave_with_error;
    errors_.base.emit_message = judge_warning;
    errors_.base.output_message = ignore_message;
    guarded([this] { jpeg_create_decompress(&jpeg_); });
    try {
      read_header();
      check_complete();
      describe();
    } catch (...) {
      jpeg_destroy_decompress(&jpeg_);
      throw;
    }
  }

  ~JpegCodec() override { jpeg_destroy_decompress(&jpeg_); }
  JpegCodec(const JpegCodec&) = delete;
  JpegCodec& operator=(const JpegCodec&) = delete;

  void decode(const DecodeOptions& options, const Region& region, Image* image) override {
    const int64_t scale = options.jpeg_scale;
    if (scale != 1 && scale != 2 && scale != 4 && scale != 8) {
      throw_bad_image(name_, fmt::format("a JPEG cannot be decoded at 1/{} of its size", scale),
                      "use a scale of 1, 2, 4 or 8.");
    }
    const int64_t left = region.left / scale;
    const int64_t top = region.top / scale;
    const int64_t right = (region.left + region.width + scale - 1) / scale;
    const int64_t bottom = (region.top + region.height + scale - 1) / scale;

    if (decoded_before_) {
      jpeg_abort_decompress(&jpeg_);
      read_header();
    }
    decoded_before_ = true;
    jpeg_.scale_num = 1;
    jpeg_.scale_denom = static_cast<unsigned>(scale);
    jpeg_.dct_method = JDCT_ISLOW;
    jpeg_.out_color_space = info_.bands == 1 ? JCS_GRAYSCALE : JCS_RGB;
    // A progressive file keeps all its coefficients in memory until the last scan is read.
    jpeg_.mem->max_memory_to_use =
        static_cast<long>(std::min<int64_t>(options.memory_limit_bytes, INT64_MAX / 2));
    const int64_t coefficient_bytes = info_.width * info_.height * info_.bands * 2;
    if (jpeg_.progressive_mode && coefficient_bytes > options.memory_limit_bytes) {
      throw_bad_image(
          name_,
          fmt::format("is a progressive JPEG of {} x {} pixels, which cannot be decoded by region: "
                      "it takes about {:.0f} MB, over the limit of {:.0f} MB",
                      info_.width, info_.height, static_cast<double>(coefficient_bytes) / 1e6,
                      static_cast<double>(options.memory_limit_bytes) / 1e6),
          "rewrite it as a baseline file without loss: `jpegtran -outfile NEW OLD`.");
    }
    guarded([this] { jpeg_start_decompress(&jpeg_); });

    JDIMENSION first = static_cast<JDIMENSION>(std::max<int64_t>(0, left - kMargin));
    JDIMENSION width =
        static_cast<JDIMENSION>(std::min<int64_t>(jpeg_.output_width, right + kMargin)) - first;
    if (width < jpeg_.output_width) {
      guarded([&] { jpeg_crop_scanline(&jpeg_, &first, &width); });
    }
    if (top > 0) {
      guarded([&] { jpeg_skip_scanlines(&jpeg_, static_cast<JDIMENSION>(top)); });
    }

    shape_image(info_, options, right - left, bottom - top, image);
    const size_t row_bytes = static_cast<size_t>(width) * static_cast<size_t>(info_.bands);
    rows_.resize(row_bytes * kRowsAtOnce);
    JSAMPROW pointers[kRowsAtOnce];
    for (int i = 0; i < kRowsAtOnce; ++i)
      pointers[i] = rows_.data() + static_cast<size_t>(i) * row_bytes;
    const int64_t skipped_columns = left - static_cast<int64_t>(first);
    for (int64_t row = 0; row < bottom - top;) {
      const auto wanted =
          static_cast<JDIMENSION>(std::min<int64_t>(kRowsAtOnce, bottom - top - row));
      JDIMENSION count = 0;
      guarded([&] { count = jpeg_read_scanlines(&jpeg_, pointers, wanted); });
      for (JDIMENSION i = 0; i < count; ++i) {
        copy_row(info_, options,
                 reinterpret_cast<const std::byte*>(pointers[i] + skipped_columns * info_.bands),
                 row++, image);
      }
    }
  }

 private:
  // Runs `step`, which calls libjpeg and may be left by longjmp: it holds nothing that needs a
  // destructor.
  template <class Step>
  void guarded(Step step) {
    if (setjmp(errors_.jump) != 0) fail();
    step();
  }

  [[noreturn]] void fail() {
    switch (errors_.base.msg_code) {
      case JWRN_HIT_MARKER:
      case JWRN_JPEG_EOF:
        throw_bad_image(name_, fmt::format("is a truncated or damaged JPEG: {}", errors_.message));
      case JERR_NO_BACKING_STORE:
      case JERR_OUT_OF_MEMORY:
        throw_bad_image(name_, "this JPEG needs more memory to decode than the limit allows",
                        "rewrite it as a baseline file without loss: `jpegtran -outfile NEW OLD`.");
      default:
        throw_bad_image(name_, fmt::format("is a damaged JPEG: {}", errors_.message));
    }
  }

  void read_header() {
    guarded([this] {
      jpeg_mem_src(&jpeg_, bytes_.data(), bytes_.size());
      jpeg_read_header(&jpeg_, TRUE);
    });
  }

  // A region's decode stops at its last row, so the end of the file is looked at on its own: FF D9
  // cannot occur within entropy-coded data, and a complete file has it after the last scan.
  void check_complete() {
    const unsigned char* begin = bytes_.data() + (bytes_.size() - jpeg_.src->bytes_in_buffer);
    const unsigned char* end = bytes_.data() + bytes_.size();
    while (end - begin >= 2) {
      const void* found = memrchr(begin + 1, 0xD9, static_cast<size_t>(end - begin - 1));
      if (found == nullptr) break;
      const auto* last = static_cast<const unsigned char*>(found);
      if (last[-1] == 0xFF) return;
      end = last;
    }
    throw_bad_image(name_, fmt::format("is a truncated JPEG: {} bytes end without an end-of-image "
                                       "marker",
                                       bytes_.size()));
  }

  void describe() {
    if (jpeg_.num_components != 1 && jpeg_.num_components != 3) {
      throw_bad_image(name_,
                      fmt::format("is a JPEG with {} colour components{}; 1 (gray) and 3 are read",
                                  jpeg_.num_components, jpeg_.num_components == 4 ? " (CMYK)" : ""),
                      "convert it to RGB, or leave it out with `--skip-bad`.");
    }
    info_.format = "JPEG";
    info_.width = jpeg_.image_width;
    info_.height = jpeg_.image_height;
    info_.bands = jpeg_.num_components;
    info_.type = PixelType::kUint8;
  }

  EncodedBytes bytes_;
  std::string name_;
  JpegErrors errors_{};
  jpeg_decompress_struct jpeg_{};
  std::vector<JSAMPLE> rows_;
  bool decoded_before_ = false;
};

}  // namespace

std::unique_ptr<ImageCodec> open_jpeg(EncodedBytes bytes, const std::string& name) {
  return std::make_unique<JpegCodec>(std::move(bytes), name);
}

}  // namespace swath::data
