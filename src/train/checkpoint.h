// Checkpoints that are complete or absent, and depend neither on the number of ranks nor on how
// they share the parameters.
//
// checkpoints/step_00001200/
//   rank_00000.safetensors   what rank 0 held: whole tensors under their names
//                            ("model/blocks.0.norm1.weight", "optimizer/exp_avg/...", "ema/..."),
//                            parts of flattened tensors as "NAME[START:END]"
//   rank_00001.safetensors   ... of every rank that held anything
//   index.json               every tensor's dtype, shape and pieces: file, elements and XXH3; the
//                            run's state (step, data position ...) and resolved configuration
//   COMPLETE                 the XXH3 of index.json; written last, then the directory gets its name
//                            by a rename
//
// A directory without COMPLETE, or under another name, is never read. Loading verifies the checksum
// of every piece it reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "train/checkpoint_format.h"
#include "train/checkpoint_ranks.h"
#include "train/checkpoint_writer.h"
#include "train/tensor_piece.h"

namespace swath::train {

struct Checkpoint {
  std::filesystem::path path;
  int64_t step = 0;
  Json state;             // what save_checkpoint was given
  std::string config;     // resolved TOML
  StoredTensors tensors;  // covered exactly once by their pieces
};

// Reads index.json of one complete checkpoint. Throws Error when it is not complete or damaged.
Checkpoint open_checkpoint(const std::filesystem::path& path);

// Complete checkpoints in `directory`, oldest first. Says on the log what it passes over and why.
std::vector<Checkpoint> list_checkpoints(const std::filesystem::path& directory);

// Whether there is any, complete or damaged. Writing that was interrupted does not count.
bool holds_checkpoints(const std::filesystem::path& directory);

// Reads every piece; with many ranks, each rank its share of the files. Throws Error naming the
// first that is missing, cut short or changed.
void verify_checkpoint(const Checkpoint& checkpoint, const CheckpointRanks& ranks = {});

// The newest complete checkpoint in `directory` whose every checksum is right; says on the log what
// it passes over and why. Ranks share the reading and get the same answer; all must see the same
// directory.
std::optional<Checkpoint> newest_sound_checkpoint(const std::filesystem::path& directory,
                                                  const CheckpointRanks& ranks = {});

// Finds the checkpoint that a user means: a step directory, a run directory (its newest), or the
// newest of a `checkpoints` directory. Throws UsageError when there is none.
Checkpoint find_checkpoint(const std::filesystem::path& path);

// Fills the given pieces, whatever pieces the checkpoint was saved in; of the files only what
// overlaps is read. Names and shapes must agree both ways, so a rank names tensors it has nothing
// of, too; the error says which do not, and from which model the checkpoint is. Only names that
// start with `prefix` are looked at. Values convert to the dtype of the target.
//
// Nothing is written, on any of the ranks, unless everything agrees and every checksum is right: a
// first pass over the files verifies, a second one copies. That reads twice, the second time mostly
// from the page cache, but needs no memory beside the targets.
void load_checkpoint(const Checkpoint& checkpoint, const std::vector<TensorPiece>& pieces,
                     const std::string& prefix = {}, const CheckpointRanks& ranks = {});

// One whole tensor, verified.
at::Tensor read_checkpoint_tensor(const Checkpoint& checkpoint, const std::string& name);

// Deletes checkpoints older than that of `step`, which was written last: keeps the newest
// `keep_last`, it among them, and those whose step is a multiple of `keep_every` (0: none). What an
// interrupted save left behind goes too, so no save may be under way. With many ranks, rank 0 alone
// calls it.
void delete_old_checkpoints(const std::filesystem::path& directory, int64_t step, int64_t keep_last,
                            int64_t keep_every);

}  // namespace swath::train
