#include "data/modis/hdf4_file.h"

#define DATAINFO_MASTER  // declares SDgetdatainfo
#include <hdf/mfhdf.h>
// mfhdf.h defines these, and others' headers use the names.
#undef VOID
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <libdeflate.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/clock.h"
#include "core/error.h"
#include "data/modis/byte_order.h"
#include "data/modis/hdf4_lock.h"

namespace swath::data::modis {
namespace fs = std::filesystem;
namespace {

constexpr int32 kLittleEndian = DFNT_LITEND;

std::optional<NumberType> number_type(int32 type) {
  switch (type & ~(DFNT_LITEND | DFNT_NATIVE)) {
    case DFNT_INT8:
      return NumberType::kInt8;
    case DFNT_UINT8:
      return NumberType::kUint8;
    case DFNT_INT16:
      return NumberType::kInt16;
    case DFNT_UINT16:
      return NumberType::kUint16;
    case DFNT_INT32:
      return NumberType::kInt32;
    case DFNT_UINT32:
      return NumberType::kUint32;
    case DFNT_FLOAT32:
      return NumberType::kFloat32;
    case DFNT_FLOAT64:
      return NumberType::kFloat64;
    case DFNT_CHAR8:
    case DFNT_UCHAR8:
      return NumberType::kText;
    default:
      return std::nullopt;
  }
}

template <class Value>
void append_as_double(const std::byte* bytes, int64_t count, std::vector<double>* values) {
  for (int64_t i = 0; i < count; ++i) {
    Value value;
    std::memcpy(&value, bytes + i * static_cast<int64_t>(sizeof value), sizeof value);
    values->push_back(static_cast<double>(value));
  }
}

std::vector<double> as_doubles(NumberType type, const std::byte* bytes, int64_t count) {
  std::vector<double> values;
  switch (type) {
    case NumberType::kInt8:
      append_as_double<int8_t>(bytes, count, &values);
      break;
    case NumberType::kUint8:
    case NumberType::kText:
      append_as_double<uint8_t>(bytes, count, &values);
      break;
    case NumberType::kInt16:
      append_as_double<int16_t>(bytes, count, &values);
      break;
    case NumberType::kUint16:
      append_as_double<uint16_t>(bytes, count, &values);
      break;
    case NumberType::kInt32:
      append_as_double<int32_t>(bytes, count, &values);
      break;
    case NumberType::kUint32:
      append_as_double<uint32_t>(bytes, count, &values);
      break;
    case NumberType::kFloat32:
      append_as_double<float>(bytes, count, &values);
      break;
    case NumberType::kFloat64:
      append_as_double<double>(bytes, count, &values);
      break;
  }
  return values;
}

// Bytes of an array as they lie in the file.
struct StoredBlocks {
  std::vector<int32> offsets;
  std::vector<int32> lengths;

  int64_t bytes() const {
    int64_t sum = 0;
    for (const int32 length : lengths) sum += length;
    return sum;
  }
  // Whether they follow each other without a gap.
  bool is_one_piece() const {
    for (size_t i = 1; i < offsets.size(); ++i) {
      if (offsets[i] != offsets[i - 1] + lengths[i - 1]) return false;
    }
    return !offsets.empty();
  }
};

StoredBlocks stored_blocks(int32 array) {
  StoredBlocks blocks;
  const intn count = SDgetdatainfo(array, nullptr, 0, 0, nullptr, nullptr);
  if (count <= 0) return blocks;
  blocks.offsets.resize(static_cast<size_t>(count));
  blocks.lengths.resize(static_cast<size_t>(count));
  if (SDgetdatainfo(array, nullptr, 0, static_cast<uintn>(count), blocks.offsets.data(),
                    blocks.lengths.data()) != count) {
    return {};
  }
  return blocks;
}

// A selected array of the library, let go at the end.
class SelectedArray {
 public:
  SelectedArray(int32 file, int32 index) : id_(SDselect(file, index)) {}
  ~SelectedArray() {
    if (id_ != FAIL) SDendaccess(id_);
  }
  SelectedArray(const SelectedArray&) = delete;
  SelectedArray& operator=(const SelectedArray&) = delete;
  int32 id() const { return id_; }

