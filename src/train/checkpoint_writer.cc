#include "train/checkpoint_writer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "train/checkpoint_format.h"

namespace swath::train {
namespace fs = std::filesystem;
namespace {

// What rank 0 makes for all. Removed unless it was published.
class PartialDirectory {
 public:
  explicit PartialDirectory(fs::path path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~PartialDirectory() {
    std::error_code ignored;
    if (!is_published_) fs::remove_all(path_, ignored);
  }
  PartialDirectory(const PartialDirectory&) = delete;
  PartialDirectory& operator=(const PartialDirectory&) = delete;

  // A checkpoint of the same name steps aside and is deleted last: only between two renames is
  // there neither of them.
  void publish_as(const fs::path& target) {
    const fs::path replaced = path_.string() + "-replaced";
    fs::remove_all(replaced);
    if (fs::exists(target)) fs::rename(target, replaced);
    fs::rename(path_, target);
    is_published_ = true;
    sync_directory(target.parent_path());
    fs::remove_all(replaced);
  }

 private:
  fs::path path_;
  bool is_published_ = false;
};

void check_free_space(const fs::path& directory, const std::vector<TensorPiece>& pieces) {
  int64_t needed_bytes = 1 << 20;
  for (const TensorPiece& piece : pieces) needed_bytes += piece.bytes();
  std::error_code error;
  const fs::space_info space = fs::space(directory, error);
  if (error || space.available >= static_cast<uint64_t>(needed_bytes)) return;
  throw Error(fmt::format("the disk is too full for a checkpoint: {} needs {} bytes, {} are free.",
                          directory.string(), needed_bytes, space.available),
              "free some space, or keep fewer checkpoints with --set train.keep_last=1.");
}

// Writes this rank's file and returns what is in it. The values are hashed as they are written.
StoredTensors write_pieces(const fs::path& directory, int64_t rank,
                           const std::vector<TensorPiece>& pieces) {
  StoredTensors stored;
  std::vector<TensorEntry> entries;
  std::vector<const TensorPiece*> written;
  for (const TensorPiece& piece : pieces) {
    const std::string dtype =
        piece.values.defined() ? safetensors_dtype(piece.values.scalar_type()) : "";
    if (piece.numel() == 0) {
      // One rank is enough to say which tensors there must be.
      if (rank == 0) merge_stored_tensor(piece.name, {dtype, piece.shape, {}}, &stored);
      continue;
    }
    const std::string key = piece_key(piece.name, piece.shape, piece.start, piece.numel());
    entries.push_back(
        {key, dtype, piece.is_whole() ? piece.shape : std::vector<int64_t>{piece.numel()}, 0, 0});
    written.push_back(&piece);
  }
  if (entries.empty()) return stored;
  const std::string file_name = rank_file_name(rank);
  size_t next = 0;
  at::Tensor held;
  const auto bytes_of = [&](const TensorEntry& entry) -> std::string_view {
    const TensorPiece& piece = *written[next++];
    held = piece.values.detach().to(at::kCPU).contiguous();
    const std::string_view bytes(static_cast<const char*>(held.const_data_ptr()), held.nbytes());
    merge_stored_tensor(
        piece.name,
        {entry.dtype,
         piece.shape,
         {{file_name, entry.name, piece.start, piece.numel(), checksum_text(bytes)}}},
        &stored);
    return bytes;
  };
  write_safetensors(directory / file_name, std::move(entries), {{"format", "swath checkpoint"}},
                    bytes_of);
  return stored;
}

// Rank 0 reads and removes it in a moment: it need not survive a loss of power.
void write_index_part(const fs::path& path, const StoredTensors& stored) {
  std::ofstream file(path, std::ios::binary);
  file << stored_tensors_to_json(stored).dump();
  file.close();
  if (file) return;
  std::error_code ignored;
  fs::remove(path, ignored);
  throw Error(fmt::format("cannot write {}.", path.string()));
}

// Joins what the ranks say they wrote; their notes go away.
StoredTensors join_index_parts(const fs::path& directory, int64_t num_ranks) {
  StoredTensors all;
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    const fs::path part = directory / index_part_name(rank);
    for (const auto& [name, tensor] : stored_tensors_from_json(Json::parse(read_file(part)))) {
      merge_stored_tensor(name, tensor, &all);
    }
    fs::remove(part);
  }
  check_coverage(&all);
  return all;
}

std::string ranks_without_part(const fs::path& directory, int64_t num_ranks) {
  std::vector<int64_t> missing;
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    if (!fs::exists(directory / index_part_name(rank))) missing.push_back(rank);
  }
  if (missing.empty()) return "another rank";
  return fmt::format("rank {}", fmt::join(missing, ", rank "));
}

}  // namespace

fs::path save_checkpoint(const fs::path& directory, int64_t step,
                         const std::vector<TensorPiece>& pieces, const Json& state,
                         const std::string& config, const CheckpointRanks& ranks) {
  const std::string name = step_directory_name(step);
  const fs::path target = directory / name;
  const fs::path path = directory / (kPartialPrefix + name);  // the same on all ranks
  const auto failed = [&](const std::string& who, const char* what) {
    return fmt::format("checkpoint {}: {} could not {}; nothing was published.", target.string(),
                       who, what);
  };
  std::optional<PartialDirectory> partial;

  // 1. A directory that all ranks see.
  ranks.together(
      [&] {
        check_pieces(pieces);
        if (ranks.rank == 0) partial.emplace(path);
      },
      [&] { return failed("another rank", "begin"); });

  // 2. Every rank's values, on the disk, and a note of what they are.
  ranks.together(
      [&] {
        if (!fs::exists(path)) {
          throw Error(fmt::format("rank {} of {} does not see {}, which rank 0 made.", ranks.rank,
                                  ranks.size, path.string()),
                      "choose an output directory on a file system that all ranks share.");
        }
        check_free_space(directory, pieces);
        const StoredTensors stored = write_pieces(path, ranks.rank, pieces);
        write_index_part(path / index_part_name(ranks.rank), stored);
      },
      [&] { return failed(ranks_without_part(path, ranks.size), "write its part"); });

  // 3. The index, then the mark, then the name.
  ranks.together(
      [&] {
        if (ranks.rank != 0) return;
        const Json index = {
            {"format_version", kCheckpointFormatVersion},
            {"step", step},
            {"state", state},
            {"config", config},
            {"tensors", stored_tensors_to_json(join_index_parts(path, ranks.size))}};
        const std::string text = index.dump(1);
        write_file_atomically(path / "index.json", text);
        write_file_atomically(path / "COMPLETE", checksum_text(text));
        partial->publish_as(target);
      },
      [&] { return failed("rank 0", "complete it"); });
  return target;
}

}  // namespace swath::train
