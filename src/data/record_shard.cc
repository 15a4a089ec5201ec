#include "data/record_shard.h"

#include <fmt/format.h>
#include <lz4.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "core/hash.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian");

constexpr char kMagic[8] = {'S', 'W', 'S', 'H', 'A', 'R', 'D', 0};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kHeaderBytes = 4096;
constexpr size_t kWriteBufferBytes = 4 << 20;

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t header_bytes;
  uint32_t encoding;
  uint32_t pixel_type;
  uint32_t bands;
  uint32_t height;
  uint32_t width;
  uint32_t reserved;
  uint64_t record_count;
  uint64_t index_offset;
  uint64_t names_offset;
  uint64_t names_bytes;
  uint64_t metadata_offset;
  uint64_t metadata_bytes;
  uint64_t file_bytes;
  uint64_t tail_checksum;
  uint64_t header_checksum;  // of the fields before it
};
static_assert(sizeof(Header) == 112 && std::is_trivially_copyable_v<Header>);

uint64_t header_checksum(const Header& header) {
  return xxh3(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, header_checksum)));
}

template <class Value>
void copy_planes(const std::byte* planes, int64_t count, std::byte* values) {
  constexpr int64_t kBytes = sizeof(Value);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t b = 0; b < kBytes; ++b) values[i * kBytes + b] = planes[b * count + i];
  }
}

Json metadata_json(const RecordLayout& layout, const Json& statistics) {
  Json metadata;
  metadata["bands"] = Json::array();
  for (const BandInfo& band : layout.band_info) {
    metadata["bands"].push_back(
        {{"name", band.name}, {"scale", band.scale}, {"offset", band.offset}});
  }
  metadata["classes"] = layout.class_names;
  if (!layout.field_names.empty()) metadata["fields"] = layout.field_names;
  metadata["statistics"] = statistics;
  return metadata;
}

}  // namespace

// 64 bytes; NaN marks an absent coordinate or time.
struct RecordShard::IndexEntry {
  uint64_t offset;
  uint64_t bytes;
  uint64_t checksum;
  int64_t label;
  double longitude;
  double latitude;
  double time;
  uint32_t name_offset;
  uint32_t name_bytes;
};

const char* record_encoding_name(RecordEncoding encoding) {
  switch (encoding) {
    case RecordEncoding::kRaw:
      return "raw";
    case RecordEncoding::kLz4:
      return "lz4";
    case RecordEncoding::kFile:
      return "file";
  }
  return "unknown";
}

void RecordLayout::check() const {
  if (encoding != RecordEncoding::kFile && (height <= 0 || width <= 0 || bands <= 0)) {
    throw UsageError(fmt::format("records of {} x {} pixels with {} bands make no sense.", width,
                                 height, bands));
  }
  if (pixel_bytes_of_record() > LZ4_MAX_INPUT_SIZE) {
    throw UsageError(
        fmt::format("records of {} x {} pixels with {} bands are too large for a shard.", width,
                    height, bands),
        "cut the images into chips.");
  }
  if (!band_info.empty() && std::cmp_not_equal(band_info.size(), bands)) {
    throw UsageError(
        fmt::format("{} bands are described for records of {} bands.", band_info.size(), bands));
  }
}

Json to_json(const RecordLayout& layout) {
  Json json = {{"encoding", record_encoding_name(layout.encoding)},
               {"pixel_type", pixel_type_name(layout.type)},
               {"bands", layout.bands},
               {"height", layout.height},
               {"width", layout.width}};
  Json metadata = metadata_json(layout, Json::object());
  json["band_info"] = metadata["bands"];
  json["classes"] = metadata["classes"];
  if (metadata.contains("fields")) json["fields"] = metadata["fields"];
  return json;
}

void shuffle_bytes(const std::byte* values, int64_t count, int64_t value_bytes, std::byte* planes) {
  for (int64_t b = 0; b < value_bytes; ++b) {
    for (int64_t i = 0; i < count; ++i) planes[b * count + i] = values[i * value_bytes + b];
  }
}

void unshuffle_bytes(const std::byte* planes, int64_t count, int64_t value_bytes,
                     std::byte* values) {
  switch (value_bytes) {
    case 1:
      std::memcpy(values, planes, static_cast<size_t>(count));
      break;
    case 2:
      copy_planes<uint16_t>(planes, count, values);
      break;
    case 4:
      copy_planes<uint32_t>(planes, count, values);
      break;
    default:
      for (int64_t b = 0; b < value_bytes; ++b) {
        for (int64_t i = 0; i < count; ++i) values[i * value_bytes + b] = planes[b * count + i];
      }
  }
}

