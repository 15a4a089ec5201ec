// The safetensors container, free of LibTorch: an 8-byte little-endian header length, a JSON header
// {name: {dtype, shape, data_offsets}}, then the tensors' bytes without holes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"

namespace swath {

struct TensorEntry {
  std::string name;
  std::string dtype;  // "F32", "F64", "BF16", "F16", "I64", "I32", "U8", "BOOL" ...
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // byte range, counted from the start of the data
  uint64_t end = 0;
};

// Bytes of one value; throws Error for an unknown dtype.
int64_t safetensors_dtype_bytes(const std::string& dtype);

// A file opened for reading; the data is mapped, not copied. The header is checked in full: sizes,
// overlaps, holes, truncation. Throws Error naming file and tensor.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<TensorEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_.path(); }
  const TensorEntry* find(std::string_view name) const;
  std::string_view bytes(const TensorEntry& entry) const;

 private:
  MappedFile file_;
  std::vector<TensorEntry> entries_;
  std::map<std::string, std::string> metadata_;
  size_t data_offset_ = 0;
};

// Writes complete or nothing. `bytes_of(entry)` is asked once per entry in the given order; begin
// and end of the entries are computed here.
void write_safetensors(const std::filesystem::path& path, std::vector<TensorEntry> entries,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<std::string_view(const TensorEntry&)>& bytes_of);

}  // namespace swath
