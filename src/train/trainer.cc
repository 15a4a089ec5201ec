#include "train/trainer.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/memory.h"
#include "sharding/local_parameters.h"

namespace swath::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

sharding::ParameterRule default_rule(const std::string& name, at::IntArrayRef shape) {
  return {optim::is_decayed(name, shape), 1.0};
}

}  // namespace

void OptimOptions::describe(FieldTable& fields) {
  schedule.describe(fields);
  fields.add("warmup_fraction", &warmup_fraction, "warm-up as a share of all epochs; 0: use epochs")
      .at_least(0)
      .at_most(1);
  adamw.describe(fields);
}

// The three measured numbers are copied to the host without waiting; the event says when they are
// there.
struct Trainer::Pending {
  int64_t step = 0;
  double epoch = 0;
  double lr = 0;
  at::Tensor measured;
  std::vector<std::pair<std::string, at::Tensor>> metrics;
  std::vector<uint64_t> sample_ids;
  std::unique_ptr<c10::Event> arrived;

  Pending(StepResult result, int64_t step_number, double at_epoch, double rate)
      : step(step_number),
        epoch(at_epoch),
        lr(rate),
        metrics(std::move(result.metrics)),
        sample_ids(std::move(result.sample_ids)) {
    if (result.measured.is_cpu()) {
      measured = result.measured;
      return;
    }
    measured = at::empty(result.measured.sizes(),
                         at::TensorOptions(at::kFloat).pinned_memory(true));
    measured.copy_(result.measured, /*non_blocking=*/true);
    arrived = std::make_unique<c10::Event>(result.measured.device().type());
    arrived->recordOnce(c10::impl::VirtualGuardImpl(result.measured.device().type())
                            .getStream(result.measured.device()));
  }
  void wait() const {
    if (arrived) arrived->synchronize();
  }
};

class Trainer::Window {
 public:
  explicit Window(double wait_seconds) { restart(wait_seconds); }

  void restart(double wait_seconds) {
    start_ = Clock::now();
    start_wait_ = wait_seconds;
    steps_ = 0;
    loss_sum_ = 0;
  }
  void add(double loss) {
    ++steps_;
    loss_sum_ += loss;
  }
  // Time that went elsewhere (a checkpoint) is not the step's.
  void exclude(Clock::duration duration) { start_ += duration; }
  int64_t steps() const { return steps_; }
  double mean_loss() const { return loss_sum_ / static_cast<double>(std::max<int64_t>(1, steps_)); }
  double seconds() const { return seconds_since(start_); }
  double wait_share(double wait_seconds) const {
    return (wait_seconds - start_wait_) / std::max(1e-9, seconds());
  }
  std::vector<double> rates;  // images per second of each closed window
 private:
  Clock::time_point start_;
  double start_wait_ = 0;
  double loss_sum_ = 0;
  int64_t steps_ = 0;
};

Trainer::Trainer(models::Objective& objective, data::Loader& loader, TrainOptions train,
                 OptimOptions optim, uint64_t seed, c10::Device device,
                 std::filesystem::path directory, const sharding::ParameterRules& rules)
    : objective_(objective),
      loader_(loader),
      train_(std::move(train)),
      optim_(std::move(optim)),
      seed_(seed),
      device_(device),
      directory_(std::move(directory)) {
  const at::ScalarType precision = select_precision(train_.precision, device_);
  objective_.module().to(device_);
  sharding::LocalParameters::Options held;
  held.compute_dtype = precision;
  held.accumulation = train_.accumulation;
  held.activation_checkpointing = train_.activation_checkpointing;
  parameters_ = std::make_unique<sharding::LocalParameters>(
      objective_.module(), held, rules ? rules : sharding::ParameterRules(default_rule));
  optimizer_ = std::make_unique<optim::AdamW>(&parameters_->views(), optim_.adamw);
  step_ = std::make_unique<TrainStep>(
      objective_, *parameters_, *optimizer_,
      TrainStep::Options{train_.batch_size, train_.clip_norm, train_.ema_decay});
  const std::optional<double> published = published_peak_flops(device_, precision);
  peak_flops_are_published_ = published.has_value();
  peak_flops_ = published ? *published : measured_matmul_flops(device_, precision);
  if (train_.batch_size % train_.accumulation != 0) {
    throw UsageError(fmt::format("train.batch_size {} is not a multiple of train.accumulation {}.",
                                 train_.batch_size, train_.accumulation));
  }
  if (steps_per_epoch() < 1) {
    throw UsageError(
        fmt::format("train.batch_size {} is larger than the data: no step would be made.",
                    train_.batch_size),
        "lower train.batch_size.");
  }
}

