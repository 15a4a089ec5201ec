// Checkpoints that are complete or absent.
//
// checkpoints/step_00001200/
//   rank_00000.safetensors   tensors under their names ("model/blocks.0.norm1.weight",
//                            "optimizer/exp_avg/...", "ema/...")
//   index.json               every tensor's file, dtype, shape, byte length and XXH3; the run's
//                            state (step, data position ...) and its resolved configuration
//   COMPLETE                 written last; the directory then gets its name by a rename
//
// A directory without COMPLETE, or under another name, is never read. Loading verifies every
// checksum.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/tensor/tensor_io.h"

namespace swath::train {

struct Checkpoint {
  std::filesystem::path path;
  int64_t step = 0;
  Json state;          // what save_checkpoint was given
  std::string config;  // resolved TOML
  Json tensors;        // name -> {file, dtype, shape, bytes, xxh3}
};

// Writes `directory`/step_N and returns its path. Throws Error on a full disk, naming path, needed
// and free bytes; nothing older is touched and nothing partial stays.
std::filesystem::path save_checkpoint(const std::filesystem::path& directory, int64_t step,
                                      const NamedTensors& tensors, const Json& state,
                                      const std::string& config);

// Reads index.json of one complete checkpoint. Throws Error when it is not complete.
Checkpoint open_checkpoint(const std::filesystem::path& path);

// Complete checkpoints in `directory`, oldest first. Says on the log what it passes over and why.
std::vector<Checkpoint> list_checkpoints(const std::filesystem::path& directory);

// Reads every tensor. Throws Error naming the first that is missing, cut short or changed.
void verify_checkpoint(const Checkpoint& checkpoint);

// The newest complete checkpoint in `directory` whose every checksum is right; says on the log what
// it passes over and why.
std::optional<Checkpoint> newest_sound_checkpoint(const std::filesystem::path& directory);

// Finds the checkpoint that a user means: a step directory, a run directory (its newest), or the
// newest of a `checkpoints` directory. Throws UsageError when there is none.
Checkpoint find_checkpoint(const std::filesystem::path& path);

// Copies into the given tensors, by name. Names and shapes must agree both ways; the error says
// which do not, and from which model the checkpoint is. Only names that start with `prefix` are
// looked at. Nothing is written unless everything agrees and every checksum is right.
void load_checkpoint(const Checkpoint& checkpoint, const NamedTensors& tensors,
                     const std::string& prefix = {});

// One tensor, verified.
at::Tensor read_checkpoint_tensor(const Checkpoint& checkpoint, const std::string& name);

// Deletes checkpoints older than that of `step`, which was written last: keeps the newest
// `keep_last`, it among them, and those whose step is a multiple of `keep_every` (0: none). What an
// interrupted save left behind goes too, so no save may be under way.
void delete_old_checkpoints(const std::filesystem::path& directory, int64_t step, int64_t keep_last,
                            int64_t keep_every);

}  // namespace swath::train
