#include "train/options.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace swath::train {

void TrainOptions::describe(FieldTable& fields) {
  fields.add("batch_size", &batch_size, "images per optimizer step, over all ranks").at_least(1);
  fields.add("accumulation", &accumulation, "micro-batches per step").at_least(1);
  fields.add("epochs", &epochs, "length of the schedule in passes over the data").at_least(0);
  fields.add("fit_minutes", &fit_minutes, "choose epochs to take this long; 0: use epochs")
      .at_least(0)
      .flag("minutes");
  fields.add("max_minutes", &max_minutes, "stop, with a checkpoint, after this time; 0: no limit")
      .at_least(0);
  fields.add("max_steps", &max_steps, "stop, with a checkpoint, after this step; 0: no limit")
      .at_least(0);
  fields
      .add("test_epochs", &test_epochs,
           "epochs between measurements of the test loss, where there is a test set; 0: only at "
           "the end")
      .at_least(0);
  fields.add("precision", &precision, "of the model's arithmetic; weights are kept in fp32")
      .one_of({"auto", "fp32", "bf16"})
      .flag("precision");
  fields.add("activation_checkpointing", &activation_checkpointing,
             "recompute each block in backward: less memory, a third more work");
  fields.add("clip_norm", &clip_norm, "clip the global gradient norm; 0: no clipping").at_least(0);
  fields.add("ema_decay", &ema_decay, "moving average of the weights; 0: none")
      .at_least(0)
      .at_most(1);
  fields.add("non_finite", &non_finite, "on a NaN or infinite loss or gradient")
      .one_of({"stop", "skip"});
  fields.add("max_skipped_steps", &max_skipped_steps, "non_finite=skip gives up after so many")
      .at_least(0);
  fields.add("log_every", &log_every, "steps between log lines").at_least(1);
  fields
      .add("checkpoint_minutes", &checkpoint_minutes, "time between checkpoints; 0: only the last")
      .at_least(0);
  fields.add("checkpoint_steps", &checkpoint_steps, "steps between checkpoints; 0: by time only")
      .at_least(0);
  fields.add("async_checkpoint", &async_checkpoint,
             "write checkpoints beside the training, from a copy in host memory: weights, moments "
             "and averages once, shared among ranks; false: steps wait for the disk");
  fields.add("keep_last", &keep_last, "complete checkpoints to keep").at_least(1);
  fields.add("keep_every", &keep_every, "also keep those of every so many steps; 0: none")
      .at_least(0);
}

bool may_change_on_resume(const std::string& key) {
  // Where and how long, not what: none of these changes what training computes, beyond the rounding
  // of sums on another device or number of threads.
  constexpr std::array<std::string_view, 21> kFree = {"output",
                                                      "resume",
                                                      "device",
                                                      "threads",
                                                      "train.max_minutes",
                                                      "train.max_steps",
                                                      "train.test_epochs",
                                                      "telemetry_seconds",
                                                      "test_root",
                                                      "test_list",
                                                      "test_limit",
                                                      "train.log_every",
                                                      "train.checkpoint_minutes",
                                                      "train.checkpoint_steps",
                                                      "train.async_checkpoint",
                                                      "train.keep_last",
                                                      "train.keep_every",
                                                      "loader.workers",
                                                      "loader.prefetch_batches",
                                                      "train.non_finite",
                                                      "train.max_skipped_steps"};
  // Any number of ranks and any strategy goes on with what another one began.
  if (key.starts_with("sharding.") && key != "sharding.reduce_precision") return true;
  return std::find(kFree.begin(), kFree.end(), key) != kFree.end();
}

}  // namespace swath::train