struct RecordShardWriter::State {
  State(const fs::path& path, RecordLayout record_layout)
      : layout(std::move(record_layout)), file(path) {}

  void write(std::span<const std::byte> bytes) {
    buffer.insert(buffer.end(), bytes.begin(), bytes.end());
    if (buffer.size() >= kWriteBufferBytes) flush();
  }
  void flush() {
    file.write(buffer.data(), buffer.size());
    buffer.clear();
  }
  uint64_t end() const { return file.bytes_written() + buffer.size(); }

  RecordLayout layout;
  AtomicFileWriter file;
  std::vector<std::byte> buffer;
  std::vector<std::byte> planes;
  std::vector<std::byte> compressed;
  std::string entries;  // IndexEntry, as bytes
  std::string names;
  std::string fields;  // doubles, as bytes
  int64_t count = 0;
};

RecordShardWriter::RecordShardWriter(const fs::path& path, RecordLayout layout) {
  layout.check();
  state_ = std::make_unique<State>(path, std::move(layout));
  const std::vector<std::byte> empty_header(kHeaderBytes);
  state_->write(empty_header);
}

RecordShardWriter::~RecordShardWriter() = default;

int64_t RecordShardWriter::size() const { return state_->count; }

uint64_t RecordShardWriter::file_bytes() const {
  return state_->end() + state_->entries.size() + state_->names.size() + state_->fields.size();
}

void RecordShardWriter::add(const Record& record) {
  State& state = *state_;
  const RecordLayout& layout = state.layout;
  std::span<const std::byte> stored = record.bytes;
  if (layout.encoding != RecordEncoding::kFile &&
      std::cmp_not_equal(stored.size(), layout.pixel_bytes_of_record())) {
    throw UsageError(
        fmt::format("record {} has {} bytes, the shard's records have {} ({} x {} "
                    "pixels, {} bands, {}).",
                    record.name, stored.size(), layout.pixel_bytes_of_record(), layout.width,
                    layout.height, layout.bands, pixel_type_name(layout.type)));
  }
  if (stored.empty()) throw UsageError(fmt::format("record {} is empty.", record.name));
  if (std::cmp_greater_equal(record.label, layout.class_names.size())) {
    throw UsageError(fmt::format("record {} has label {}, the shard has {} classes.", record.name,
                                 record.label, layout.class_names.size()));
  }
  if (record.fields.size() != layout.field_names.size()) {
    throw UsageError(fmt::format("record {} has {} fields, the shard's records have {}.",
                                 record.name, record.fields.size(), layout.field_names.size()));
  }
  if (state.names.size() + record.name.size() > std::numeric_limits<uint32_t>::max()) {
    throw UsageError("the names of one shard are longer than 4 GB.", "write smaller shards.");
  }
  if (layout.encoding == RecordEncoding::kLz4) {
    state.planes.resize(stored.size());
    const int64_t value_bytes = pixel_bytes(layout.type);
    shuffle_bytes(stored.data(), static_cast<int64_t>(stored.size()) / value_bytes, value_bytes,
                  state.planes.data());
    const int input_bytes = static_cast<int>(stored.size());
    state.compressed.resize(static_cast<size_t>(LZ4_compressBound(input_bytes)));
    const int compressed_bytes =
        LZ4_compress_default(reinterpret_cast<const char*>(state.planes.data()),
                             reinterpret_cast<char*>(state.compressed.data()), input_bytes,
                             static_cast<int>(state.compressed.size()));
    stored =
        std::span<const std::byte>(state.compressed).first(static_cast<size_t>(compressed_bytes));
  }

  constexpr double kAbsent = std::numeric_limits<double>::quiet_NaN();
  RecordShard::IndexEntry entry{};
  entry.offset = state.end();
  entry.bytes = stored.size();
  entry.checksum = xxh3(stored);
  entry.label = record.label;
  entry.longitude = record.longitude_latitude ? (*record.longitude_latitude)[0] : kAbsent;
  entry.latitude = record.longitude_latitude ? (*record.longitude_latitude)[1] : kAbsent;
  entry.time = record.time.value_or(kAbsent);
  entry.name_offset = static_cast<uint32_t>(state.names.size());
  entry.name_bytes = static_cast<uint32_t>(record.name.size());
  state.entries.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  state.names += record.name;
  state.fields.append(reinterpret_cast<const char*>(record.fields.data()),
                      record.fields.size_bytes());
  state.write(stored);
  ++state.count;
}