 private:
  int32 id_;
};

// A table of the file, opened through the library's other interface.
class Table {
 public:
  Table(const fs::path& path, const std::string& name) {
    file_ = Hopen(path.c_str(), DFACC_READ, 0);
    if (file_ == FAIL) return;
    if (Vstart(file_) == FAIL) return;
    has_started_ = true;
    const int32 reference = VSfind(file_, name.c_str());
    if (reference > 0) table_ = VSattach(file_, reference, "r");
  }
  ~Table() {
    if (table_ != FAIL) VSdetach(table_);
    if (has_started_) Vend(file_);
    if (file_ != FAIL) Hclose(file_);
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  // The column's raw values: `order` per record.
  bool read(const std::string& column, NumberType* type, int64_t* order, int64_t* records,
            std::vector<std::byte>* bytes) {
    if (table_ == FAIL) return false;
    int32 index = -1;
    if (VSfindex(table_, column.c_str(), &index) == FAIL) return false;
    const auto known = number_type(VFfieldtype(table_, index));
    if (!known) return false;
    *type = *known;
    *order = VFfieldorder(table_, index);
    *records = VSelts(table_);
    if (*records <= 0 || *order <= 0) return false;
    bytes->resize(static_cast<size_t>(*records * *order * number_bytes(*type)));
    if (VSsetfields(table_, column.c_str()) == FAIL) return false;
    return VSread(table_, reinterpret_cast<uint8*>(bytes->data()), static_cast<int32>(*records),
                  FULL_INTERLACE) == *records;
  }

 private:
  int32 file_ = FAIL;
  int32 table_ = FAIL;
  bool has_started_ = false;
};

// Memory that a thread's reads use again.
std::vector<std::byte>& scratch(size_t which, size_t bytes) {
  thread_local std::vector<std::byte> buffers[2];
  if (buffers[which].size() < bytes) buffers[which].resize(bytes);
  return buffers[which];
}

// Decompression may stop before the end of the stream. It writes whole pieces (matches, stored
// blocks) or none of them: so much room behind what is wanted lets the last one be whole.
constexpr size_t kLongestPiece = 1 << 16;
constexpr size_t kZlibHeader = 2;

}  // namespace

std::mutex& hdf4_mutex() {
  static std::mutex mutex;
  return mutex;
}

int64_t number_bytes(NumberType type) {
  switch (type) {
    case NumberType::kInt8:
    case NumberType::kUint8:
    case NumberType::kText:
      return 1;
    case NumberType::kInt16:
    case NumberType::kUint16:
      return 2;
    case NumberType::kInt32:
    case NumberType::kUint32:
    case NumberType::kFloat32:
      return 4;
    case NumberType::kFloat64:
      return 8;
  }
  return 0;
}

const char* number_type_name(NumberType type) {
  static constexpr const char* kNames[] = {"int8",   "uint8",   "int16",   "uint16", "int32",
                                           "uint32", "float32", "float64", "text"};
  return kNames[static_cast<size_t>(type)];
}

void Hdf4File::fail(const std::string& what, const std::string& hint) const {
  throw BadSample(
      fmt::format("{}: {}.", path_.string(), what),
      hint.empty() ? "download the file again, or leave it out with --skip-bad." : hint);
}

Hdf4File::Hdf4File(const fs::path& path) : path_(path) {
  struct stat status{};
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0 || fstat(descriptor_, &status) != 0) {
    const int reason = errno;
    if (descriptor_ >= 0) close(descriptor_);
    fail(fmt::format("cannot be opened: {}", std::strerror(reason)));
  }
  const auto give_up = [&](const std::string& what) {
    close(descriptor_);
    if (file_ != FAIL) SDend(file_);
    fail(what);
  };
  file_bytes_ = status.st_size;
  char magic[4] = {};
  if (file_bytes_ == 0) give_up("is empty (0 bytes)");
  if (pread(descriptor_, magic, 4, 0) != 4 || std::memcmp(magic, "\x0E\x03\x13\x01", 4) != 0) {
    give_up("is no HDF4 file");
  }
  const std::lock_guard lock(hdf4_mutex());
  file_ = SDstart(path.c_str(), DFACC_READ);
  if (file_ == FAIL) {
    give_up(fmt::format("cannot be opened as HDF4 ({} bytes); it is truncated or damaged",
                        file_bytes_));
  }
  int32 arrays = 0;
  int32 attributes = 0;
  if (SDfileinfo(file_, &arrays, &attributes) == FAIL) give_up("has a damaged directory");
  for (int32 index = 0; index < arrays; ++index) {
    const SelectedArray array(file_, index);
    char name[H4_MAX_NC_NAME + 1] = {};
    int32 rank = 0;
    int32 shape[H4_MAX_VAR_DIMS] = {};
    int32 type = 0;
    if (array.id() == FAIL ||
        SDgetinfo(array.id(), name, &rank, shape, &type, &attributes) == FAIL) {
      give_up(fmt::format("has a damaged directory: array {} cannot be described", index));
    }
    if (SDiscoordvar(array.id()) || !number_type(type)) continue;
    Entry entry;
    entry.info = {name, *number_type(type), {shape, shape + rank}};
    entry.index = index;
    entry.is_little_endian = (type & kLittleEndian) != 0;
    arrays_.emplace(name, entry);
  }
}

Hdf4File::~Hdf4File() {
  if (descriptor_ >= 0) close(descriptor_);
  const std::lock_guard lock(hdf4_mutex());
  if (file_ != FAIL) SDend(file_);
}

std::vector<std::string> Hdf4File::array_names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : arrays_) names.push_back(name);
  return names;
}

