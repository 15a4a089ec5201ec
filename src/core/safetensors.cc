#include "core/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/json.h"

namespace swath {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

}  // namespace

int64_t safetensors_dtype_bytes(const std::string& dtype) {
  static const std::map<std::string, int64_t> bytes = {
      {"F64", 8},  {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4}, {"U32", 4}, {"F16", 2},
      {"BF16", 2}, {"I16", 2}, {"U16", 2}, {"U8", 1},  {"I8", 1},  {"BOOL", 1}};
  const auto found = bytes.find(dtype);
  if (found == bytes.end()) throw Error(fmt::format("safetensors: unknown dtype {}.", dtype));
  return found->second;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string_view bytes = file_.bytes();
  const auto damaged = [&](const std::string& reason) {
    return Error(fmt::format("{} is not a usable safetensors file: {}.", path.string(), reason),
                 "copy or export the file again.");
  };
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes) throw damaged("it is shorter than its header");
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - sizeof header_bytes) {
    throw damaged(
        fmt::format("the header says {} bytes, the file has {}", header_bytes, bytes.size()));
  }
  data_offset_ = sizeof header_bytes + header_bytes;
  const uint64_t data_bytes = bytes.size() - data_offset_;
  try {
    const Json header = Json::parse(bytes.substr(sizeof header_bytes, header_bytes));
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        metadata_ = value.get<std::map<std::string, std::string>>();
        continue;
      }
      entries_.push_back({name, value.at("dtype").get<std::string>(),
                          value.at("shape").get<std::vector<int64_t>>(),
                          value.at("data_offsets").at(0).get<uint64_t>(),
                          value.at("data_offsets").at(1).get<uint64_t>()});
    }
  } catch (const Json::exception& error) {
    throw damaged(fmt::format("the header is not what it should be ({})", error.what()));
  }
  std::vector<const TensorEntry*> by_offset;
  for (const TensorEntry& entry : entries_) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](const TensorEntry* a, const TensorEntry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t position = 0;
  for (const TensorEntry* entry : by_offset) {
    const auto expected =
        static_cast<uint64_t>(element_count(entry->shape) * safetensors_dtype_bytes(entry->dtype));
    if (entry->begin != position || entry->end - entry->begin != expected) {
      throw damaged(fmt::format("tensor {} of {} [{}] occupies bytes {} to {}", entry->name,
                                entry->dtype, fmt::join(entry->shape, ", "), entry->begin,
                                entry->end));
    }
    position = entry->end;
  }
  if (position != data_bytes) {
    throw damaged(fmt::format("the header describes {} bytes of data, the file holds {}", position,
                              data_bytes));
  }
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const TensorEntry& entry) { return entry.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

std::string_view SafetensorsFile::bytes(const TensorEntry& entry) const {
  return file_.bytes().substr(data_offset_ + entry.begin, entry.end - entry.begin);
}

void write_safetensors(const std::filesystem::path& path, std::vector<TensorEntry> entries,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<std::string_view(const TensorEntry&)>& bytes_of) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t position = 0;
  for (TensorEntry& entry : entries) {
    entry.begin = position;
    position +=
        static_cast<uint64_t>(element_count(entry.shape) * safetensors_dtype_bytes(entry.dtype));
    entry.end = position;
    header[entry.name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data starts on a multiple of 8
  const uint64_t header_bytes = text.size();
  AtomicFileWriter writer(path);
  writer.write(&header_bytes, sizeof header_bytes);
  writer.write(text);
  for (const TensorEntry& entry : entries) {
    const std::string_view bytes = bytes_of(entry);
    if (bytes.size() != entry.end - entry.begin) {
      throw Error(fmt::format("safetensors: {} should have {} bytes, got {}.", entry.name,
                              entry.end - entry.begin, bytes.size()));
    }
    writer.write(bytes);
  }
  writer.publish();
}

}  // namespace swath