void RecordShardWriter::finish(const Json& statistics) {
  State& state = *state_;
  // The index is read in place, as an array of structures: it must start at a multiple of 8.
  const std::vector<std::byte> padding((8 - state.end() % 8) % 8);
  state.write(padding);

  const std::string metadata =
      metadata_json(state.layout, statistics).dump(-1, ' ', false, Json::error_handler_t::replace);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.header_bytes = kHeaderBytes;
  header.encoding = static_cast<uint32_t>(state.layout.encoding);
  header.pixel_type = static_cast<uint32_t>(state.layout.type);
  header.bands = static_cast<uint32_t>(state.layout.bands);
  header.height = static_cast<uint32_t>(state.layout.height);
  header.width = static_cast<uint32_t>(state.layout.width);
  header.record_count = static_cast<uint64_t>(state.count);
  header.index_offset = state.end();
  header.names_offset = header.index_offset + state.entries.size();
  header.names_bytes = state.names.size();
  // Read in place as well. The padding counts to neither; without fields there is none.
  if (!state.fields.empty()) {
    state.fields.insert(0, (8 - (header.names_offset + header.names_bytes) % 8) % 8, '\0');
  }
  header.metadata_offset = header.names_offset + header.names_bytes + state.fields.size();
  header.metadata_bytes = metadata.size();
  header.file_bytes = header.metadata_offset + header.metadata_bytes;
  const std::string tail = state.entries + state.names + state.fields + metadata;
  header.tail_checksum = xxh3(tail);
  header.header_checksum = header_checksum(header);

  state.flush();
  state.file.write(tail);
  state.file.write_at(0, &header, sizeof header);
  state.file.publish();
}

RecordShard::RecordShard(const fs::path& path) : file_(path) {
  static_assert(sizeof(IndexEntry) == 64 && std::is_trivially_copyable_v<IndexEntry>);
  const std::string_view file = file_.bytes();
  const std::string hint = "list every bad shard with `swath data verify`, then pack again.";
  const auto fail = [&](const std::string& message) {
    throw Error(fmt::format("shards: {} {}", path.string(), message), hint);
  };
  Header header{};
  if (file.size() < sizeof header) {
    fail(fmt::format("is truncated: {} bytes are not even a header.", file.size()));
  }
  std::memcpy(&header, file.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) fail("is not a record shard.");
  if (header.version != kVersion) {
    fail(fmt::format("has version {}; this program reads version {}.", header.version, kVersion));
  }
  if (header.header_checksum != header_checksum(header)) fail("has a damaged header.");
  size_ = static_cast<int64_t>(header.record_count);
  layout_.encoding = static_cast<RecordEncoding>(header.encoding);
  layout_.type = static_cast<PixelType>(header.pixel_type);
  layout_.bands = header.bands;
  layout_.height = header.height;
  layout_.width = header.width;

  if (file.size() != header.file_bytes) {
    std::string lost = "its index is lost, and with it all records";
    if (layout_.encoding == RecordEncoding::kRaw && file.size() < header.index_offset) {
      lost = fmt::format("records from {} on are lost",
                         (std::max<uint64_t>(file.size(), kHeaderBytes) - kHeaderBytes) /
                             static_cast<uint64_t>(layout_.pixel_bytes_of_record()));
    }
    fail(fmt::format("is {}: header says {} bytes with {} records, the file has {} bytes; {}.",
                     file.size() < header.file_bytes ? "truncated" : "too long", header.file_bytes,
                     size_, file.size(), lost));
  }
  if (header.index_offset > file.size() || header.index_offset % 8 != 0 ||
      xxh3(file.substr(header.index_offset)) != header.tail_checksum) {
    fail(fmt::format("has a damaged index: the checksum of its last {} bytes is wrong.",
                     file.size() - std::min<uint64_t>(header.index_offset, file.size())));
  }
  entries_ = reinterpret_cast<const IndexEntry*>(file.data() + header.index_offset);
  names_ = file.substr(header.names_offset, header.names_bytes);
  const Json metadata =
      Json::parse(file.substr(header.metadata_offset, header.metadata_bytes), nullptr, false);
  if (metadata.is_discarded()) fail("has damaged metadata.");
  for (const Json& band : metadata.at("bands")) {
    layout_.band_info.push_back({band.at("name"), band.at("scale"), band.at("offset")});
  }
  layout_.class_names = metadata.at("classes").get<std::vector<std::string>>();
  statistics_ = metadata.at("statistics");
  layout_.field_names = metadata.value("fields", std::vector<std::string>());
  const uint64_t field_bytes = header.record_count * layout_.field_names.size() * sizeof(double);
  const uint64_t names_end = header.names_offset + header.names_bytes;
  if (!layout_.field_names.empty()) {
    if (header.metadata_offset % 8 != 0 || header.metadata_offset - names_end < field_bytes) {
      fail(fmt::format("has no room for {} fields of its {} records.", layout_.field_names.size(),
                       size_));
    }
    fields_ = reinterpret_cast<const double*>(file.data() + header.metadata_offset - field_bytes);
  }
}

