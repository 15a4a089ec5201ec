// Reading HDF4 files: scientific data sets (arrays with attributes) and tables (vdata).
//
// The HDF4 library keeps global state and is not safe for threads; this file and hdf4_writer.h are
// the only ones that know it, and let one thread at a time into it. Many files at once take many
// processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace swath::data::modis {

enum class NumberType {
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kFloat32,
  kFloat64,
  kText
};

int64_t number_bytes(NumberType type);
const char* number_type_name(NumberType type);

struct ArrayInfo {
  std::string name;
  NumberType type = NumberType::kFloat32;
  std::vector<int64_t> shape;
};

// Times spent in a file, for benchmarks.
struct Hdf4Times {
  double inflate_seconds = 0;  // decompressing
  int64_t inflated_bytes = 0;
};

// Every function throws BadSample naming the file: when it is missing, empty, truncated, no HDF4
// file, or lacks what is asked for.
class Hdf4File {
 public:
  explicit Hdf4File(const std::filesystem::path& path);
  ~Hdf4File();
  Hdf4File(const Hdf4File&) = delete;
  Hdf4File& operator=(const Hdf4File&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::vector<std::string> array_names() const;
  bool has_array(const std::string& name) const;
  const ArrayInfo& array(const std::string& name) const;

  // Attributes of an array, or of the file where `array` is empty. Numbers of any type come as
  // double. Nothing when there is no such attribute.
  std::optional<std::string> text(const std::string& array, const std::string& attribute) const;
  std::optional<std::vector<double>> numbers(const std::string& array,
                                             const std::string& attribute) const;

  // The whole array, as the library delivers it; `Value` must be the array's type.
  template <class Value>
  std::vector<Value> read(const std::string& name) const {
    std::vector<Value> values(static_cast<size_t>(size_of(name, sizeof(Value))));
    read_whole(name, values.data());
    return values;
  }
  // The same for an array of any type of number.
  std::vector<double> read_numbers(const std::string& name) const;
  // Planes of the first dimension of a uint16 array (a two-dimensional one is plane 0), each to
  // `out[i]`. Goes around the library where the bytes lie in the file in one piece, plain or
  // deflated: plain planes are read alone, and deflated ones with libdeflate, no further than the
  // last plane that is asked for.
  void read_planes(const std::string& name, std::span<const int64_t> planes,
                   std::span<uint16_t* const> out) const;

  // A column of a table: numbers as double, texts whole. Nothing when there is no such table or
  // column.
  std::optional<std::vector<double>> column(const std::string& table,
                                            const std::string& column) const;
  std::optional<std::vector<std::string>> text_column(const std::string& table,
                                                      const std::string& column) const;

  const Hdf4Times& times() const { return times_; }

 private:
  struct Entry {
    ArrayInfo info;
    int32_t index = 0;
    bool is_little_endian = false;
  };
  const Entry& entry(const std::string& name) const;
  int64_t size_of(const std::string& name, size_t value_bytes) const;
  void read_whole(const std::string& name, void* out) const;
  bool read_planes_directly(const Entry& entry, std::span<const int64_t> planes,
                            std::span<uint16_t* const> out) const;
  void swap_plane(const Entry& entry, const std::byte* bytes, uint16_t* out) const;
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const;

  std::filesystem::path path_;
  int32_t file_ = -1;
  int descriptor_ = -1;
  int64_t file_bytes_ = 0;
  std::map<std::string, Entry> arrays_;
  mutable Hdf4Times times_;
};

}  // namespace swath::data::modis
