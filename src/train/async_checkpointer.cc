#include "train/async_checkpointer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <exception>
#include <utility>

#include "core/log.h"
#include "core/tensor/device.h"

namespace swath::train {
AsyncCheckpointer::AsyncCheckpointer(CheckpointRanks ranks,
                                     std::function<void(int64_t step)> after_publishing)
    : ranks_(std::move(ranks)), after_publishing_(std::move(after_publishing)) {}

AsyncCheckpointer::~AsyncCheckpointer() {
  try {
    finish();
  } catch (const std::exception& error) {
    log_warning(fmt::format("a checkpoint was not written: {}", error.what()));
  }
}

double AsyncCheckpointer::start(const std::filesystem::path& directory, int64_t step,
                                const std::vector<TensorPiece>& pieces, Json state,
                                std::string config, Clock::time_point since) {
  finish();
  std::vector<TensorPiece> host_pieces = copy_to_host(pieces);
  const double stall_seconds = seconds_since(since);
  writing_ = std::async(std::launch::async, [this, directory, step, stall_seconds,
                                             host_pieces = std::move(host_pieces),
                                             state = std::move(state), config = std::move(config)] {
    write(directory, step, host_pieces, state, config, [stall_seconds] { return stall_seconds; });
  });
  return stall_seconds;
}

double AsyncCheckpointer::save(const std::filesystem::path& directory, int64_t step,
                               const std::vector<TensorPiece>& pieces, const Json& state,
                               const std::string& config, Clock::time_point since) {
  finish();
  write(directory, step, pieces, state, config, [since] { return seconds_since(since); });
  return seconds_since(since);
}

void AsyncCheckpointer::write(const std::filesystem::path& directory, int64_t step,
                              const std::vector<TensorPiece>& pieces, const Json& state,
                              const std::string& config,
                              const std::function<double()>& stall_seconds) {
  const auto begin = Clock::now();
  const std::filesystem::path path =
      save_checkpoint(directory, step, pieces, state, config, ranks_);
  if (after_publishing_) after_publishing_(step);
  const std::lock_guard lock(mutex_);
  saved_.push_back({step, path, stall_seconds(), seconds_since(begin)});
}

void AsyncCheckpointer::finish() {
  if (writing_.valid()) writing_.get();
}

bool AsyncCheckpointer::has_ended() const {
  return writing_.valid() &&
         writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

std::vector<SavedCheckpoint> AsyncCheckpointer::take_saved() {
  if (has_ended()) finish();
  const std::lock_guard lock(mutex_);
  return std::exchange(saved_, {});
}

std::vector<TensorPiece> AsyncCheckpointer::copy_to_host(const std::vector<TensorPiece>& pieces) {
  const at::NoGradGuard no_grad;
  std::vector<TensorPiece> host_pieces = pieces;
  buffers_.resize(pieces.size());
  c10::Device device = at::kCPU;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const at::Tensor& values = pieces[i].values;
    if (pieces[i].numel() == 0) continue;
    at::Tensor& buffer = buffers_[i];
    // Pinned memory lets copies from a GPU run one behind the other, with one wait for all.
    const bool is_pinned = values.is_cuda();
    if (!buffer.defined() || buffer.sizes() != values.sizes() ||
        buffer.scalar_type() != values.scalar_type()) {
      buffer = at::empty(values.sizes(),
                         at::TensorOptions(values.scalar_type()).pinned_memory(is_pinned));
    }
    buffer.copy_(values, /*non_blocking=*/is_pinned);
    if (is_pinned) device = values.device();
    host_pieces[i].values = buffer;
  }
  synchronize(device);
  return host_pieces;
}

}  // namespace swath::train