bool Hdf4File::has_array(const std::string& name) const { return arrays_.contains(name); }

const ArrayInfo& Hdf4File::array(const std::string& name) const { return entry(name).info; }

const Hdf4File::Entry& Hdf4File::entry(const std::string& name) const {
  const auto found = arrays_.find(name);
  if (found == arrays_.end()) {
    fail(fmt::format("has no science data set `{}`; it has: {}", name,
                     fmt::join(array_names(), ", ")));
  }
  return found->second;
}

std::optional<std::string> Hdf4File::text(const std::string& array,
                                          const std::string& attribute) const {
  const std::lock_guard lock(hdf4_mutex());
  std::optional<SelectedArray> selected;
  if (!array.empty()) selected.emplace(file_, entry(array).index);
  const int32 object = selected ? selected->id() : file_;
  const int32 index = SDfindattr(object, attribute.c_str());
  if (index == FAIL) return std::nullopt;
  char name[H4_MAX_NC_NAME + 1] = {};
  int32 type = 0;
  int32 count = 0;
  if (SDattrinfo(object, index, name, &type, &count) == FAIL) return std::nullopt;
  if (number_type(type) != NumberType::kText) return std::nullopt;
  std::string text(static_cast<size_t>(count), '\0');
  if (SDreadattr(object, index, text.data()) == FAIL) return std::nullopt;
  text.resize(std::strlen(text.c_str()));
  return text;
}

std::optional<std::vector<double>> Hdf4File::numbers(const std::string& array,
                                                     const std::string& attribute) const {
  const std::lock_guard lock(hdf4_mutex());
  std::optional<SelectedArray> selected;
  if (!array.empty()) selected.emplace(file_, entry(array).index);
  const int32 object = selected ? selected->id() : file_;
  const int32 index = SDfindattr(object, attribute.c_str());
  if (index == FAIL) return std::nullopt;
  char name[H4_MAX_NC_NAME + 1] = {};
  int32 type = 0;
  int32 count = 0;
  if (SDattrinfo(object, index, name, &type, &count) == FAIL) return std::nullopt;
  const auto known = number_type(type);
  if (!known || *known == NumberType::kText) return std::nullopt;
  std::vector<std::byte> bytes(static_cast<size_t>(count * number_bytes(*known)));
  if (SDreadattr(object, index, bytes.data()) == FAIL) return std::nullopt;
  return as_doubles(*known, bytes.data(), count);
}

