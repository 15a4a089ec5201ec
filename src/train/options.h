// Settings of a training run that are neither model, data nor optimizer.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"

namespace swath::train {

struct TrainOptions {
  int64_t batch_size = 64;   // global: all ranks, all micro-batches of a step
  int64_t accumulation = 1;  // micro-batches per step
  double epochs = 100;       // length of the schedule
  double fit_minutes = 0;    // > 0: chooses `epochs` so that training takes about this long
  double max_minutes = 0;    // > 0: stops after this time, with a checkpoint
  int64_t max_steps = 0;     // > 0: stops after this many steps, with a checkpoint
  int64_t test_epochs = 1;   // between measurements of the loss on test samples; 0: at the end only
  std::string precision = "auto";
  bool activation_checkpointing = false;
  double clip_norm = 0;  // 0: no clipping
  double ema_decay = 0;  // 0: no moving average
  std::string non_finite = "stop";
  int64_t max_skipped_steps = 10;
  int64_t log_every = 10;
  double checkpoint_minutes = 10;
  int64_t checkpoint_steps = 0;  // additionally every so many steps; 0: not
  bool async_checkpoint = true;  // writes from a copy in host memory, beside the next steps
  int64_t keep_last = 2;
  int64_t keep_every = 0;  // keep each checkpoint whose step is a multiple; 0: none

  void describe(FieldTable& fields);
};

// Keys that a resumed run may change without becoming another run.
bool may_change_on_resume(const std::string& key);

}  // namespace swath::train
