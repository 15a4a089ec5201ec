// What lies in a checkpoint's directory and what its index says. Free of LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace swath::train {

inline constexpr int kCheckpointFormatVersion = 2;
inline constexpr const char* kStepPrefix = "step_";
// Directories under such names are being written, or were when their run was killed.
inline constexpr const char* kPartialPrefix = ".partial-";

std::string step_directory_name(int64_t step);      // step_00001200
std::string rank_file_name(int64_t rank);           // rank_00003.safetensors
std::string index_part_name(int64_t rank);          // rank_00003.json, until the parts are joined
std::string checksum_text(std::string_view bytes);  // XXH3 in hexadecimal
int64_t element_count(const std::vector<int64_t>& shape);

// Removes a complete checkpoint. It loses its name first: what an interrupted deletion leaves is
// removed with the other partial directories.
void remove_checkpoint(const std::filesystem::path& path);

// Elements [start, start + count) of a flattened tensor, in one file.
struct StoredPiece {
  std::string file;
  std::string key;  // its name in the file
  int64_t start = 0;
  int64_t count = 0;
  std::string xxh3;
  bool operator==(const StoredPiece&) const = default;
};

struct StoredTensor {
  std::string dtype;                // as safetensors spells it
  std::vector<int64_t> shape;       // of the whole tensor
  std::vector<StoredPiece> pieces;  // ascending
  bool operator==(const StoredTensor&) const = default;
};

using StoredTensors = std::map<std::string, StoredTensor>;

// name -> {dtype, shape, pieces: [{file, key, start, count, xxh3}]}
Json stored_tensors_to_json(const StoredTensors& tensors);
// Throws Json::exception for anything else.
StoredTensors stored_tensors_from_json(const Json& json);

// The name of a piece in its file: the tensor's own when it is all of it, otherwise
// "NAME[START:END]".
std::string piece_key(const std::string& name, const std::vector<int64_t>& shape, int64_t start,
                      int64_t count);

// Adds one tensor, or more pieces of it. Throws Error naming it when dtype or shape differ. An
// empty dtype says that the tensor belongs to the state and whoever says so has nothing of it.
void merge_stored_tensor(const std::string& name, const StoredTensor& part, StoredTensors* all);

// Sorts the pieces of every tensor. Throws Error naming tensor and elements unless they cover it
// exactly once.
void check_coverage(StoredTensors* tensors);

}  // namespace swath::train