const RecordShard::IndexEntry& RecordShard::entry(int64_t index) const {
  if (index < 0 || index >= size_) {
    throw UsageError(
        fmt::format("shards: {} has {} records, no record {}.", path().string(), size_, index));
  }
  return entries_[index];
}

std::string_view RecordShard::name(int64_t index) const {
  const IndexEntry& record = entry(index);
  return names_.substr(record.name_offset, record.name_bytes);
}

int64_t RecordShard::label(int64_t index) const { return entry(index).label; }

std::optional<std::array<double, 2>> RecordShard::longitude_latitude(int64_t index) const {
  const IndexEntry& record = entry(index);
  if (std::isnan(record.longitude) || std::isnan(record.latitude)) return std::nullopt;
  return std::array<double, 2>{record.longitude, record.latitude};
}

std::optional<double> RecordShard::time(int64_t index) const {
  const double time = entry(index).time;
  if (std::isnan(time)) return std::nullopt;
  return time;
}

std::span<const double> RecordShard::fields(int64_t index) const {
  entry(index);  // refuses what is out of range
  const size_t count = layout_.field_names.size();
  return {fields_ + static_cast<size_t>(index) * count, count};
}

std::span<const std::byte> RecordShard::bytes(int64_t index,
                                              std::vector<std::byte>* scratch) const {
  const IndexEntry& record = entry(index);
  const auto fail = [&](const std::string& message) {
    throw BadSample(
        fmt::format("shards: {} record {} ({}) {}", path().string(), index, name(index), message),
        "list every bad record with `swath data verify`, then pack again, or go on "
        "without it with --skip-bad.");
  };
  const std::string_view text = file_.bytes().substr(record.offset, record.bytes);
  const std::span<const std::byte> stored(reinterpret_cast<const std::byte*>(text.data()),
                                          text.size());
  const uint64_t checksum = xxh3(stored);
  if (checksum != record.checksum) {
    fail(fmt::format("is damaged: its checksum is {:016x}, the index says {:016x}.", checksum,
                     record.checksum));
  }
  if (layout_.encoding != RecordEncoding::kLz4) return stored;

  const auto decoded_bytes = static_cast<size_t>(layout_.pixel_bytes_of_record());
  const int64_t value_bytes = pixel_bytes(layout_.type);
  // Single bytes need no regrouping, so they are decompressed into place; else behind it.
  const size_t planes_begin = value_bytes == 1 ? 0 : decoded_bytes;
  scratch->resize(planes_begin + decoded_bytes);
  std::byte* planes = scratch->data() + planes_begin;
  const int count = LZ4_decompress_safe(
      reinterpret_cast<const char*>(stored.data()), reinterpret_cast<char*>(planes),
      static_cast<int>(stored.size()), static_cast<int>(decoded_bytes));
  if (std::cmp_not_equal(count, decoded_bytes)) {
    fail(fmt::format("does not decompress to {} bytes.", decoded_bytes));
  }
  if (value_bytes != 1) {
    unshuffle_bytes(planes, static_cast<int64_t>(decoded_bytes) / value_bytes, value_bytes,
                    scratch->data());
  }
  return std::span<const std::byte>(*scratch).first(decoded_bytes);
}

ImageSource RecordShard::source(int64_t index, std::vector<std::byte>* scratch) const {
  ImageSource source;
  source.name = fmt::format("{} record {} ({})", path().string(), index, name(index));
  source.bytes = bytes(index, scratch);
  if (layout_.encoding == RecordEncoding::kFile) {
    source.path = name(index);
  } else {
    ImageInfo info;
    info.format = "RECORD";
    info.width = layout_.width;
    info.height = layout_.height;
    info.bands = layout_.bands;
    info.type = layout_.type;
    source.raw = info;
  }
  return source;
}

}  // namespace swath::data
