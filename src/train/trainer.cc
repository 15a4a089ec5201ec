#include "train/trainer.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <optional>
#include <set>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/memory.h"
#include "train/hold_parameters.h"

namespace swath::train {
namespace {

// Places in Trainer::votes().
enum Vote : size_t { kToldToStop, kTimeIsOver, kSaveIsDue, kSaveHasEnded, kNumVotes };

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

// Ranks that agree through `group` (null: a single one). On a GPU a thread beside the training
// needs a stream of its own: on the computation's, its sums would stand between others in another
// order on each rank.
CheckpointRanks ranks_of(sharding::Communicator* group, c10::Device device,
                         std::optional<c10::Stream> own_stream) {
  CheckpointRanks ranks;
  if (group == nullptr) return ranks;
  ranks.rank = group->rank();
  ranks.size = group->size();
  ranks.all_agree = [group, device, own_stream](bool is_well) {
    std::optional<c10::StreamGuard> guard;
    if (own_stream) guard.emplace(*own_stream);
    const at::Tensor problems =
        at::full({1}, is_well ? 0.0F : 1.0F, at::TensorOptions(at::kFloat).device(device));
    group->all_reduce(problems, "agreeing on a checkpoint");
    return problems.item<float>() == 0;
  };
  return ranks;
}

std::optional<c10::Stream> new_stream(c10::Device device) {
  if (device.is_cpu()) return std::nullopt;
  return c10::impl::VirtualGuardImpl(device.type())
      .getStreamFromGlobalPool(device, /*isHighPriority=*/false);
}

}  // namespace

void OptimOptions::describe(FieldTable& fields) {
  schedule.describe(fields);
  fields.add("warmup_fraction", &warmup_fraction, "warm-up as a share of all epochs; 0: use epochs")
      .at_least(0)
      .at_most(1);
  adamw.describe(fields);
}

// The measured numbers are copied to the host without waiting; the event says when they are
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
    measured =
        at::empty(result.measured.sizes(), at::TensorOptions(at::kFloat).pinned_memory(true));
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
                 std::filesystem::path directory, const sharding::ParameterRules& rules,
                 sharding::ProcessGroups* groups, const sharding::ShardingOptions& sharding)
    : objective_(objective),
      loader_(loader),
      train_(std::move(train)),
      optim_(std::move(optim)),
      seed_(seed),
      device_(device),
      directory_(std::move(directory)) {
  const at::ScalarType precision = select_precision(train_.precision, device_);
  if (is_sharded(groups)) {
    agreement_ = groups->make_world_group("agreement");
    if (train_.async_checkpoint) agreement_of_saves_ = groups->make_world_group("checkpoints");
    parallelism_ = to_text(make_strategy(sharding.strategy, groups->world_size()));
  }
  parameters_ = hold_parameters(
      objective_, {precision, device_, train_.accumulation, train_.activation_checkpointing},
      sharding, groups, rules);
  optimizer_ = std::make_unique<optim::AdamW>(&parameters_->views(), optim_.adamw);
  step_ = std::make_unique<TrainStep>(
      objective_, *parameters_, *optimizer_,
      TrainStep::Options{train_.batch_size, train_.clip_norm, train_.ema_decay});
  std::function<void(int64_t step)> delete_old;
  if (is_lead()) {
    delete_old = [saves = directory_ / "checkpoints", keep_last = train_.keep_last,
                  keep_every = train_.keep_every](int64_t step) {
      delete_old_checkpoints(saves, step, keep_last, keep_every);
    };
  }
  checkpointer_ = std::make_unique<AsyncCheckpointer>(
      agreement_of_saves_ ? ranks_of(agreement_of_saves_.get(), device_, new_stream(device_))
                          : checkpoint_ranks(),
      std::move(delete_old));
  const std::optional<double> published = published_peak_flops(device_, precision);
  peak_flops_are_published_ = published.has_value();
  peak_flops_ = published ? *published : measured_matmul_flops(device_, precision);
  peak_flops_ *= static_cast<double>(parameters_->world_size());
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

double Trainer::epochs_done() const { return static_cast<double>(steps_done_) / steps_per_epoch(); }

bool Trainer::is_between_epochs() const {
  return std::fmod(static_cast<double>(steps_done_), steps_per_epoch()) == 0;
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
  return optim::learning_rate_at(schedule(), peak, epochs_done(), train_.epochs);
}

std::string Trainer::parallelism() const { return parallelism_; }

std::vector<TensorPiece> Trainer::state_pieces(bool for_saving) const {
  // 1. What is laid out like the parameters.
  std::vector<TensorPiece> pieces;
  std::set<std::string> held;
  const std::vector<ParamView>& views = parameters_->views();
  for (size_t i = 0; i < views.size(); ++i) {
    append_pieces("model/", views[i], views[i].local, &pieces);
    append_pieces("optimizer/exp_avg/", views[i], optimizer_->exp_avgs()[i], &pieces);
    append_pieces("optimizer/exp_avg_sq/", views[i], optimizer_->exp_avg_sqs()[i], &pieces);
    if (!step_->averages().empty()) {
      append_pieces("ema/", views[i], step_->averages()[i], &pieces);
    }
    for (const ParamSegment& segment : views[i].segments) held.insert(segment.name);
  }
  if (for_saving) {
    pieces = share_of_replica(std::move(pieces), parameters_->replica(), parameters_->replicas());
  }

  // 2. Parameters that lie on other ranks altogether: their names belong to the state.
  for (const auto& item : objective_.module().named_parameters()) {
    if (!item.value().requires_grad() || held.contains(item.key())) continue;
    for (const char* prefix : {"model/", "optimizer/exp_avg/", "optimizer/exp_avg_sq/", "ema/"}) {
      if (prefix == std::string("ema/") && step_->averages().empty()) continue;
      pieces.push_back({prefix + item.key(), item.value().sizes().vec(), 0, {}});
    }
  }

  // 3. What every rank has whole.
  NamedTensors whole = {{"optimizer/step", optimizer_->step_count()}};
  for (const auto& [name, frozen] : parameters_->named_frozen()) {
    whole.emplace_back("model/" + name, frozen);
  }
  for (TensorPiece& piece : pieces_of(whole)) {
    if (for_saving && !is_lead()) piece.values = at::Tensor();
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

CheckpointRanks Trainer::checkpoint_ranks() const {
  return ranks_of(agreement_.get(), device_, std::nullopt);
}

std::vector<float> Trainer::votes() const {
  if (!agreement_) return {};
  const bool is_told_to_stop = interrupt_signal() != 0;
  const bool is_over = train_.max_minutes > 0 && seconds_since(start_) >= train_.max_minutes * 60;
  const bool is_save_due =
      train_.checkpoint_minutes > 0 && seconds_since(last_save_) >= train_.checkpoint_minutes * 60;
  return {is_told_to_stop ? 1.0F : 0.0F, is_lead() && is_over ? 1.0F : 0.0F,
          is_lead() && is_save_due ? 1.0F : 0.0F, checkpointer_->has_ended() ? 1.0F : 0.0F};
}

void Trainer::resume(const Checkpoint& checkpoint) {
  const Json& data = checkpoint.state.at("data");
  if (const auto samples = data.at("samples").get<int64_t>(); samples != loader_.samples()) {
    throw UsageError(
        fmt::format("checkpoint {} was made over {} samples, the data has {} now.",
                    checkpoint.path.string(), samples, loader_.samples()),
        "bring the data back as it was, or start anew with resume=none and another output.");
  }
  load_checkpoint(checkpoint, state_pieces(false), {}, checkpoint_ranks());
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
  at::Tensor step_seconds = at::zeros({1}, at::TensorOptions(at::kFloat).device(device_));
  if (is_lead()) step_seconds.fill_(median(seconds));
  parameters_->sum_over_ranks(step_seconds);  // the lead's clock counts
  const double steps = 0.95 * minutes * 60 / step_seconds.item<double>();
  train_.epochs = std::max(1.0, std::floor(steps / steps_per_epoch()));
  return train_.epochs;
}

std::string Trainer::reason_to_stop() const {
  if (const int signal = signal_to_stop(); signal != 0) return fmt::format("signal {}", signal);
  if (steps_done_ >= total_steps()) return "epochs";
  if (train_.max_steps > 0 && steps_done_ >= train_.max_steps) return "max_steps";
  const bool is_over =
      agreement_ ? agreed_[kTimeIsOver] > 0
                 : train_.max_minutes > 0 && seconds_since(start_) >= train_.max_minutes * 60;
  return is_over ? "max_minutes" : "";
}

// Ranks stop together: at the step in which one of them had the signal.
int Trainer::signal_to_stop() const {
  if (!agreement_) return interrupt_signal();
  if (agreed_[kToldToStop] == 0) return 0;
  return interrupt_signal() != 0 ? interrupt_signal() : SIGTERM;
}

bool Trainer::checkpoint_is_due() const {
  if (train_.checkpoint_steps > 0 && steps_done_ % train_.checkpoint_steps == 0) return true;
  if (agreement_) return agreed_[kSaveIsDue] > 0;
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
  if (is_lead()) log_ = std::make_unique<RunLog>(directory_, steps_done_);
  Json opening = header;
  opening["peak_flops"] = peak_flops_;
  opening["peak_flops_are"] = peak_flops_are_published_ ? "published" : "measured";
  log("run", opening);
  window_ = std::make_unique<Window>(loader_.wait_seconds());
  start_ = last_save_ = Clock::now();
  agreed_.assign(kNumVotes, 0);
  if (is_between_epochs()) epoch_start_ = start_;
  start_wait_seconds_ = loader_.wait_seconds();
  reset_peak_memory(device_);

  try {
    train();
  } catch (...) {
    complete_save_after_error();
    finish_telemetry();
    throw;
  }
  end_progress();

  summary_.telemetry = finish_telemetry();
  summary_.steps = steps_done_;
  summary_.seconds = seconds_since(start_);
  summary_.data_wait =
      (loader_.wait_seconds() - start_wait_seconds_) / std::max(1e-9, summary_.seconds);
  summary_.images_per_second = median(window_->rates);
  summary_.peak_memory_bytes = memory_stats(device_).peak_bytes;
  summary_.signal = signal_to_stop();
  log("end", {{"steps", summary_.steps},
              {"loss", summary_.loss},
              {"seconds", summary_.seconds},
              {"images_per_second", summary_.images_per_second},
              {"data_wait", summary_.data_wait},
              {"peak_memory_bytes", summary_.peak_memory_bytes},
              {"skipped_steps", summary_.skipped_steps},
              {"skipped_samples", loader_.skipped_samples()},
              {"checkpoint_stall_seconds", summary_.checkpoint_stall_seconds},
              {"checkpoint_write_seconds", summary_.checkpoint_write_seconds},
              {"test_loss", summary_.test_loss ? Json(*summary_.test_loss) : Json()},
              {"telemetry", summary_.telemetry},
              {"reason", summary_.reason}});
  return summary_;
}

void Trainer::train() {
  while ((summary_.reason = reason_to_stop()).empty()) {
    const double lr = learning_rate();
    const double epoch = epochs_done();
    StepResult result = step_->run([this] { return loader_.next(); }, lr, votes());
    pending_.emplace_back(std::move(result), ++steps_done_, epoch, lr);
    // On a GPU the numbers of the step before are there by now: nobody waits.
    inspect_finished_steps(device_.is_cpu() ? 0 : 1);
    if (is_between_epochs()) end_epoch();
    if (save_has_ended()) note_saved_checkpoints();
    if (checkpoint_is_due()) save(/*goes_on=*/reason_to_stop().empty());
  }
  inspect_finished_steps(0);
  if (window_->steps() > 0) write_step_line();
  if (summary_.reason == "max_minutes") {
    log_info(fmt::format("budget reached: train.max_minutes {} are over after step {}.",
                         train_.max_minutes, steps_done_));
  }
  // Nothing is lost from here on, however long the test takes.
  if (last_saved_step_ != steps_done_) save(/*goes_on=*/false);
  checkpointer_->finish();
  note_saved_checkpoints();
  if (test_ != nullptr && last_tested_step_ != steps_done_ && signal_to_stop() == 0) {
    if (last_epoch_.is_null()) last_epoch_ = {{"step", steps_done_}, {"epoch", epochs_done()}};
    last_epoch_["test_loss"] = measure_test_loss();
  }
  if (!last_epoch_.is_null()) log("epoch", last_epoch_);
}

void Trainer::end_epoch() {
  const auto epoch = std::llround(epochs_done());
  Json line = {{"step", steps_done_}, {"epoch", epoch}};
  if (epoch_start_) line["seconds"] = seconds_since(*epoch_start_);
  if (test_ != nullptr && !reason_to_stop().empty()) {
    last_epoch_ = std::move(line);  // the last test comes after the last checkpoint
    return;
  }
  if (test_ != nullptr && train_.test_epochs > 0 && epoch % train_.test_epochs == 0) {
    inspect_finished_steps(0);
    line["test_loss"] = measure_test_loss();
  }
  log("epoch", line);
  epoch_start_ = Clock::now();
}

double Trainer::measure_test_loss() {
  const auto begin = Clock::now();
  test_->seek({});
  const at::Tensor loss =
      step_->mean_loss([this] { return test_->next(); }, test_->batches_per_epoch());
  summary_.test_loss = loss.item<double>();
  last_tested_step_ = steps_done_;
  window_->exclude(Clock::now() - begin);
  return *summary_.test_loss;
}

void Trainer::inspect_finished_steps(size_t leave) {
  while (pending_.size() > leave) {
    const Pending pending = std::move(pending_.front());
    pending_.pop_front();
    pending.wait();
    inspect(pending);
  }
}

// On which ranks, and in which samples as far as this rank knows them.
std::string Trainer::origin_of_non_finite(const Pending& pending) const {
  const float* flags = pending.measured.const_data_ptr<float>() + 3;
  std::vector<int64_t> ranks;
  for (int64_t rank = 0; rank < parameters_->world_size(); ++rank) {
    if (flags[rank] != 0) ranks.push_back(rank);
  }
  std::string text;
  if (agreement_ && !ranks.empty()) text += fmt::format(" on rank {}", fmt::join(ranks, ", "));
  if (!agreement_ || flags[parameters_->rank()] != 0) {
    text += fmt::format("; samples {}", fmt::join(loader_.names_of(pending.sample_ids), ", "));
  }
  return text;
}

void Trainer::log(const std::string& kind, const Json& fields) {
  if (log_) log_->write(kind, fields);
}

void Trainer::inspect(const Pending& pending) {
  const float* measured = pending.measured.const_data_ptr<float>();
  if (agreement_) {
    const float* votes = measured + 3 + parameters_->world_size();
    agreed_.assign(votes, votes + kNumVotes);
  }
  const double loss = measured[0];
  const double norm = measured[1];
  if (measured[2] != 0) {
    const std::string what = std::isfinite(loss) ? "gradient norm" : "loss";
    const std::string message =
        fmt::format("step {}: the {} is not finite (loss {}, gradient norm {}){}.", pending.step,
                    what, loss, norm, origin_of_non_finite(pending));
    log("event", {{"message", message}});
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
  if (!log_) return window_->restart(loader_.wait_seconds());
  const MemoryStats memory = memory_stats(device_);
  Json line = last_step_;
  for (const auto& [name, value] : last_metrics_) line[name] = value.item<double>();
  line.update({{"images_per_second", rate},
               {"step_seconds", step_seconds},
               {"data_wait", window_->wait_share(loader_.wait_seconds())},
               {"mfu", objective_.spec().train_flops * rate / peak_flops_},
               {"allocated_bytes", memory.allocated_bytes},
               {"peak_bytes", memory.peak_bytes}});
  if (telemetry_ != nullptr) line.update(telemetry_->take_means());
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
  std::string bad;
  for (const ParamView& view : parameters_->views()) {
    if (bad.empty() && !at::isfinite(view.local).all().item<bool>()) {
      bad = view.segments.front().name;
    }
  }
  if (checkpoint_ranks().agree(bad.empty())) return;
  throw Error(fmt::format("step {}: {} is not finite; no checkpoint is written.", steps_done_,
                          bad.empty() ? "a weight on another rank" : "the weight " + bad),
              "lower the learning rate and resume from the last checkpoint.");
}

void Trainer::save(bool goes_on) {
  inspect_finished_steps(0);  // a non-finite step is known before anything is published
  const auto begin = Clock::now();
  check_weights_are_finite();
  checkpointer_->finish();
  note_saved_checkpoints();
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
  const std::filesystem::path saves = directory_ / "checkpoints";
  if (train_.async_checkpoint && goes_on) {
    checkpointer_->start(saves, steps_done_, state_pieces(true), state, config_, begin);
  } else {
    checkpointer_->save(saves, steps_done_, state_pieces(true), state, config_, begin);
    note_saved_checkpoints();
  }
  // These were about the save before, also where they come from a step after its vote.
  agreed_[kSaveHasEnded] = agreed_[kSaveIsDue] = 0;
  last_saved_step_ = steps_done_;
  last_save_ = Clock::now();
  window_->exclude(last_save_ - begin);
}

// Ranks learn it at the same step, so an error of saving ends all of them there.
bool Trainer::save_has_ended() const {
  if (!agreement_) return checkpointer_->has_ended();
  return agreed_[kSaveHasEnded] == static_cast<float>(agreement_->size());
}

void Trainer::note_saved_checkpoints() {
  for (const SavedCheckpoint& saved : checkpointer_->take_saved()) {
    summary_.checkpoint = saved.path.string();
    summary_.checkpoint_stall_seconds += saved.stall_seconds;
    summary_.checkpoint_write_seconds += saved.write_seconds;
    log("checkpoint", {{"step", saved.step},
                       {"path", saved.path.string()},
                       {"stall_seconds", saved.stall_seconds},
                       {"write_seconds", saved.write_seconds}});
  }
}

// What was trained is worth more than the trace of its power.
Json Trainer::finish_telemetry() {
  if (telemetry_ == nullptr) return {};
  try {
    return telemetry_->finish();
  } catch (const std::exception& error) {
    log_warning(fmt::format("the trace of power and utilisation was lost: {}", error.what()));
    return {};
  }
}

void Trainer::complete_save_after_error() {
  try {
    checkpointer_->finish();
    note_saved_checkpoints();
  } catch (const std::exception& error) {
    log_warning(fmt::format("the checkpoint under way was lost, too: {}", error.what()));
  }
}

}  // namespace swath::train
