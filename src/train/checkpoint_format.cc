#include "train/checkpoint_format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

#include "core/error.h"
#include "core/hash.h"

namespace swath::train {

std::string step_directory_name(int64_t step) { return fmt::format("{}{:08d}", kStepPrefix, step); }

std::string rank_file_name(int64_t rank) { return fmt::format("rank_{:05d}.safetensors", rank); }

std::string index_part_name(int64_t rank) { return fmt::format("rank_{:05d}.json", rank); }

std::string checksum_text(std::string_view bytes) { return fmt::format("{:016x}", xxh3(bytes)); }

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

void remove_checkpoint(const std::filesystem::path& path) {
  const std::filesystem::path nameless =
      path.parent_path() / (kPartialPrefix + ("deleted-" + path.filename().string()));
  std::filesystem::remove_all(nameless);
  std::filesystem::rename(path, nameless);
  std::filesystem::remove_all(nameless);
}

Json stored_tensors_to_json(const StoredTensors& tensors) {
  Json json = Json::object();
  for (const auto& [name, tensor] : tensors) {
    Json pieces = Json::array();
    for (const StoredPiece& piece : tensor.pieces) {
      pieces.push_back({{"file", piece.file},
                        {"key", piece.key},
                        {"start", piece.start},
                        {"count", piece.count},
                        {"xxh3", piece.xxh3}});
    }
    // The keys of an ordered object are searched one by one; these are all different.
    json.get_ref<Json::object_t&>().emplace_back(
        name, Json{{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"pieces", pieces}});
  }
  return json;
}

StoredTensors stored_tensors_from_json(const Json& json) {
  StoredTensors tensors;
  for (const auto& [name, entry] : json.items()) {
    StoredTensor& tensor = tensors[name];
    tensor.dtype = entry.at("dtype");
    tensor.shape = entry.at("shape").get<std::vector<int64_t>>();
    for (const Json& piece : entry.at("pieces")) {
      tensor.pieces.push_back({piece.at("file"), piece.at("key"), piece.at("start"),
                               piece.at("count"), piece.at("xxh3")});
    }
  }
  return tensors;
}

std::string piece_key(const std::string& name, const std::vector<int64_t>& shape, int64_t start,
                      int64_t count) {
  if (start == 0 && count == element_count(shape)) return name;
  return fmt::format("{}[{}:{}]", name, start, start + count);
}

void merge_stored_tensor(const std::string& name, const StoredTensor& part, StoredTensors* all) {
  const auto [found, is_new] = all->emplace(name, part);
  if (is_new) return;
  StoredTensor& tensor = found->second;
  if (tensor.dtype.empty()) tensor.dtype = part.dtype;
  if (tensor.shape != part.shape || (!part.dtype.empty() && tensor.dtype != part.dtype)) {
    throw Error(fmt::format("checkpoint: tensor {} is {} [{}] on one rank and {} [{}] on another.",
                            name, tensor.dtype, fmt::join(tensor.shape, ", "), part.dtype,
                            fmt::join(part.shape, ", ")));
  }
  tensor.pieces.insert(tensor.pieces.end(), part.pieces.begin(), part.pieces.end());
}

void check_coverage(StoredTensors* tensors) {
  for (auto& [name, tensor] : *tensors) {
    std::sort(tensor.pieces.begin(), tensor.pieces.end(),
              [](const StoredPiece& a, const StoredPiece& b) {
                return std::tie(a.start, a.file) < std::tie(b.start, b.file);
              });
    const int64_t numel = element_count(tensor.shape);
    const auto hole = [&](int64_t begin, int64_t end) {
      return Error(fmt::format("checkpoint: no rank stored elements {} to {} of {} of tensor {}.",
                               begin, end, numel, name));
    };
    int64_t covered = 0;
    for (size_t i = 0; i < tensor.pieces.size(); ++i) {
      const StoredPiece& piece = tensor.pieces[i];
      if (piece.start > covered) throw hole(covered, piece.start);
      if (piece.start < covered) {
        throw Error(fmt::format(
            "checkpoint: elements {} to {} of tensor {} are stored twice, in {} and {}.",
            piece.start, std::min(covered, piece.start + piece.count), name,
            tensor.pieces[i - 1].file, piece.file));
      }
      covered += piece.count;
    }
    if (covered < numel || tensor.dtype.empty()) throw hole(covered, numel);
    if (covered > numel) {
      throw Error(fmt::format("checkpoint: tensor {} has {} elements, and {} are stored.", name,
                              numel, covered));
    }
  }
}

}  // namespace swath::train