int64_t Hdf4File::size_of(const std::string& name, size_t value_bytes) const {
  const ArrayInfo& info = array(name);
  if (std::cmp_not_equal(number_bytes(info.type), value_bytes)) {
    fail(fmt::format("has `{}` as {}, {} bytes a value were expected", name,
                     number_type_name(info.type), value_bytes));
  }
  int64_t size = 1;
  for (const int64_t length : info.shape) size *= length;
  return size;
}

void Hdf4File::read_whole(const std::string& name, void* out) const {
  const Entry& found = entry(name);
  const std::lock_guard lock(hdf4_mutex());
  const SelectedArray array(file_, found.index);
  std::vector<int32> start(found.info.shape.size(), 0);
  std::vector<int32> count(found.info.shape.begin(), found.info.shape.end());
  if (SDreaddata(array.id(), start.data(), nullptr, count.data(), out) == FAIL) {
    fail(fmt::format("cannot be read: science data set `{}` is truncated or damaged", name));
  }
}

std::vector<double> Hdf4File::read_numbers(const std::string& name) const {
  const ArrayInfo& info = array(name);
  int64_t count = 1;
  for (const int64_t size : info.shape) count *= size;
  std::vector<std::byte> bytes(static_cast<size_t>(count * number_bytes(info.type)));
  read_whole(name, bytes.data());
  return as_doubles(info.type, bytes.data(), count);
}

void Hdf4File::swap_plane(const Entry& entry, const std::byte* bytes, uint16_t* out) const {
  const auto rank = entry.info.shape.size();
  const int64_t count = entry.info.shape[rank - 2] * entry.info.shape[rank - 1];
  if (entry.is_little_endian) {
    std::memcpy(out, bytes, static_cast<size_t>(count) * sizeof(uint16_t));
  } else {
    swap_bytes(bytes, count, out);
  }
}

