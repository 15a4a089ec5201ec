#include "train/checkpoint_ranks.h"

#include <exception>

#include "core/error.h"

namespace swath::train {

void CheckpointRanks::together(const std::function<void()>& action,
                               const std::function<std::string()>& failure_elsewhere) const {
  std::exception_ptr error;
  try {
    action();
  } catch (...) {
    error = std::current_exception();
  }
  std::string elsewhere;
  try {
    if (agree(error == nullptr)) return;
    if (!error) elsewhere = failure_elsewhere();
    agree(false);
  } catch (...) {
    // A rank is gone; what went wrong here first says more.
    if (!error) throw;
  }
  if (error) std::rethrow_exception(error);
  throw Error(elsewhere, "the error of that rank says why.");
}

}  // namespace swath::train
