#include "data/tar_archive.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>

#include "core/error.h"

namespace swath::data {
namespace {

constexpr uint64_t kBlock = 512;

// Places of the fields of a header (POSIX.1-1988, ustar).
struct FieldPlace {
  size_t begin;
  size_t bytes;
};
constexpr FieldPlace kName{0, 100};
constexpr FieldPlace kMode{100, 8};
constexpr FieldPlace kOwner{108, 8};
constexpr FieldPlace kGroup{116, 8};
constexpr FieldPlace kSize{124, 12};
constexpr FieldPlace kTime{136, 12};
constexpr FieldPlace kChecksum{148, 8};
constexpr FieldPlace kType{156, 1};
constexpr FieldPlace kMagic{257, 6};
constexpr FieldPlace kPrefix{345, 155};

std::string_view field(std::string_view header, FieldPlace place) {
  return header.substr(place.begin, place.bytes);
}

std::string text_field(std::string_view header, FieldPlace place) {
  const std::string_view text = field(header, place);
  return std::string(text.substr(0, text.find('\0')));
}

// Octal digits, or base 256 when the first bit is set (GNU, for files of 8 GB and more).
uint64_t number_field(std::string_view header, FieldPlace place) {
  const std::string_view text = field(header, place);
  uint64_t value = 0;
  if (static_cast<unsigned char>(text[0]) & 0x80) {
    value = static_cast<unsigned char>(text[0]) & 0x7f;
    for (const char c : text.substr(1)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  for (const char c : text) {
    if (c == ' ' && value == 0) continue;
    if (c < '0' || c > '7') break;
    value = value * 8 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

// The checksum counts its own field as spaces.
uint64_t header_sum(std::string_view header) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const bool is_own = i >= kChecksum.begin && i < kChecksum.begin + kChecksum.bytes;
    sum += is_own ? static_cast<unsigned char>(' ') : static_cast<unsigned char>(header[i]);
  }
  return sum;
}

// pax records: "LENGTH KEY=VALUE\n", LENGTH counting the whole record.
std::string pax_value(std::string_view records, std::string_view wanted) {
  std::string value;
  while (!records.empty()) {
    size_t length = 0;
    const auto parsed = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<size_t>(parsed.ptr - records.data());
    if (parsed.ec != std::errc() || length <= digits + 1 || length > records.size()) break;
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    const size_t equals = record.find('=');
    if (equals != std::string_view::npos && record.substr(0, equals) == wanted) {
      value = record.substr(equals + 1);
    }
    records.remove_prefix(length);
  }
  return value;
}

bool is_zero(std::string_view block) { return block.find_first_not_of('\0') == std::string::npos; }

}  // namespace

void scan_tar(std::string_view archive, const std::string& archive_name,
              const std::function<void(const TarMember&)>& member) {
  std::string long_name;
  uint64_t long_size = 0;
  bool has_long_size = false;
  uint64_t position = 0;
  const auto fail = [&](const std::string& message) {
    throw Error(fmt::format("tar: {} {}", archive_name, message),
                "copy the archive again, or make it again.");
  };
  while (true) {
    if (position + kBlock > archive.size()) {
      fail(fmt::format("is truncated: {} bytes, and no end mark.", archive.size()));
    }
    const std::string_view header = archive.substr(position, kBlock);
    if (is_zero(header)) return;
    if (number_field(header, kChecksum) != header_sum(header)) {
      fail(fmt::format("has a damaged header at byte {}, or is not a tar archive.", position));
    }
    uint64_t bytes = has_long_size ? long_size : number_field(header, kSize);
    position += kBlock;
    std::string name = text_field(header, kName);
    if (field(header, kMagic).starts_with("ustar") && header[kMagic.begin + 5] == '\0') {
      const std::string prefix = text_field(header, kPrefix);
      if (!prefix.empty()) name.insert(0, prefix + "/");
    }
    if (bytes > archive.size() - position) {
      fail(fmt::format("is truncated: member {} ends at byte {}, the file at {}.", name,
                       position + bytes, archive.size()));
    }
    const std::string_view contents = archive.substr(position, bytes);
    const char type = header[kType.begin];
    if (type == 'L') {
      long_name = contents.substr(0, contents.find('\0'));
    } else if (type == 'x') {
      const std::string path = pax_value(contents, "path");
      if (!path.empty()) long_name = path;
      const std::string size = pax_value(contents, "size");
      if (!size.empty()) {
        long_size = std::strtoull(size.c_str(), nullptr, 10);
        has_long_size = true;
      }
    } else {
      if (!long_name.empty()) name = long_name;
      if (name.starts_with("./")) name.erase(0, 2);
      if (type == '0' || type == '\0' || type == '7') member({name, position, bytes});
      long_name.clear();
      has_long_size = false;
    }
    position += (bytes + kBlock - 1) / kBlock * kBlock;
  }
}

namespace {

void append_block(AtomicFileWriter& archive, const std::string& name, std::string_view bytes,
                  char type) {
  std::array<char, kBlock> header{};
  const auto put = [&](FieldPlace place, std::string_view text) {
    std::memcpy(header.data() + place.begin, text.data(), std::min(text.size(), place.bytes));
  };
  put(kName, name);
  put(kMode, "0000644");
  put(kOwner, "0000000");
  put(kGroup, "0000000");
  put(kTime, "00000000000");  // equal input gives an equal archive
  if (bytes.size() < (uint64_t{1} << 33)) {
    put(kSize, fmt::format("{:011o}", bytes.size()));
  } else {
    for (size_t i = 0; i < 8; ++i) {
      header[kSize.begin + kSize.bytes - 1 - i] = static_cast<char>(bytes.size() >> (8 * i));
    }
    header[kSize.begin] = static_cast<char>(0x80);
  }
  header[kType.begin] = type;
  put(kMagic, std::string_view("ustar\0"
                               "00",
                               8));
  const uint64_t sum = header_sum({header.data(), header.size()});
  put(kChecksum, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  archive.write(header.data(), header.size());
  archive.write(bytes);
  const std::array<char, kBlock> padding{};
  archive.write(padding.data(), (kBlock - bytes.size() % kBlock) % kBlock);
}

}  // namespace

void append_tar_member(AtomicFileWriter& archive, const std::string& name, std::string_view bytes) {
  if (name.size() > kName.bytes) append_block(archive, "././@LongLink", name + '\0', 'L');
  append_block(archive, name, bytes, '0');
}

void append_tar_end(AtomicFileWriter& archive) {
  const std::array<char, 2 * kBlock> end{};
  archive.write(end.data(), end.size());
}

}  // namespace swath::data
