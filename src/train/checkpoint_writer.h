// Saving a checkpoint: every rank writes what it holds, at the same time, and nothing is gathered.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "train/checkpoint_ranks.h"
#include "train/tensor_piece.h"

namespace swath::train {

// Writes `directory`/step_N and returns its path. All ranks call it with their pieces; together
// these must cover every tensor exactly once, those included that rank 0 only names. `state` and
// `config` count on rank 0. Values of a GPU pass through the host one piece at a time.
//
// An error on one rank is an error on all of them (CheckpointRanks::together); nothing is published
// or left behind then, and no older checkpoint is touched. Throws Error for a full disk, naming
// path, needed and free bytes, and for tensors with holes or overlaps, naming tensor and elements.
std::filesystem::path save_checkpoint(const std::filesystem::path& directory, int64_t step,
                                      const std::vector<TensorPiece>& pieces, const Json& state,
                                      const std::string& config, const CheckpointRanks& ranks = {});

}  // namespace swath::train
