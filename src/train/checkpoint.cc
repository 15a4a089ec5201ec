#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/safetensors.h"
#include "core/tensor/tensor_io.h"

namespace swath::train {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kChunkBytes = 32 << 20;  // host memory for values on their way to a target
constexpr const char* kFallBackHint =
    "resume=auto goes on from the checkpoint before it; or copy this one again from its source.";

// One stored piece that is needed, and for what.
struct Read {
  const StoredTensor* tensor = nullptr;
  const StoredPiece* stored = nullptr;
  std::vector<const TensorPiece*> targets;
};
// By file, then by key: each file is opened once, and the first error is always the same one.
using Reads = std::map<std::string, std::map<std::string, Read>>;

Reads reads_for(const Checkpoint& checkpoint, const std::vector<TensorPiece>& pieces) {
  Reads reads;
  for (const TensorPiece& piece : pieces) {
    if (piece.numel() == 0) continue;
    const StoredTensor& tensor = checkpoint.tensors.at(piece.name);
    const int64_t end = piece.start + piece.numel();
    auto stored = std::upper_bound(
        tensor.pieces.begin(), tensor.pieces.end(), piece.start,
        [](int64_t start, const StoredPiece& candidate) { return start < candidate.start; });
    for (--stored; stored != tensor.pieces.end() && stored->start < end; ++stored) {
      Read& read = reads[stored->file][stored->key];
      read.tensor = &tensor;
      read.stored = &*stored;
      read.targets.push_back(&piece);
    }
  }
  return reads;
}

// Every piece of this rank's share of the files.
Reads share_of_all_reads(const Checkpoint& checkpoint, const CheckpointRanks& ranks) {
  Reads reads;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    for (const StoredPiece& stored : tensor.pieces) {
      reads[stored.file][stored.key] = {&tensor, &stored, {}};
    }
  }
  int64_t number = 0;
  std::erase_if(reads, [&](const auto&) { return number++ % ranks.size != ranks.rank; });
  return reads;
}

std::string_view read_verified(const Checkpoint& checkpoint, const SafetensorsFile& file,
                               const Read& read) {
  const StoredPiece& stored = *read.stored;
  const auto damaged = [&](const std::string& reason) {
    return Error(fmt::format("checkpoint {}: tensor {} in {} is damaged: {}.",
                             checkpoint.path.string(), stored.key, stored.file, reason),
                 kFallBackHint);
  };
  const TensorEntry* entry = file.find(stored.key);
  if (entry == nullptr) throw damaged("it is not there");
  if (entry->dtype != read.tensor->dtype || element_count(entry->shape) != stored.count) {
    throw damaged(fmt::format("it has {} values of {}, expected {} of {}",
                              element_count(entry->shape), entry->dtype, stored.count,
                              read.tensor->dtype));
  }
  const std::string_view bytes = file.bytes(*entry);
  if (const std::string found = checksum_text(bytes); found != stored.xxh3) {
    throw damaged(fmt::format("checksum {}, expected {}", found, stored.xxh3));
  }
  return bytes;
}

// What `stored` and `target` have in common, in chunks: a mapped file's bytes need not be aligned.
void copy_overlap(std::string_view bytes, const Read& read, const TensorPiece& target) {
  const at::ScalarType type = scalar_type_of(read.tensor->dtype);
  const auto element_bytes = static_cast<int64_t>(c10::elementSize(type));
  const int64_t begin = std::max(read.stored->start, target.start);
  const int64_t end =
      std::min(read.stored->start + read.stored->count, target.start + target.numel());
  const at::Tensor flat = target.values.detach().view(-1);
  const int64_t chunk = std::min(end - begin, kChunkBytes / element_bytes);
  const at::Tensor held = at::empty({chunk}, at::TensorOptions(type));
  for (int64_t position = begin; position < end; position += chunk) {
    const int64_t count = std::min(chunk, end - position);
    std::memcpy(held.mutable_data_ptr(),
                bytes.data() + (position - read.stored->start) * element_bytes,
                static_cast<size_t>(count * element_bytes));
    flat.narrow(0, position - target.start, count).copy_(held.narrow(0, 0, count));
  }
}

