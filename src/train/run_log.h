// What a run tells while it goes: log.jsonl, TensorBoard events and one progress line.
//
// log.jsonl holds one JSON object per line, each with "kind" and "time" (seconds since 1970):
//   run         command, machine, device, precision, model, data ... (once per start); peak_flops:
//               the dense peak that the device's maker publishes, or where none is known the
//               measured rate of a large matrix product; peak_flops_are: "published", "measured"
//   step        step, epoch, loss, lr, grad_norm, images_per_second, step_seconds, data_wait,
//               mfu (the FLOPs that the model needs, recomputation not counted, as a share of
//               peak_flops), allocated_bytes, peak_bytes, watts and utilisation of the lead's
//               device (means since the last such line) where it tells them, and the objective's
//               metrics
//   epoch       at the end of each: step, epoch, seconds (of training and its saves; of epochs
//               begun in this process), test_loss where it was measured; once more at the end of a
//               run
//   checkpoint  step, path, stall_seconds (while the save kept the training: preparing, copying,
//               waiting for the save before it), write_seconds (to the disk, beside the training or
//               not); written when it is complete
//   event       message
//   end         steps, loss, test_loss, seconds, images_per_second, peak_memory_bytes, reason;
//               checkpoint_stall_seconds, checkpoint_write_seconds: sums of this process;
//               telemetry: totals of the lead's device (core/telemetry.h), or why there are none
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "core/json.h"
#include "core/tensorboard.h"

namespace swath::train {

class RunLog {
 public:
  // Creates the directory. Appends: a resumed run goes on in the same file, after `steps_done`
  // steps. What a killed process wrote beyond them is void in TensorBoard; in log.jsonl the later
  // line of a step counts.
  explicit RunLog(const std::filesystem::path& directory, int64_t steps_done = 0);

  // Adds "kind" and "time" and writes the line at once, so that a killed run loses nothing.
  void write(const std::string& kind, const Json& fields);

  // A step line, also as TensorBoard scalars and on the progress line.
  void step(const Json& fields, int64_t total_steps, double remaining_seconds);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
  EventWriter events_;
};

}  // namespace swath::train
