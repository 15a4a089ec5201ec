// Writing HDF4 files with arrays, attributes, groups and a table, as HDF-EOS swaths have them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/modis/hdf4_file.h"

namespace swath::data::modis {

class Hdf4Writer {
 public:
  // Throws Error naming the file, here and below, when the library refuses. The file has its name
  // from the start: who needs it complete or absent writes beside it and renames.
  explicit Hdf4Writer(const std::filesystem::path& path);
  ~Hdf4Writer();  // of a writer without close(): what is in the file then is not known
  Hdf4Writer(const Hdf4Writer&) = delete;
  Hdf4Writer& operator=(const Hdf4Writer&) = delete;

  // An array and its dimensions' names. `deflate_level` 0: not compressed.
  template <class Value>
  void add_array(const std::string& name, NumberType type, const std::vector<int64_t>& shape,
                 const std::vector<std::string>& dimensions, const std::vector<Value>& values,
                 int deflate_level) {
    add_array_bytes(name, type, shape, dimensions, std::as_bytes(std::span(values)), deflate_level);
  }
  // Attributes of an array, or of the file where `array` is empty.
  void add_text(const std::string& array, const std::string& name, const std::string& text);
  void add_numbers(const std::string& array, const std::string& name, NumberType type,
                   const std::vector<double>& values);

  struct Column {
    std::string name;
    NumberType type = NumberType::kFloat64;
    std::vector<double> values;      // numbers, one per record
    std::vector<std::string> texts;  // kText: of one length
  };
  // Ends the arrays: nothing but tables and groups may follow.
  void finish_arrays();
  void add_table(const std::string& name, const std::vector<Column>& columns);
  // A group of class `kind` that holds the groups named in `parts`, each with the arrays it lists.
  struct Part {
    std::string name;
    std::vector<std::string> arrays;
  };
  void add_group(const std::string& name, const std::string& kind, const std::vector<Part>& parts,
                 const std::string& kind_of_parts);
  // Writes what the library still holds. Nothing may follow.
  void close();

 private:
  void add_array_bytes(const std::string& name, NumberType type, const std::vector<int64_t>& shape,
                       const std::vector<std::string>& dimensions, std::span<const std::byte> bytes,
                       int deflate_level);
  bool end();  // whether the library took everything
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path path_;
  int32_t file_ = -1;
  int32_t objects_ = -1;
  std::vector<std::pair<std::string, int32_t>> references_;  // of arrays
};

}  // namespace swath::data::modis