Trainer::~Trainer() = default;

double Trainer::steps_per_epoch() const {
  return std::floor(static_cast<double>(loader_.batches_per_epoch()) /
                    static_cast<double>(train_.accumulation));
}

int64_t Trainer::total_steps() const {
  return std::max<int64_t>(1, std::llround(train_.epochs * steps_per_epoch()));
}

optim::ScheduleOptions Trainer::schedule() const {
  optim::ScheduleOptions schedule = optim_.schedule;
  if (optim_.warmup_fraction > 0) schedule.warmup_epochs = optim_.warmup_fraction * train_.epochs;
  return schedule;
}

double Trainer::learning_rate() const {
  const double peak = optim::peak_learning_rate(schedule(), static_cast<double>(train_.batch_size));
  return optim::learning_rate_at(
      schedule(), peak, static_cast<double>(steps_done_) / steps_per_epoch(), train_.epochs);
}

NamedTensors Trainer::state_tensors() const {
  NamedTensors tensors;
  const std::vector<ParamView>& views = parameters_->views();
  for (const ParamView& view : views) {
    const ParamSegment& segment = view.segments.front();
    tensors.emplace_back("model/" + segment.name, view.local.view(segment.shape));
  }
  for (const auto& [name, frozen] : parameters_->named_frozen()) {
    tensors.emplace_back("model/" + name, frozen);
  }
  for (const auto& [name, state] : optimizer_->named_state()) {
    tensors.emplace_back("optimizer/" + name, state);
  }
  for (size_t i = 0; i < step_->averages().size(); ++i) {
    const ParamSegment& segment = views[i].segments.front();
    tensors.emplace_back("ema/" + segment.name, step_->averages()[i].view(segment.shape));
  }
  return tensors;
}

void Trainer::resume(const Checkpoint& checkpoint) {
  const Json& data = checkpoint.state.at("data");
  if (const auto samples = data.at("samples").get<int64_t>(); samples != loader_.samples()) {
    throw UsageError(
        fmt::format("checkpoint {} was made over {} samples, the data has {} now.",
                    checkpoint.path.string(), samples, loader_.samples()),
        "bring the data back as it was, or start anew with resume=none and another output.");
  }
  load_checkpoint(checkpoint, pieces_of(state_tensors()));
  parameters_->publish();
  steps_done_ = checkpoint.step;
  last_saved_step_ = checkpoint.step;
  summary_.checkpoint = checkpoint.path.string();
  summary_.loss = checkpoint.state.value("loss", 0.0);
  summary_.skipped_steps = checkpoint.state.value("skipped_steps", int64_t{0});
  train_.epochs = checkpoint.state.at("epochs");
  loader_.seek({data.at("epoch"), data.at("next_sample")});
}

double Trainer::fit_epochs(double minutes) {
  const data::DataPosition start = loader_.position();
  std::vector<double> seconds;
  for (int i = 0; i < 8; ++i) {
    stop_if_interrupted("timing the first steps");
    const auto begin = Clock::now();
    for (int64_t micro = 0; micro < train_.accumulation; ++micro) step_->rehearse(loader_.next());
    synchronize(device_);
    // The first ones warm up, and find batches that were decoded before.
    if (i >= 3) seconds.push_back(seconds_since(begin));
  }
  loader_.seek(start);
  // The update itself was not rehearsed: a few per cent are left for it.
  const double steps = 0.95 * minutes * 60 / median(seconds);
  train_.epochs = std::max(1.0, std::floor(steps / steps_per_epoch()));
  return train_.epochs;
}

