// Saving beside the training: values are copied to host memory, and a thread writes them while the
// next steps run.
//
//   AsyncCheckpointer checkpointer(ranks, [](int64_t step) { ... delete older ones ... });
//   checkpointer.start(directory, step, pieces, state, config);
//   ... steps, and after each of them:
//   if (checkpointer.has_ended()) {
//     for (const SavedCheckpoint& saved : checkpointer.take_saved()) ... log it ...
//   }
//   checkpointer.finish();
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/json.h"
#include "train/checkpoint_writer.h"

namespace swath::train {

struct SavedCheckpoint {
  int64_t step = 0;
  std::filesystem::path path;
  double stall_seconds = 0;  // while the save kept the caller
  double write_seconds = 0;  // to the disk, and after_publishing
};

// Thread rule: one thread calls; all ranks make the same calls of start(), save() and finish(). The
// copy in host memory, as large as the pieces, is kept for the next save.
class AsyncCheckpointer {
 public:
  // ranks.all_agree is called from the writing thread, so its communicator must be used by nothing
  // else. `after_publishing`, if any, runs there too, before another save may begin; an error of it
  // counts as a failed save of this rank.
  explicit AsyncCheckpointer(CheckpointRanks ranks = {},
                             std::function<void(int64_t step)> after_publishing = {});
  // Waits for the save under way; an error that nobody has seen goes to the log.
  ~AsyncCheckpointer();
  AsyncCheckpointer(const AsyncCheckpointer&) = delete;
  AsyncCheckpointer& operator=(const AsyncCheckpointer&) = delete;

  // What save_checkpoint does, from a copy: the pieces may change as soon as this returns. Waits
  // for the save before it and throws its error. Returns the stall: how many seconds passed since
  // `since`, when the caller began to prepare the save, waiting included.
  double start(const std::filesystem::path& directory, int64_t step,
               const std::vector<TensorPiece>& pieces, Json state, std::string config,
               Clock::time_point since = Clock::now());

  // The same without a copy, for pieces that nothing changes meanwhile: when this returns, the
  // checkpoint is there. Throws its error.
  double save(const std::filesystem::path& directory, int64_t step,
              const std::vector<TensorPiece>& pieces, const Json& state, const std::string& config,
              Clock::time_point since = Clock::now());

  // Waits for the save under way. Throws its error.
  void finish();

  // Whether a save that was started is over, well or not, and nobody was told yet. Never waits.
  bool has_ended() const;

  // What was published since the last call. Never waits. Throws the error of a save that failed.
  std::vector<SavedCheckpoint> take_saved();

 private:
  void write(const std::filesystem::path& directory, int64_t step,
             const std::vector<TensorPiece>& pieces, const Json& state, const std::string& config,
             const std::function<double()>& stall_seconds);
  std::vector<TensorPiece> copy_to_host(const std::vector<TensorPiece>& pieces);

  CheckpointRanks ranks_;
  std::function<void(int64_t step)> after_publishing_;
  std::vector<at::Tensor> buffers_;  // one for each piece of the last save
  std::mutex mutex_;                 // guards saved_
  std::vector<SavedCheckpoint> saved_;
  std::future<void> writing_;
};

}  // namespace swath::train
