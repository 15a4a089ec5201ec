// One file of records of one kind: chips of a fixed size, or encoded images kept as they are.
//
// Layout (little-endian; offsets and sizes stand in the header):
//   0       header, 4096 bytes: magic "SWSHARD", version, encoding, pixel type, bands, height,
//           width, counts, offsets, XXH3 of the tail, XXH3 of the header itself
//   4096    records, one after the other. Raw records have one length: record i is one seek.
//   tail    index of 64 bytes per record (offset, bytes, XXH3 of the stored bytes, label,
//   longitude,
//           latitude, time, place of the name), then the names, then, where the metadata name
//           fields, one float64 per record and field, then metadata as JSON (bands with name, scale
//           and offset; classes; fields; statistics)
//
// Physical value = scale * stored value + offset, per band.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "data/image.h"

namespace swath::data {

enum class RecordEncoding : uint32_t {
  kRaw = 0,   // pixels in (row, column, band) order
  kLz4 = 1,   // the same, bytes grouped by significance, then compressed with LZ4
  kFile = 2,  // an encoded image (JPEG, PNG ...) byte for byte; size and bands may differ
};

const char* record_encoding_name(RecordEncoding encoding);

struct BandInfo {
  std::string name;
  double scale = 1;
  double offset = 0;
};

struct RecordLayout {
  RecordEncoding encoding = RecordEncoding::kRaw;
  PixelType type = PixelType::kUint8;
  int64_t height = 0;  // of every record; 0 with kFile: as the image says
  int64_t width = 0;
  int64_t bands = 0;
  std::vector<BandInfo> band_info;       // empty, or one per band
  std::vector<std::string> class_names;  // empty: no labels
  std::vector<std::string> field_names;  // of the numbers that every record carries

  int64_t pixel_bytes_of_record() const { return height * width * bands * pixel_bytes(type); }
  // Throws UsageError when the fields contradict each other.
  void check() const;
};

Json to_json(const RecordLayout& layout);

struct Record {
  std::string name;
  int64_t label = -1;
  std::optional<std::array<double, 2>> longitude_latitude;  // of the centre, degrees east and north
  std::optional<double> time;                               // seconds since 1970, UTC
  std::span<const std::byte> bytes;                         // pixels, or the encoded image
  std::span<const double> fields;                           // one per name of the layout; NaN: none
};

// Writes one shard under a temporary name; finish() publishes it, complete. Not thread-safe.
class RecordShardWriter {
 public:
  RecordShardWriter(const std::filesystem::path& path, RecordLayout layout);
  ~RecordShardWriter();

  // Throws UsageError for a record of another size than the layout's, or a label without class.
  void add(const Record& record);
  int64_t size() const;
  // Bytes that the file would have if it were finished now.
  uint64_t file_bytes() const;
  // `statistics` goes into the metadata as it is.
  void finish(const Json& statistics = Json::object());

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A shard mapped into memory. Thread rule: all functions may be called from many threads at once.
class RecordShard {
 public:
  struct IndexEntry;  // 64 bytes on disk

  // Throws Error naming the file when it is no shard, of a newer version, truncated (with the first
  // record lost) or its index is damaged.
  explicit RecordShard(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const RecordLayout& layout() const { return layout_; }
  const Json& statistics() const { return statistics_; }
  int64_t size() const { return size_; }

  std::string_view name(int64_t index) const;
  int64_t label(int64_t index) const;
  std::optional<std::array<double, 2>> longitude_latitude(int64_t index) const;
  std::optional<double> time(int64_t index) const;
  // In the order of layout().field_names.
  std::span<const double> fields(int64_t index) const;

  // The record as pixels (kRaw, kLz4) or encoded image (kFile). The bytes lie in the mapped file,
  // or in `scratch` when they had to be decompressed. Throws BadSample naming shard and record when
  // the checksum does not fit.
  std::span<const std::byte> bytes(int64_t index, std::vector<std::byte>* scratch) const;
  ImageSource source(int64_t index, std::vector<std::byte>* scratch) const;

 private:
  const IndexEntry& entry(int64_t index) const;

  MappedFile file_;
  RecordLayout layout_;
  Json statistics_;
  int64_t size_ = 0;
  const IndexEntry* entries_ = nullptr;
  std::string_view names_;
  const double* fields_ = nullptr;
};

// Byte b of value i goes to place b * count + i: neighbours become alike, which compresses better.
void shuffle_bytes(const std::byte* values, int64_t count, int64_t value_bytes, std::byte* planes);
void unshuffle_bytes(const std::byte* planes, int64_t count, int64_t value_bytes,
                     std::byte* values);

}  // namespace swath::data
