// Event files that TensorBoard reads: scalars, text and pictures over training steps.
//
//   EventWriter events(run_directory);
//   events.scalar("train/loss", step, loss);
//   events.flush();
//
// A file is a sequence of TFRecords (length, CRC, bytes, CRC), each an `Event` message of
// TensorFlow's event.proto in protobuf's wire format. Both are written by hand: LibTorch holds a
// protobuf of its own, and a second one in the process ends badly.
//
// Thread rule: a writer belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace swath {

class EventWriter {
 public:
  // Opens a new file events.out.tfevents.TIME.HOST.PID in `directory`, which is created when
  // missing. Older event files stay beside it: TensorBoard reads them as one run, so a resumed run
  // simply gets one more. Throws Error naming the path.
  explicit EventWriter(const std::filesystem::path& directory);
  // Flushes; an error here is logged, since a destructor cannot throw.
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  // `wall_time` is seconds since 1970, now when it is 0. The value is stored as a 32-bit float;
  // NaN and infinities are allowed and shown as such.
  void scalar(std::string_view tag, int64_t step, double value, double wall_time = 0);
  // Shown as Markdown.
  void text(std::string_view tag, int64_t step, std::string_view markdown, double wall_time = 0);
  // `png` is a complete PNG file. Throws Error when it is not one.
  void image(std::string_view tag, int64_t step, std::string_view png, double wall_time = 0);

  // Tells readers that the run goes on from `step`: what earlier files hold at this step and later
  // (written between the last checkpoint and the end of that process) is void.
  void restart_at(int64_t step, double wall_time = 0);

  // Hands everything to the operating system. Throws Error naming the file, on a full disk too.
  // Without it events appear once 64 KiB have gathered.
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void append(std::string_view event);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::string pending_;
};

// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);
// One TFRecord: length (8 bytes), its masked CRC (4), bytes, their masked CRC (4); little-endian.
// The mask is TensorFlow's: the CRC rotated right by 15 bits plus 0xa282ead8.
std::string tf_record(std::string_view bytes);

}  // namespace swath