void verify_reads(const Checkpoint& checkpoint, const Reads& reads) {
  for (const auto& [file_name, pieces] : reads) {
    const SafetensorsFile file(checkpoint.path / file_name);
    for (const auto& [key, read] : pieces) read_verified(checkpoint, file, read);
  }
}

// What was verified a moment ago is verified again, while it is in the processor's cache anyway.
void copy_reads(const Checkpoint& checkpoint, const Reads& reads) {
  const at::NoGradGuard no_grad;
  for (const auto& [file_name, pieces] : reads) {
    const SafetensorsFile file(checkpoint.path / file_name);
    for (const auto& [key, read] : pieces) {
      const std::string_view bytes = read_verified(checkpoint, file, read);
      for (const TensorPiece* target : read.targets) copy_overlap(bytes, read, *target);
    }
  }
}

void check_same_model(const Checkpoint& checkpoint, const std::vector<TensorPiece>& pieces,
                      const std::string& prefix) {
  std::vector<std::string> differences;
  std::set<std::string> wanted;
  for (const TensorPiece& piece : pieces) {
    const bool is_first = wanted.insert(piece.name).second;
    const auto stored = checkpoint.tensors.find(piece.name);
    if (stored == checkpoint.tensors.end()) {
      if (is_first) differences.push_back(piece.name + " is missing in the checkpoint");
    } else if (const std::vector<int64_t>& shape = stored->second.shape; shape != piece.shape) {
      differences.push_back(fmt::format("{} has shape [{}] there and [{}] here", piece.name,
                                        fmt::join(shape, ", "), fmt::join(piece.shape, ", ")));
    }
  }
  for (const auto& [name, stored] : checkpoint.tensors) {
    if (name.starts_with(prefix) && !wanted.contains(name)) {
      differences.push_back(name + " is only in the checkpoint");
    }
  }
  if (differences.empty()) return;
  const size_t shown = std::min<size_t>(differences.size(), 5);
  throw UsageError(
      fmt::format("checkpoint {} belongs to another model: {}{}.", checkpoint.path.string(),
                  fmt::join(differences.begin(), differences.begin() + int64_t(shown), "; "),
                  shown < differences.size()
                      ? fmt::format("; and {} more", differences.size() - shown)
                      : ""),
      "use the model settings of its config.toml, or start another run.");
}

void check_targets(const std::vector<TensorPiece>& pieces) {
  check_pieces(pieces);
  for (const TensorPiece& piece : pieces) {
    if (piece.numel() == 0 || piece.values.is_contiguous()) continue;
    throw Error(fmt::format("checkpoint: the values of {} are not contiguous.", piece.name));
  }
}

}  // namespace

Checkpoint open_checkpoint(const fs::path& path) {
  if (!fs::exists(path / "COMPLETE")) {
    throw Error(fmt::format("checkpoint {} is not complete.", path.string()),
                "it was being written when its run ended; take an older one.");
  }
  const std::string text = read_file(path / "index.json");
  const auto damaged = [&](const std::string& reason) {
    return Error(fmt::format("checkpoint {}: index.json is damaged ({}).", path.string(), reason),
                 kFallBackHint);
  };
  try {
    const Json index = Json::parse(text);
    if (const int version = index.at("format_version"); version != kCheckpointFormatVersion) {
      throw Error(fmt::format("checkpoint {} has format version {}, this program reads {}.",
                              path.string(), version, kCheckpointFormatVersion),
                  "read it with the version of swath that wrote it.");
    }
    if (const std::string found = checksum_text(text), expected = read_file(path / "COMPLETE");
        found != expected) {
      throw damaged(fmt::format("checksum {}, expected {}", found, expected));
    }
    Checkpoint checkpoint{path, index.at("step"), index.at("state"), index.at("config"),
                          stored_tensors_from_json(index.at("tensors"))};
    check_coverage(&checkpoint.tensors);
    return checkpoint;
  } catch (const Json::exception& error) {
    throw damaged(error.what());
  }
}

void verify_checkpoint(const Checkpoint& checkpoint, const CheckpointRanks& ranks) {
  ranks.together([&] { verify_reads(checkpoint, share_of_all_reads(checkpoint, ranks)); },
                 [&] {
                   return fmt::format("checkpoint {}: another rank found it damaged.",
                                      checkpoint.path.string());
                 });
}

