// NumPy's .npy format, versions 1 to 3 (numpy.lib.format).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>

#include "data/image_codec.h"

namespace swath::data {
namespace {

struct NpyHeader {
  std::string type;  // "<u2"
  bool fortran_order = false;
  std::vector<int64_t> shape;
  size_t data_offset = 0;
};

// The header is the text of a Python dict with the keys descr, fortran_order and shape.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  void parse(NpyHeader* header) {
    header->type = quoted_after("'descr':");
    header->fortran_order = after("'fortran_order':").starts_with("True");
    std::string_view rest = after("'shape':");
    if (!rest.starts_with('(')) fail();
    rest = rest.substr(1, rest.find(')') - 1);
    while (!rest.empty()) {
      const size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view number = trimmed(rest.substr(0, comma));
      rest = rest.substr(std::min(comma + 1, rest.size()));
      if (number.empty()) continue;
      int64_t value = 0;
      const auto [end, error] =
          std::from_chars(number.data(), number.data() + number.size(), value);
      if (error != std::errc() || end != number.data() + number.size() || value < 0) fail();
      header->shape.push_back(value);
    }
  }

 private:
  static std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
  }

  std::string_view after(std::string_view key) const {
    const size_t place = text_.find(key);
    if (place == text_.npos) fail();
    return trimmed(text_.substr(place + key.size()));
  }

  std::string quoted_after(std::string_view key) const {
    const std::string_view rest = after(key);
    if (rest.starts_with('[')) {
      throw_bad_image(name_, "holds records of several fields; an array of numbers is expected");
    }
    if (!rest.starts_with('\'')) fail();
    return std::string(rest.substr(1, rest.find('\'', 1) - 1));
  }

  [[noreturn]] void fail() const {
    throw_bad_image(name_, fmt::format("has a .npy header that cannot be read: {}", text_));
  }

  std::string_view text_;
  const std::string& name_;
};

NpyHeader read_header(const EncodedBytes& bytes, const std::string& name) {
  const unsigned char* data = bytes.data();
  if (bytes.size() < 12) throw_bad_image(name, "is a truncated .npy file: no header");
  const int version = data[6];
  if (version < 1 || version > 3) {
    throw_bad_image(name, fmt::format("is a .npy file of version {}; 1 to 3 are read", version));
  }
  const size_t prefix = version == 1 ? 10 : 12;
  size_t length = data[8] | static_cast<size_t>(data[9]) << 8;
  if (version > 1)
    length |= static_cast<size_t>(data[10]) << 16 | static_cast<size_t>(data[11]) << 24;
  if (length > bytes.size() - prefix) {
    throw_bad_image(name, "is a truncated .npy file: the header is cut off");
  }
  NpyHeader header;
  header.data_offset = prefix + length;
  HeaderParser({reinterpret_cast<const char*>(data) + prefix, length}, name).parse(&header);
  return header;
}

// See image.h for the rule.
bool bands_come_first(const std::vector<int64_t>& shape) {
  if (shape[0] == shape[1]) return false;
  if (shape[1] == shape[2]) return true;
  return shape[0] < shape[2];
}

class NpyCodec final : public ImageCodec {
 public:
  NpyCodec(EncodedBytes bytes, std::string name)
      : bytes_(std::move(bytes)), name_(std::move(name)) {
    const NpyHeader header = read_header(bytes_, name_);
    data_ = reinterpret_cast<const std::byte*>(bytes_.data()) + header.data_offset;
    take_type(header.type);
    take_shape(header);
    const double expected = static_cast<double>(info_.width) * static_cast<double>(info_.height) *
                            static_cast<double>(info_.bands * stored_bytes_);
    const size_t found = bytes_.size() - header.data_offset;
    if (static_cast<double>(found) < expected) {
      throw_bad_image(name_,
                      fmt::format("is a truncated .npy file: the header promises {:.0f} bytes "
                                  "of pixels, found {}",
                                  expected, found));
    }
  }