std::string Trainer::reason_to_stop() const {
  if (const int signal = interrupt_signal(); signal != 0) return fmt::format("signal {}", signal);
  if (steps_done_ >= total_steps()) return "epochs";
  if (train_.max_steps > 0 && steps_done_ >= train_.max_steps) return "max_steps";
  if (train_.max_minutes > 0 && seconds_since(start_) >= train_.max_minutes * 60) {
    return "max_minutes";
  }
  return {};
}

bool Trainer::checkpoint_is_due() const {
  if (train_.checkpoint_steps > 0 && steps_done_ % train_.checkpoint_steps == 0) return true;
  return train_.checkpoint_minutes > 0 &&
         seconds_since(last_save_) >= train_.checkpoint_minutes * 60;
}

TrainSummary Trainer::run(const std::string& config, const Json& header) {
  const double warmup_epochs = schedule().warmup_epochs;
  if (warmup_epochs > 0 && warmup_epochs >= train_.epochs) {
    throw UsageError(fmt::format("optim.warmup_epochs {} leaves nothing of train.epochs {}.",
                                 warmup_epochs, train_.epochs),
                     "lower it, or use optim.warmup_fraction.");
  }
  summary_.steps = steps_done_;
  if (steps_done_ > 0 && steps_done_ >= total_steps()) {
    summary_.reason = "epochs";
    return summary_;
  }
  config_ = config;
  log_ = std::make_unique<RunLog>(directory_, steps_done_);
  Json opening = header;
  opening["peak_flops"] = peak_flops_;
  opening["peak_flops_are"] = peak_flops_are_published_ ? "published" : "measured";
  log_->write("run", opening);
  window_ = std::make_unique<Window>(loader_.wait_seconds());
  start_ = last_save_ = Clock::now();
  start_wait_seconds_ = loader_.wait_seconds();
  reset_peak_memory(device_);

  while ((summary_.reason = reason_to_stop()).empty()) {
    const double lr = learning_rate();
    const double epoch = static_cast<double>(steps_done_) / steps_per_epoch();
    StepResult result = step_->run([this] { return loader_.next(); }, lr);
    pending_.emplace_back(std::move(result), ++steps_done_, epoch, lr);
    // On a GPU the numbers of the step before are there by now: nobody waits.
    inspect_finished_steps(device_.is_cpu() ? 0 : 1);
    if (checkpoint_is_due()) save();
  }
  inspect_finished_steps(0);
  if (window_->steps() > 0) write_step_line();
  if (last_saved_step_ != steps_done_) save();
  end_progress();

  summary_.steps = steps_done_;
  summary_.seconds = seconds_since(start_);
  summary_.data_wait =
      (loader_.wait_seconds() - start_wait_seconds_) / std::max(1e-9, summary_.seconds);
  summary_.images_per_second = median(window_->rates);
  summary_.peak_memory_bytes = memory_stats(device_).peak_bytes;
  summary_.signal = interrupt_signal();
  log_->write("end", {{"steps", summary_.steps},
                      {"loss", summary_.loss},
                      {"seconds", summary_.seconds},
                      {"images_per_second", summary_.images_per_second},
                      {"data_wait", summary_.data_wait},
                      {"peak_memory_bytes", summary_.peak_memory_bytes},
                      {"skipped_steps", summary_.skipped_steps},
                      {"skipped_samples", loader_.skipped_samples()},
                      {"reason", summary_.reason}});
  return summary_;
}

void Trainer::inspect_finished_steps(size_t leave) {
  while (pending_.size() > leave) {
    const Pending pending = std::move(pending_.front());
    pending_.pop_front();
    pending.wait();
    inspect(pending);
  }
}

