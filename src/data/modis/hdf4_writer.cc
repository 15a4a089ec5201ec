#include "data/modis/hdf4_writer.h"

#include <hdf/mfhdf.h>
#undef VOID
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "data/modis/hdf4_lock.h"

namespace swath::data::modis {
namespace {

int32 library_type(NumberType type) {
  switch (type) {
    case NumberType::kInt8:
      return DFNT_INT8;
    case NumberType::kUint8:
      return DFNT_UINT8;
    case NumberType::kInt16:
      return DFNT_INT16;
    case NumberType::kUint16:
      return DFNT_UINT16;
    case NumberType::kInt32:
      return DFNT_INT32;
    case NumberType::kUint32:
      return DFNT_UINT32;
    case NumberType::kFloat32:
      return DFNT_FLOAT32;
    case NumberType::kFloat64:
      return DFNT_FLOAT64;
    case NumberType::kText:
      return DFNT_CHAR8;
  }
  return DFNT_NONE;
}

template <class Value>
void append(double number, std::vector<std::byte>* bytes) {
  const auto value = static_cast<Value>(number);
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  bytes->insert(bytes->end(), begin, begin + sizeof value);
}

void append_number(NumberType type, double number, std::vector<std::byte>* bytes) {
  switch (type) {
    case NumberType::kInt8:
      return append<int8_t>(number, bytes);
    case NumberType::kUint8:
    case NumberType::kText:
      return append<uint8_t>(number, bytes);
    case NumberType::kInt16:
      return append<int16_t>(number, bytes);
    case NumberType::kUint16:
      return append<uint16_t>(number, bytes);
    case NumberType::kInt32:
      return append<int32_t>(number, bytes);
    case NumberType::kUint32:
      return append<uint32_t>(number, bytes);
    case NumberType::kFloat32:
      return append<float>(number, bytes);
    case NumberType::kFloat64:
      return append<double>(number, bytes);
  }
}

}  // namespace

Hdf4Writer::Hdf4Writer(const std::filesystem::path& path) : path_(path) {
  const std::lock_guard lock(hdf4_mutex());
  file_ = SDstart(path.c_str(), DFACC_CREATE);
  if (file_ == FAIL) fail("cannot be created");
}

Hdf4Writer::~Hdf4Writer() {
  const std::lock_guard lock(hdf4_mutex());
  end();
}

void Hdf4Writer::close() {
  const std::lock_guard lock(hdf4_mutex());
  if (!end()) fail("cannot be completed");
}

bool Hdf4Writer::end() {
  const int32 file = std::exchange(file_, FAIL);
  const int32 objects = std::exchange(objects_, FAIL);
  bool is_complete = file == FAIL || SDend(file) != FAIL;
  if (objects == FAIL) return is_complete;
  is_complete &= Vend(objects) != FAIL;
  is_complete &= Hclose(objects) != FAIL;
  return is_complete;
}

void Hdf4Writer::fail(const std::string& what) const {
  throw Error(fmt::format("{}: {}.", path_.string(), what),
              "look at the free space and the permissions of the folder.");
}

void Hdf4Writer::add_array_bytes(const std::string& name, NumberType type,
                                 const std::vector<int64_t>& shape,
                                 const std::vector<std::string>& dimensions,
                                 std::span<const std::byte> bytes, int deflate_level) {
  int64_t expected = number_bytes(type);
  for (const int64_t length : shape) expected *= length;
  if (std::cmp_not_equal(bytes.size(), expected)) {
    throw UsageError(fmt::format("{}: `{}` of {} takes {} bytes, {} are given.", path_.string(),
                                 name, fmt::join(shape, " x "), expected, bytes.size()));
  }
  const std::lock_guard lock(hdf4_mutex());
  std::vector<int32> lengths(shape.begin(), shape.end());
  std::vector<int32> start(shape.size(), 0);
  const int32 array = SDcreate(file_, name.c_str(), library_type(type),
                               static_cast<int32>(shape.size()), lengths.data());
  if (array == FAIL) fail(fmt::format("cannot hold the array `{}`", name));
  for (size_t i = 0; i < dimensions.size(); ++i) {
    SDsetdimname(SDgetdimid(array, static_cast<intn>(i)), dimensions[i].c_str());
  }
  if (deflate_level > 0) {
    comp_info parameters{};
    parameters.deflate.level = deflate_level;
    if (SDsetcompress(array, COMP_CODE_DEFLATE, &parameters) == FAIL) {
      fail(fmt::format("cannot compress the array `{}`", name));
    }
  }
  std::vector<std::byte> copy(bytes.begin(), bytes.end());  // the library takes no constants
  if (SDwritedata(array, start.data(), nullptr, lengths.data(), copy.data()) == FAIL) {
    fail(fmt::format("cannot take the values of `{}`", name));
  }
  references_.emplace_back(name, SDidtoref(array));
  // What is compressed is written here.
  if (SDendaccess(array) == FAIL) fail(fmt::format("cannot take the values of `{}`", name));
}

void Hdf4Writer::add_text(const std::string& array, const std::string& name,
                          const std::string& text) {
  const std::lock_guard lock(hdf4_mutex());
  const int32 object = array.empty() ? file_ : SDselect(file_, SDnametoindex(file_, array.c_str()));
  if (SDsetattr(object, name.c_str(), DFNT_CHAR8, static_cast<int32>(text.size()), text.data()) ==
      FAIL) {
    fail(fmt::format("cannot take the attribute `{}`", name));
  }
  if (!array.empty()) SDendaccess(object);
}

void Hdf4Writer::add_numbers(const std::string& array, const std::string& name, NumberType type,
                             const std::vector<double>& values) {
  std::vector<std::byte> bytes;
  for (const double value : values) append_number(type, value, &bytes);
  const std::lock_guard lock(hdf4_mutex());
  const int32 object = array.empty() ? file_ : SDselect(file_, SDnametoindex(file_, array.c_str()));
  if (SDsetattr(object, name.c_str(), library_type(type), static_cast<int32>(values.size()),
                bytes.data()) == FAIL) {
    fail(fmt::format("cannot take the attribute `{}`", name));
  }
  if (!array.empty()) SDendaccess(object);
}

void Hdf4Writer::finish_arrays() {
  const std::lock_guard lock(hdf4_mutex());
  const int32 file = std::exchange(file_, FAIL);
  if (SDend(file) == FAIL) fail("cannot be completed");
  objects_ = Hopen(path_.c_str(), DFACC_RDWR, 0);
  if (objects_ == FAIL || Vstart(objects_) == FAIL) fail("cannot be opened for its tables");
}

void Hdf4Writer::add_table(const std::string& name, const std::vector<Column>& columns) {
  const std::lock_guard lock(hdf4_mutex());
  const int32 table = VSattach(objects_, -1, "w");
  VSsetname(table, name.c_str());
  std::string names;
  size_t records = 0;
  for (const Column& column : columns) {
    const bool is_text = column.type == NumberType::kText;
    records = is_text ? column.texts.size() : column.values.size();
    const auto order = is_text ? static_cast<int32>(column.texts.front().size()) : 1;
    VSfdefine(table, column.name.c_str(), library_type(column.type), order);
    names += (names.empty() ? "" : ",") + column.name;
  }
  if (VSsetfields(table, names.c_str()) == FAIL)
    fail(fmt::format("cannot take the table {}", name));
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < records; ++i) {
    for (const Column& column : columns) {
      if (column.type == NumberType::kText) {
        const auto* begin = reinterpret_cast<const std::byte*>(column.texts[i].data());
        bytes.insert(bytes.end(), begin, begin + column.texts[i].size());
      } else {
        append_number(column.type, column.values[i], &bytes);
      }
    }
  }
  const int32 written = VSwrite(table, reinterpret_cast<const uint8*>(bytes.data()),
                                static_cast<int32>(records), FULL_INTERLACE);
  VSdetach(table);
  if (std::cmp_not_equal(written, records)) fail(fmt::format("cannot take the table {}", name));
}

void Hdf4Writer::add_group(const std::string& name, const std::string& kind,
                           const std::vector<Part>& parts, const std::string& kind_of_parts) {
  const std::lock_guard lock(hdf4_mutex());
  const int32 whole = Vattach(objects_, -1, "w");
  Vsetname(whole, name.c_str());
  Vsetclass(whole, kind.c_str());
  for (const Part& part : parts) {
    const int32 group = Vattach(objects_, -1, "w");
    Vsetname(group, part.name.c_str());
    Vsetclass(group, kind_of_parts.c_str());
    for (const std::string& array : part.arrays) {
      const auto found =
          std::find_if(references_.begin(), references_.end(),
                       [&](const auto& reference) { return reference.first == array; });
      if (found != references_.end()) Vaddtagref(group, DFTAG_NDG, found->second);
    }
    Vinsert(whole, group);
    Vdetach(group);
  }
  Vdetach(whole);
}

}  // namespace swath::data::modis
