#include "core/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/error.h"
#include "core/log.h"

namespace swath {
namespace {

constexpr size_t kFlushBytes = size_t{1} << 16;
// What TensorBoard's text plugin expects in a TensorProto: DataType DT_STRING.
constexpr uint64_t kStringType = 7;
// SummaryMetadata.data_class: without it TensorBoard migrates the value by guessing.
constexpr uint64_t kTensorClass = 2;

// Fields of a protobuf message, appended in order.
class Message {
 public:
  // Zero is left out, as proto3 does for the default value.
  Message& number(int field, uint64_t value) {
    if (value == 0) return *this;
    varint(static_cast<uint64_t>(field) << 3 | 0);
    varint(value);
    return *this;
  }
  Message& real64(int field, double value) {
    varint(static_cast<uint64_t>(field) << 3 | 1);
    fixed(std::bit_cast<uint64_t>(value), 8);
    return *this;
  }
  Message& real32(int field, float value) {
    varint(static_cast<uint64_t>(field) << 3 | 5);
    fixed(std::bit_cast<uint32_t>(value), 4);
    return *this;
  }
  // Strings, bytes and embedded messages.
  Message& bytes(int field, std::string_view value) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return bytes(field, value.bytes_); }

  const std::string& str() const { return bytes_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  void fixed(uint64_t value, int num_bytes) {
    for (int i = 0; i < num_bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i));
  }

  std::string bytes_;
};

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The fields that every event has; numbers are those of event.proto.
Message new_event(int64_t step, double wall_time) {
  Message event;
  event.real64(1, wall_time > 0 ? wall_time : now_seconds());
  event.number(2, static_cast<uint64_t>(step));
  return event;
}

// An event with one Summary.Value (summary.proto): Event.summary is field 5, Summary.value field 1.
std::string summary_event(int64_t step, double wall_time, const Message& value) {
  Message summary;
  summary.message(1, value);
  return new_event(step, wall_time).message(5, summary).str();
}

Message plugin_metadata(std::string_view plugin, uint64_t data_class) {
  Message plugin_data;
  plugin_data.bytes(1, plugin);
  Message metadata;
  metadata.message(1, plugin_data).number(4, data_class);
  return metadata;
}

// Files of one process and second differ by the number at the end.
int open_new_file(const std::filesystem::path& directory, std::filesystem::path* path) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) std::strcpy(host.data(), "localhost");
  const std::string stem = fmt::format("events.out.tfevents.{:010}.{}.{}",
                                       static_cast<int64_t>(now_seconds()), host.data(), getpid());
  for (int number = 0;; ++number) {
    *path = directory / (number == 0 ? stem : fmt::format("{}.{}", stem, number));
    const int descriptor =
        open(path->c_str(), O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
}

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78U : 0);
    table[i] = crc;
  }
  return table;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = make_crc_table();
  uint32_t crc = 0xffffffffU;
  for (const char byte : bytes) {
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  }
  return ~crc;
}

std::string tf_record(std::string_view bytes) {
  std::string record;
  record.reserve(bytes.size() + 16);
  const auto put = [&record](uint64_t value, int num_bytes) {
    for (int i = 0; i < num_bytes; ++i) record += static_cast<char>(value >> (8 * i));
  };
  const auto put_masked_crc = [&put](std::string_view covered) {
    put(std::rotr(crc32c(covered), 15) + 0xa282ead8U, 4);
  };
  put(bytes.size(), 8);
  put_masked_crc(std::string_view(record).substr(0, 8));
  record += bytes;
  put_masked_crc(bytes);
  return record;
}

EventWriter::EventWriter(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  descriptor_ = open_new_file(directory, &path_);
  if (descriptor_ < 0) {
    throw Error(fmt::format("cannot write {}: {}.", path_.string(), std::strerror(errno)));
  }
  // The first event of every file names the format.
  append(Message().real64(1, now_seconds()).bytes(3, "brain.Event:2").str());
  flush();
}

EventWriter::~EventWriter() {
  try {
    flush();
  } catch (const Error& error) {
    log_warning(error.message());
  }
  close(descriptor_);
}

void EventWriter::scalar(std::string_view tag, int64_t step, double value, double wall_time) {
  Message summary_value;
  summary_value.bytes(1, tag).real32(2, static_cast<float>(value));
  append(summary_event(step, wall_time, summary_value));
}

void EventWriter::text(std::string_view tag, int64_t step, std::string_view markdown,
                       double wall_time) {
  // A TensorProto of one string, with the empty dimension list of a scalar.
  Message tensor;
  tensor.number(1, kStringType).message(2, Message()).bytes(8, markdown);
  Message value;
  value.bytes(1, tag).message(8, tensor).message(9, plugin_metadata("text", kTensorClass));
  append(summary_event(step, wall_time, value));
}

void EventWriter::image(std::string_view tag, int64_t step, std::string_view png,
                        double wall_time) {
  // Signature, then the IHDR chunk: length, name, width, height, bit depth, colour type.
  constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);
  if (png.size() < 33 || png.substr(0, 8) != kSignature || png.substr(12, 4) != "IHDR") {
    throw Error(fmt::format("event image {}: the {} bytes are not a PNG file.", tag, png.size()));
  }
  const auto big_endian = [png](size_t offset) {
    uint32_t number = 0;
    for (size_t i = 0; i < 4; ++i) {
      number = number << 8 | static_cast<unsigned char>(png[offset + i]);
    }
    return number;
  };
  // Image.colorspace counts channels; PNG's colour types are 0 grey, 2 RGB, 3 palette, 4 grey and
  // alpha, 6 RGB and alpha.
  constexpr std::array<uint64_t, 7> kChannels = {1, 3, 3, 3, 2, 4, 4};
  const auto color_type = static_cast<unsigned char>(png[25]);
  Message picture;
  picture.number(1, big_endian(20)).number(2, big_endian(16));
  picture.number(3, kChannels[color_type < kChannels.size() ? color_type : 2]).bytes(4, png);
  Message value;
  value.bytes(1, tag).message(4, picture);
  append(summary_event(step, wall_time, value));
}

void EventWriter::restart_at(int64_t step, double wall_time) {
  // Event.session_log is field 7, its status START is 1.
  Message session_log;
  session_log.number(1, 1);
  append(new_event(step, wall_time).message(7, session_log).str());
}

void EventWriter::append(std::string_view event) {
  pending_ += tf_record(event);
  if (pending_.size() >= kFlushBytes) flush();
}

void EventWriter::flush() {
  size_t written = 0;
  while (written < pending_.size()) {
    const ssize_t count = write(descriptor_, pending_.data() + written, pending_.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      // What was written is not written twice should the caller go on.
      pending_.erase(0, written);
      throw Error(fmt::format("cannot write {}: {}.", path_.string(), std::strerror(error)));
    }
    written += static_cast<size_t>(count);
  }
  pending_.clear();
}

}  // namespace swath
