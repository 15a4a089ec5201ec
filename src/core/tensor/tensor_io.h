// Tensors in and out of safetensors files.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/safetensors.h"

namespace swath {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// A copy of the entry on the CPU, in its own dtype.
at::Tensor read_tensor(const SafetensorsFile& file, const TensorEntry& entry);
// By name; throws Error naming file and tensor when it is missing.
at::Tensor read_tensor(const SafetensorsFile& file, const std::string& name);

// Tensors of any device and layout; written contiguous, one at a time.
void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata = {});

// Names of types as in the file format, such as BF16.
std::string safetensors_dtype(at::ScalarType type);
at::ScalarType scalar_type_of(const std::string& name);

}  // namespace swath