std::optional<Checkpoint> newest_sound_checkpoint(const fs::path& directory,
                                                  const CheckpointRanks& ranks) {
  std::vector<Checkpoint> found = list_checkpoints(directory);
  for (; !found.empty(); found.pop_back()) {
    bool is_sound = true;
    try {
      verify_reads(found.back(), share_of_all_reads(found.back(), ranks));
    } catch (const Error& error) {
      log_warning(fmt::format("passing over {}", error.message()));
      is_sound = false;
    }
    if (ranks.agree(is_sound)) return found.back();
  }
  return std::nullopt;
}

bool holds_checkpoints(const fs::path& directory) {
  if (!fs::is_directory(directory)) return false;
  return std::any_of(fs::directory_iterator(directory), fs::directory_iterator(),
                     [](const fs::directory_entry& entry) {
                       return entry.path().filename().string().starts_with(kStepPrefix);
                     });
}

std::vector<Checkpoint> list_checkpoints(const fs::path& directory) {
  std::vector<Checkpoint> found;
  if (!fs::is_directory(directory)) return found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPartialPrefix)) {
      log_info(fmt::format("passing over {}: its writing or deletion was interrupted.",
                           entry.path().string()));
      continue;
    }
    if (!name.starts_with(kStepPrefix)) continue;
    try {
      found.push_back(open_checkpoint(entry.path()));
    } catch (const Error& error) {
      log_warning(fmt::format("passing over {}", error.message()));
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Checkpoint& a, const Checkpoint& b) { return a.step < b.step; });
  return found;
}

Checkpoint find_checkpoint(const fs::path& path) {
  if (!fs::exists(path)) {
    throw UsageError(fmt::format("checkpoint {} does not exist.", path.string()));
  }
  if (fs::exists(path / "index.json")) return open_checkpoint(path);
  for (const fs::path& directory : {path / "checkpoints", path}) {
    std::vector<Checkpoint> found = list_checkpoints(directory);
    if (!found.empty()) return found.back();
  }
  throw UsageError(fmt::format("{} holds no complete checkpoint.", path.string()),
                   "name a run directory or one of its checkpoints/step_* directories.");
}

void load_checkpoint(const Checkpoint& checkpoint, const std::vector<TensorPiece>& pieces,
                     const std::string& prefix, const CheckpointRanks& ranks) {
  Reads reads;
  ranks.together(
      [&] {
        check_same_model(checkpoint, pieces, prefix);
        check_targets(pieces);
        reads = reads_for(checkpoint, pieces);
        verify_reads(checkpoint, reads);
      },
      [&] {
        return fmt::format("checkpoint {}: another rank could not load it.",
                           checkpoint.path.string());
      });
  copy_reads(checkpoint, reads);
}

at::Tensor read_checkpoint_tensor(const Checkpoint& checkpoint, const std::string& name) {
  const auto stored = checkpoint.tensors.find(name);
  if (stored == checkpoint.tensors.end()) {
    throw Error(fmt::format("checkpoint {} has no tensor {}.", checkpoint.path.string(), name));
  }
  const at::Tensor values =
      at::empty(stored->second.shape, at::TensorOptions(scalar_type_of(stored->second.dtype)));
  copy_reads(checkpoint, reads_for(checkpoint, {{name, stored->second.shape, 0, values}}));
  return values;
}

void delete_old_checkpoints(const fs::path& directory, int64_t step, int64_t keep_last,
                            int64_t keep_every) {
  std::vector<std::pair<int64_t, fs::path>> complete;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPartialPrefix)) leftovers.push_back(entry.path());
    if (!name.starts_with(kStepPrefix) || !fs::exists(entry.path() / "COMPLETE")) continue;
    const int64_t found = std::stoll(name.substr(std::string(kStepPrefix).size()));
    if (found <= step) complete.emplace_back(found, entry.path());
  }
  std::sort(complete.begin(), complete.end());
  const auto count = static_cast<int64_t>(complete.size());
  for (int64_t i = 0; i + keep_last < count; ++i) {
    const auto& [old_step, path] = complete[static_cast<size_t>(i)];
    if (keep_every > 0 && old_step % keep_every == 0) continue;
    remove_checkpoint(path);
  }
  for (const fs::path& path : leftovers) fs::remove_all(path);
}

}  // namespace swath::train