  void decode(const DecodeOptions& options, const Region& region, Image* image) override {
    shape_image(info_, options, region.width, region.height, image);
    // Bytes from one value to the next along each direction of the file.
    const int64_t band_step =
        bands_first_ ? info_.width * info_.height * stored_bytes_ : stored_bytes_;
    const int64_t column_step = bands_first_ ? stored_bytes_ : info_.bands * stored_bytes_;
    const bool plain = !bands_first_ && !is_double_;
    for (int64_t row = 0; row < region.height; ++row) {
      const std::byte* pixels =
          data_ + ((region.top + row) * info_.width + region.left) * column_step;
      if (plain) {
        copy_row(info_, options, pixels, row, image);
        continue;
      }
      std::byte* out =
          image->pixels.data() + row * region.width * image->bands * pixel_bytes(info_.type);
      for (int64_t column = 0; column < region.width; ++column, pixels += column_step) {
        for (int64_t i = 0; i < image->bands; ++i) {
          const int64_t band = options.bands.empty() ? i : options.bands[static_cast<size_t>(i)];
          out = copy_value(pixels + band * band_step, out);
        }
      }
    }
  }

 private:
  std::byte* copy_value(const std::byte* from, std::byte* out) const {
    if (is_double_) {
      double value = 0;
      std::memcpy(&value, from, sizeof value);
      const auto narrow = static_cast<float>(value);
      std::memcpy(out, &narrow, sizeof narrow);
      return out + sizeof narrow;
    }
    std::memcpy(out, from, static_cast<size_t>(stored_bytes_));
    return out + stored_bytes_;
  }

  void take_type(const std::string& type) {
    struct Known {
      const char* name;
      PixelType type;
      int64_t stored_bytes;
    };
    static constexpr Known kKnown[] = {
        {"|u1", PixelType::kUint8, 1},   {"<u1", PixelType::kUint8, 1},
        {"<u2", PixelType::kUint16, 2},  {"<i2", PixelType::kInt16, 2},
        {"<f4", PixelType::kFloat32, 4}, {"<f8", PixelType::kFloat32, 8},
    };
    for (const Known& known : kKnown) {
      if (type != known.name) continue;
      info_.type = known.type;
      stored_bytes_ = known.stored_bytes;
      is_double_ = known.stored_bytes == 8;
      return;
    }
    throw_bad_image(name_, fmt::format("holds values of the type \"{}\"", type),
                    "save it as u1, u2, i2, f4 or f8, little-endian: "
                    "`numpy.save(path, array.astype('<f4'))`.");
  }

  void take_shape(const NpyHeader& header) {
    std::vector<int64_t> shape = header.shape;
    const bool usable = (shape.size() == 2 || shape.size() == 3) &&
                        std::all_of(shape.begin(), shape.end(), [](int64_t size) {
                          return size > 0 && size < (int64_t{1} << 31);
                        });
    if (!usable) {
      throw_bad_image(name_, fmt::format("has the shape ({}); (height, width), (height, width, "
                                         "bands) or (bands, height, width) is expected",
                                         fmt::join(shape, ", ")));
    }
    if (header.fortran_order) {
      throw_bad_image(name_, "is stored in Fortran order",
                      "save it in C order: `numpy.save(path, numpy.ascontiguousarray(array))`.");
    }
    info_.format = "NPY";
    if (shape.size() == 2) shape.push_back(1);
    bands_first_ = header.shape.size() == 3 && bands_come_first(shape);
    info_.bands = bands_first_ ? shape[0] : shape[2];
    info_.height = bands_first_ ? shape[1] : shape[0];
    info_.width = bands_first_ ? shape[2] : shape[1];
  }

  EncodedBytes bytes_;
  std::string name_;
  const std::byte* data_ = nullptr;
  int64_t stored_bytes_ = 1;
  bool is_double_ = false;
  bool bands_first_ = false;
};

}  // namespace

std::unique_ptr<ImageCodec> open_npy(EncodedBytes bytes, const std::string& name) {
  return std::make_unique<NpyCodec>(std::move(bytes), name);
}

}  // namespace swath::data
