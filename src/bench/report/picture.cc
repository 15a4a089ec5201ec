#include "bench/report/picture.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

namespace swath::bench {
namespace {

// A page of more than this is no page anybody mails.
constexpr uint64_t kLargestPictureBytes = 16 << 20;

uint32_t big_endian(std::string_view bytes, size_t offset, size_t count) {
  uint32_t number = 0;
  for (size_t i = 0; i < count; ++i) {
    number = number << 8 | static_cast<unsigned char>(bytes[offset + i]);
  }
  return number;
}

// Type and size. False for anything but PNG and JPEG.
bool identify_picture(Picture& picture) {
  const std::string_view bytes = picture.bytes;
  if (bytes.starts_with("\x89PNG\r\n\x1a\n") && bytes.size() >= 33) {
    picture.mime = "image/png";
    picture.width = static_cast<int>(big_endian(bytes, 16, 4));
    picture.height = static_cast<int>(big_endian(bytes, 20, 4));
    return picture.width > 0 && picture.height > 0;
  }
  if (!bytes.starts_with("\xff\xd8")) return false;
  // JPEG segments: marker, length; the frame headers SOF0..SOF15 hold the size, except the three
  // other markers in that range.
  for (size_t offset = 2; offset + 9 < bytes.size();) {
    const auto marker = static_cast<unsigned char>(bytes[offset + 1]);
    if (static_cast<unsigned char>(bytes[offset]) != 0xff) return false;
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
      picture.mime = "image/jpeg";
      picture.height = static_cast<int>(big_endian(bytes, offset + 5, 2));
      picture.width = static_cast<int>(big_endian(bytes, offset + 7, 2));
      return picture.width > 0 && picture.height > 0;
    }
    offset += 2 + big_endian(bytes, offset + 2, 2);
  }
  return false;
}

}  // namespace

Picture read_picture(const std::filesystem::path& path) {
  if (std::filesystem::file_size(path) > kLargestPictureBytes) {
    throw Error(fmt::format("{} has more than {} MiB.", path.string(), kLargestPictureBytes >> 20),
                "make it smaller: a page holds its pictures.");
  }
  Picture picture;
  picture.file = path.filename().string();
  picture.bytes = read_file(path);
  if (!identify_picture(picture)) {
    throw Error(fmt::format("{} is neither a PNG nor a JPEG file.", path.string()),
                "write it again, or remove it.");
  }
  return picture;
}

}  // namespace swath::bench