void Trainer::inspect(const Pending& pending) {
  const float* measured = pending.measured.const_data_ptr<float>();
  const double loss = measured[0];
  const double norm = measured[1];
  if (measured[2] != 0) {
    const std::string what = std::isfinite(loss) ? "gradient norm" : "loss";
    const std::string message =
        fmt::format("step {}: the {} is not finite (loss {}, gradient norm {}); samples {}.",
                    pending.step, what, loss, norm, fmt::join(pending.sample_ids, ", "));
    log_->write("event", {{"message", message}});
    ++summary_.skipped_steps;
    if (train_.non_finite == "stop" || summary_.skipped_steps > train_.max_skipped_steps) {
      throw Error(message,
                  "the weights were not touched by this step; look at the samples, lower the "
                  "learning rate, clip (train.clip_norm), or go on with train.non_finite=skip.");
    }
    log_warning(message + " The step was skipped.");
    return;
  }
  window_->add(loss);
  summary_.loss = window_->mean_loss();
  last_step_ = {{"step", pending.step},
                {"epoch", pending.epoch},
                {"loss", window_->mean_loss()},
                {"lr", pending.lr},
                {"grad_norm", norm}};
  last_metrics_ = pending.metrics;
  if (pending.step % train_.log_every == 0 || pending.step == 1) write_step_line();
}

void Trainer::write_step_line() {
  const double step_seconds = window_->seconds() / static_cast<double>(window_->steps());
  const double rate = static_cast<double>(train_.batch_size) / step_seconds;
  window_->rates.push_back(rate);
  const MemoryStats memory = memory_stats(device_);
  Json line = last_step_;
  for (const auto& [name, value] : last_metrics_) line[name] = value.item<double>();
  line.update({{"images_per_second", rate},
               {"step_seconds", step_seconds},
               {"data_wait", window_->wait_share(loader_.wait_seconds())},
               {"mfu", objective_.spec().train_flops * rate / peak_flops_},
               {"allocated_bytes", memory.allocated_bytes},
               {"peak_bytes", memory.peak_bytes}});
  log_->step(line, total_steps(), remaining_seconds(line.at("step")));
  window_->restart(loader_.wait_seconds());
}

double Trainer::remaining_seconds(int64_t step) const {
  const int64_t last =
      train_.max_steps > 0 ? std::min(total_steps(), train_.max_steps) : total_steps();
  const double seconds = static_cast<double>(last - step) * static_cast<double>(train_.batch_size) /
                         median(window_->rates);
  if (train_.max_minutes <= 0) return seconds;
  return std::min(seconds, train_.max_minutes * 60 - seconds_since(start_));
}

// The gate looks at losses and gradients; an update may still overflow.
void Trainer::check_weights_are_finite() const {
  const at::NoGradGuard no_grad;
  for (const ParamView& view : parameters_->views()) {
    if (at::isfinite(view.local).all().item<bool>()) continue;
    throw Error(fmt::format("step {}: the weight {} is not finite; no checkpoint is written.",
                            steps_done_, view.segments.front().name),
                "lower the learning rate and resume from the last checkpoint.");
  }
}

void Trainer::save() {
  inspect_finished_steps(0);  // a non-finite step is known before anything is published
  check_weights_are_finite();
  const auto begin = Clock::now();
  const data::DataPosition position = loader_.position();
  const Json state = {
      {"seed", seed_},
      {"epochs", train_.epochs},
      {"loss", summary_.loss},
      {"skipped_steps", summary_.skipped_steps},
      {"data",
       {{"epoch", position.epoch},
        {"next_sample", position.next_sample},
        {"samples", loader_.samples()}}},
      {"random", "counter based: every draw is a function of seed, purpose, epoch and sample id"}};
  const std::filesystem::path path =
      save_checkpoint(directory_ / "checkpoints", steps_done_, pieces_of(state_tensors()), state,
                      config_);
  delete_old_checkpoints(directory_ / "checkpoints", steps_done_, train_.keep_last,
                         train_.keep_every);
  summary_.checkpoint = path.string();
  last_saved_step_ = steps_done_;
  last_save_ = Clock::now();
  window_->exclude(last_save_ - begin);
  log_->write("checkpoint",
              {{"step", steps_done_}, {"path", path.string()}, {"seconds", seconds_since(begin)}});
}

}  // namespace swath::train
