#include "core/tensor/tensor_io.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstring>

#include "core/error.h"

namespace swath {
namespace {

struct DtypeName {
  at::ScalarType type;
  const char* name;
};
constexpr DtypeName kDtypeNames[] = {
    {at::kDouble, "F64"}, {at::kFloat, "F32"}, {at::kHalf, "F16"},  {at::kBFloat16, "BF16"},
    {at::kLong, "I64"},   {at::kInt, "I32"},   {at::kShort, "I16"}, {at::kChar, "I8"},
    {at::kByte, "U8"},    {at::kBool, "BOOL"}, {at::kUInt16, "U16"}};

}  // namespace

std::string safetensors_dtype(at::ScalarType type) {
  for (const DtypeName& entry : kDtypeNames) {
    if (entry.type == type) return entry.name;
  }
  throw Error(fmt::format("safetensors: no name for dtype {}.", c10::toString(type)));
}

at::ScalarType scalar_type_of(const std::string& name) {
  for (const DtypeName& entry : kDtypeNames) {
    if (entry.name == name) return entry.type;
  }
  throw Error(fmt::format("safetensors: dtype {} is not supported.", name));
}

at::Tensor read_tensor(const SafetensorsFile& file, const TensorEntry& entry) {
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions(scalar_type_of(entry.dtype)));
  const std::string_view bytes = file.bytes(entry);
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

at::Tensor read_tensor(const SafetensorsFile& file, const std::string& name) {
  const TensorEntry* entry = file.find(name);
  if (entry == nullptr) {
    throw Error(fmt::format("{} has no tensor {}.", file.path().string(), name));
  }
  return read_tensor(file, *entry);
}

void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata) {
  std::vector<TensorEntry> entries;
  entries.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    entries.push_back({name, safetensors_dtype(tensor.scalar_type()), tensor.sizes().vec(), 0, 0});
  }
  size_t next = 0;
  at::Tensor held;
  write_safetensors(path, std::move(entries), metadata,
                    [&](const TensorEntry&) -> std::string_view {
                      held = tensors[next++].second.detach().to(at::kCPU).contiguous();
                      return {static_cast<const char*>(held.const_data_ptr()), held.nbytes()};
                    });
}

}  // namespace swath
