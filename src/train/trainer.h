// The training loop: schedule, steps, logs, checkpoints, signals, ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "core/json.h"
#include "core/tensor/device_telemetry.h"
#include "data/loader.h"
#include "models/objective.h"
#include "optim/adamw.h"
#include "optim/schedule.h"
#include "sharding/communicator.h"
#include "sharding/options.h"
#include "sharding/parameters.h"
#include "train/async_checkpointer.h"
#include "train/checkpoint.h"
#include "train/options.h"
#include "train/run_log.h"
#include "train/step.h"

namespace swath::train {

struct OptimOptions {
  optim::ScheduleOptions schedule;
  optim::AdamWOptions adamw;
  double warmup_fraction = 0;  // > 0: of the epochs, instead of warmup_epochs

  void describe(FieldTable& fields);
};

struct TrainSummary {
  int64_t steps = 0;
  double loss = 0;               // mean over the last log window
  double images_per_second = 0;  // median over log windows
  double seconds = 0;            // of training in this process
  double data_wait = 0;          // share of that time
  int64_t peak_memory_bytes = 0;
  int64_t skipped_steps = 0;            // since the run began, resumed or not
  std::string checkpoint;               // path of the last one
  double checkpoint_stall_seconds = 0;  // while saving kept the training in this process
  double checkpoint_write_seconds = 0;  // of writing, beside the training or not
  std::optional<double> test_loss;      // of the last measurement
  Json telemetry;                       // totals of record(); null: there was none
  std::string reason;                   // "epochs", "max_minutes", "max_steps" or "signal N"
  int signal = 0;
};

class Trainer {
 public:
  // `directory` receives log.jsonl, events and checkpoints/. References outlive the trainer.
  // `rules` decide weight decay and learning-rate scale by parameter name. With `groups`, all ranks
  // construct it alike, over loaders of their own part of the data.
  Trainer(models::Objective& objective, data::Loader& loader, TrainOptions train,
          OptimOptions optim, uint64_t seed, c10::Device device, std::filesystem::path directory,
          const sharding::ParameterRules& rules = {}, sharding::ProcessGroups* groups = nullptr,
          const sharding::ShardingOptions& sharding = {});
  ~Trainer();

  // Also measures the loss on the samples of `test`, which training does not see: its first epoch,
  // the same each time. Every train.test_epochs and at the end, unless a signal ends the run. All
  // ranks alike, each over its part of whole batches.
  void measure_on(data::Loader& test) { test_ = &test; }

  // The device's readings go into every step line, their totals into the last line. Of the lead.
  void record(DeviceTelemetry& telemetry) { telemetry_ = &telemetry; }

  // Continues from a checkpoint: weights, moments, averages, step and data position.
  void resume(const Checkpoint& checkpoint);

  // Chooses the number of epochs so that training takes `minutes`, by timing a few steps that leave
  // no trace. Returns it; the caller saves it with the configuration.
  double fit_epochs(double minutes);

  // Trains to the end of the schedule, a limit or a signal; the last checkpoint is written in every
  // case, and complete when this returns. With an error the save under way is completed, too; an
  // error of saving ends the run, at the same step on all ranks. A run that is resumed at its end
  // makes no step and writes nothing. Throws UsageError when the schedule is all warm-up.
  // `config` is the resolved configuration, stored in checkpoints; `header` opens the log.
  TrainSummary run(const std::string& config, const Json& header);

  // "one process", or the strategy and its ranks.
  std::string parallelism() const;

 private:
  struct Pending;  // a step whose numbers are still on their way from the device
  class Window;    // what happened since the last log line

  int64_t total_steps() const;
  double steps_per_epoch() const;
  double epochs_done() const;
  bool is_between_epochs() const;
  optim::ScheduleOptions schedule() const;
  double learning_rate() const;
  std::string reason_to_stop() const;
  int signal_to_stop() const;
  bool checkpoint_is_due() const;
  void check_weights_are_finite() const;
  void train();
  void end_epoch();
  double measure_test_loss();
  // `goes_on`: more steps follow, which may run while it is written.
  void save(bool goes_on);
  bool save_has_ended() const;
  void note_saved_checkpoints();
  void complete_save_after_error();
  Json finish_telemetry();
  void inspect_finished_steps(size_t leave);
  void inspect(const Pending& pending);
  std::string origin_of_non_finite(const Pending& pending) const;
  void log(const std::string& kind, const Json& fields);
  void write_step_line();
  // Until the schedule or a limit ends the run, at the rate measured so far.
  double remaining_seconds(int64_t step) const;
  bool is_lead() const { return parameters_->rank() == 0; }
  // What ranks have to agree on, summed over them within the step: whether one was told to stop,
  // the lead's time is over, the lead's next checkpoint is due, its save under way is over.
  std::vector<float> votes() const;
  CheckpointRanks checkpoint_ranks() const;  // for the training thread
  // Everything that a checkpoint holds. `for_saving`: each value on one rank only.
  std::vector<TensorPiece> state_pieces(bool for_saving) const;

  models::Objective& objective_;
  data::Loader& loader_;
  data::Loader* test_ = nullptr;
  DeviceTelemetry* telemetry_ = nullptr;
  TrainOptions train_;
  OptimOptions optim_;
  uint64_t seed_;
  c10::Device device_;
  std::filesystem::path directory_;

  std::unique_ptr<sharding::Communicator> agreement_;  // null: one process
  // Of the thread that writes checkpoints; null: one process, or there is no such thread.
  std::unique_ptr<sharding::Communicator> agreement_of_saves_;
  std::unique_ptr<sharding::Parameters> parameters_;
  std::string parallelism_ = "one process";
  std::unique_ptr<optim::AdamW> optimizer_;
  std::unique_ptr<TrainStep> step_;
  std::unique_ptr<AsyncCheckpointer> checkpointer_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<Window> window_;
  std::deque<Pending> pending_;
  // The newest step whose numbers are known; its metrics are still on the device.
  Json last_step_;
  std::vector<std::pair<std::string, at::Tensor>> last_metrics_;

  std::vector<float> agreed_;  // votes of the newest step whose numbers are known
  std::string config_;
  int64_t steps_done_ = 0;
  int64_t last_saved_step_ = -1;  // or whose save is under way
  int64_t last_tested_step_ = -1;
  Json last_epoch_;  // the line of an epoch that ends the run; null: none is open
  std::optional<std::chrono::steady_clock::time_point> epoch_start_;  // if in this process
  double peak_flops_ = 0;
  bool peak_flops_are_published_ = false;
  double start_wait_seconds_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_save_;
  TrainSummary summary_;
};

}  // namespace swath::train