bool Hdf4File::read_planes_directly(const Entry& entry, std::span<const int64_t> planes,
                                    std::span<uint16_t* const> out) const {
  StoredBlocks blocks;
  comp_coder_t coder = COMP_CODE_NONE;
  {
    const std::lock_guard lock(hdf4_mutex());
    const SelectedArray array(file_, entry.index);
    HDF_CHUNK_DEF chunks;
    int32 flags = 0;
    if (SDgetchunkinfo(array.id(), &chunks, &flags) == FAIL || flags != HDF_NONE) return false;
    comp_info parameters;
    if (SDgetcompinfo(array.id(), &coder, &parameters) == FAIL) coder = COMP_CODE_NONE;
    if (coder != COMP_CODE_NONE && coder != COMP_CODE_DEFLATE) return false;
    blocks = stored_blocks(array.id());
  }
  if (!blocks.is_one_piece()) return false;
  const auto rank = entry.info.shape.size();
  const int64_t plane_bytes = 2 * entry.info.shape[rank - 2] * entry.info.shape[rank - 1];
  const int64_t begin = blocks.offsets.front();
  if (begin + blocks.bytes() > file_bytes_) {
    fail(fmt::format("is truncated: science data set `{}` ends at byte {}, the file has {}",
                     entry.info.name, begin + blocks.bytes(), file_bytes_));
  }
  const auto read_at = [&](int64_t offset, int64_t bytes, std::byte* to) {
    int64_t done = 0;
    while (done < bytes) {
      const ssize_t count =
          pread(descriptor_, to + done, static_cast<size_t>(bytes - done), offset + done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) fail(fmt::format("cannot be read: {}", std::strerror(errno)));
      done += count;
    }
  };
  if (coder == COMP_CODE_NONE) {
    const int64_t stored = rank == 3 ? entry.info.shape[0] : 1;
    if (blocks.bytes() != stored * plane_bytes) return false;
    // By pieces that stay in the cache between the read and the swap.
    constexpr int64_t kPiece = 256 << 10;
    std::vector<std::byte>& piece = scratch(0, kPiece);
    for (size_t i = 0; i < planes.size(); ++i) {
      for (int64_t done = 0; done < plane_bytes; done += kPiece) {
        const int64_t bytes = std::min(kPiece, plane_bytes - done);
        uint16_t* to = out[i] + done / 2;
        if (entry.is_little_endian) {
          read_at(begin + planes[i] * plane_bytes + done, bytes, reinterpret_cast<std::byte*>(to));
        } else {
          read_at(begin + planes[i] * plane_bytes + done, bytes, piece.data());
          swap_bytes(piece.data(), bytes / 2, to);
        }
      }
    }
    return true;
  }
  const auto last = *std::max_element(planes.begin(), planes.end());
  const auto needed = static_cast<size_t>((last + 1) * plane_bytes);
  const auto compressed_bytes = static_cast<size_t>(blocks.bytes());
  if (compressed_bytes <= kZlibHeader) return false;
  std::vector<std::byte>& compressed = scratch(0, compressed_bytes);
  read_at(begin, blocks.bytes(), compressed.data());
  std::vector<std::byte>& inflated = scratch(1, needed + kLongestPiece);
  const std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> decompressor(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  const auto start = Clock::now();
  size_t found = 0;
  const libdeflate_result result = libdeflate_deflate_decompress(
      decompressor.get(), compressed.data() + kZlibHeader, compressed_bytes - kZlibHeader,
      inflated.data(), needed + kLongestPiece, &found);
  times_.inflate_seconds += seconds_since(start);
  times_.inflated_bytes += static_cast<int64_t>(needed);
  // Running out of room is the plan: what is wanted is there then.
  const bool is_whole = result == LIBDEFLATE_SUCCESS && found >= needed;
  if (!is_whole && result != LIBDEFLATE_INSUFFICIENT_SPACE) {
    fail(fmt::format("is damaged: science data set `{}` does not decompress", entry.info.name));
  }
  for (size_t i = 0; i < planes.size(); ++i) {
    swap_plane(entry, inflated.data() + planes[i] * plane_bytes, out[i]);
  }
  return true;
}

void Hdf4File::read_planes(const std::string& name, std::span<const int64_t> planes,
                           std::span<uint16_t* const> out) const {
  const Entry& found = entry(name);
  const auto rank = found.info.shape.size();
  if (found.info.type != NumberType::kUint16 || rank < 2 || rank > 3) {
    fail(fmt::format("has `{}` as {} of {} dimensions; uint16 of 2 or 3 was expected", name,
                     number_type_name(found.info.type), rank));
  }
  for (const int64_t plane : planes) {
    if (plane < 0 || plane >= (rank == 3 ? found.info.shape[0] : 1)) {
      fail(fmt::format("has no plane {} in `{}`", plane, name));
    }
  }
  if (planes.empty() || read_planes_directly(found, planes, out)) return;
  const std::lock_guard lock(hdf4_mutex());
  const SelectedArray array(file_, found.index);
  for (size_t i = 0; i < planes.size(); ++i) {
    std::vector<int32> start(rank, 0);
    std::vector<int32> count(found.info.shape.begin(), found.info.shape.end());
    if (rank == 3) {
      start[0] = static_cast<int32>(planes[i]);
      count[0] = 1;
    }
    if (SDreaddata(array.id(), start.data(), nullptr, count.data(), out[i]) == FAIL) {
      fail(fmt::format("cannot be read: science data set `{}` is truncated or damaged", name));
    }
  }
}

std::optional<std::vector<double>> Hdf4File::column(const std::string& table,
                                                    const std::string& column) const {
  const std::lock_guard lock(hdf4_mutex());
  NumberType type{};
  int64_t order = 0;
  int64_t records = 0;
  std::vector<std::byte> bytes;
  if (!Table(path_, table).read(column, &type, &order, &records, &bytes)) return std::nullopt;
  return as_doubles(type, bytes.data(), records * order);
}

std::optional<std::vector<std::string>> Hdf4File::text_column(const std::string& table,
                                                              const std::string& column) const {
  const std::lock_guard lock(hdf4_mutex());
  NumberType type{};
  int64_t order = 0;
  int64_t records = 0;
  std::vector<std::byte> bytes;
  if (!Table(path_, table).read(column, &type, &order, &records, &bytes)) return std::nullopt;
  std::vector<std::string> texts;
  for (int64_t i = 0; i < records; ++i) {
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()) + i * order,
                       static_cast<size_t>(order));
  }
  return texts;
}

}  // namespace swath::data::modis
