#include "bench/step_bench.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>

#include "bench/peer_gradients.h"
#include "bench/peer_process.h"
#include "bench/spread.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/shard_schedule.h"
#include "core/telemetry.h"
#include "core/tensor/device.h"
#include "core/tensor/memory.h"
#include "core/tensor/tensor_io.h"
#include "data/loader.h"
#include "data/normalization.h"
#include "models/registry.h"
#include "ops/backend.h"
#include "optim/adamw.h"
#include "sharding/local_parameters.h"
#include "sharding/sharded_parameters.h"
#include "sharding/silent_groups.h"
#include "train/step.h"

namespace swath::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLearningRate = 1e-4;

uint64_t seed_of(const StepBenchOptions& options) { return static_cast<uint64_t>(options.seed); }

constexpr int64_t kClasses = 1000;

std::shared_ptr<models::Objective> make_workload(const StepBenchOptions& options) {
  if (options.workload == "mae") return models::make_mae(options.model, seed_of(options));
  models::ClassifierOptions classifier;
  classifier.num_classes = kClasses;
  return models::make_classifier(options.model, classifier, seed_of(options));
}

std::unique_ptr<sharding::Parameters> make_parameters(const StepBenchOptions& options,
                                                      models::Objective& objective,
                                                      at::ScalarType precision,
                                                      sharding::ProcessGroups* groups) {
  const auto rules = [](const std::string& name, at::IntArrayRef shape) {
    return sharding::ParameterRule{optim::is_decayed(name, shape), 1.0};
  };
  if (groups == nullptr || groups->world_size() == 1) {
    sharding::LocalParameters::Options held;
    held.compute_dtype = precision;
    held.activation_checkpointing = options.activation_checkpointing;
    return std::make_unique<sharding::LocalParameters>(objective.module(), held, rules);
  }
  sharding::ShardedOptions sharded = sharding::sharded_options(options.sharding, precision);
  sharded.activation_checkpointing = options.activation_checkpointing;
  return std::make_unique<sharding::ShardedParameters>(
      objective.module(), objective.spec(),
      make_strategy(options.sharding.strategy, groups->world_size()), *groups, sharded, rules);
}

// A model with everything that a step needs.
struct Subject {
  Subject(const StepBenchOptions& options, c10::Device device,
          sharding::ProcessGroups* groups = nullptr)
      : objective(make_workload(options)) {
    objective->module().to(device);
    objective->module().train();
    parameters =
        make_parameters(options, *objective, select_precision(options.precision, device), groups);
    optimizer = std::make_unique<optim::AdamW>(&parameters->views(), optim::AdamWOptions{});
    step = std::make_unique<train::TrainStep>(*objective, *parameters, *optimizer,
                                              train::TrainStep::Options{});
  }
  const ModelSpec& spec() const { return objective->spec(); }
  // Null unless sharding.trace asks for one.
  sharding::Trace* trace() {
    auto* sharded = dynamic_cast<sharding::ShardedParameters*>(parameters.get());
    return sharded != nullptr ? sharded->trace() : nullptr;
  }

  std::shared_ptr<models::Objective> objective;
  std::unique_ptr<sharding::Parameters> parameters;
  std::unique_ptr<optim::AdamW> optimizer;
  std::unique_ptr<train::TrainStep> step;
};

// Different on every rank.
Batch random_batch(const StepBenchOptions& options, const ModelSpec& spec, c10::Device device,
                   int64_t rank = 0) {
  const int64_t size = options.batch_size;
  torch::manual_seed(seed_of(options) + static_cast<uint64_t>(rank));
  Batch batch;
  batch.images_BCHW = torch::randn({size, spec.channels, spec.image_size, spec.image_size});
  batch.images_BCHW = batch.images_BCHW.to(device);
  if (options.workload == "vit") batch.labels_B = torch::randint(kClasses, {size}).to(device);
  for (int64_t i = 0; i < size; ++i) {
    batch.sample_ids.push_back(static_cast<uint64_t>(rank * size + i));
  }
  return batch;
}

// With weights in float32, before anything is sharded.
void check_backends_agree(const StepBenchOptions& options, const Batch& batch, c10::Device device) {
  const at::NoGradGuard no_grad;
  const std::shared_ptr<models::Objective> objective = make_workload(options);
  objective->module().to(device);
  objective->module().eval();
  const std::string chosen = ops::backend() == ops::Backend::kFused ? "fused" : "reference";
  double losses[2] = {};
  UnitRunner runner;
  for (const auto& [index, name] : {std::pair{0, "reference"}, std::pair{1, "fused"}}) {
    ops::set_backend(name);
    losses[index] = objective->loss(batch, runner).loss.item<double>();
  }
  ops::set_backend(chosen);
  if (!(std::abs(losses[0] - losses[1]) <= 1e-4 * std::abs(losses[0]))) {
    throw Error(fmt::format("bench: the fused operators give loss {}, the reference {}.", losses[1],
                            losses[0]));
  }
}

struct Block {
  std::vector<double> seconds;  // of each step
  std::vector<double> losses;   // before each update
};

Block run_block(Subject& subject, const std::function<Batch()>& next_batch, int64_t steps,
                c10::Device device) {
  Block block;
  std::vector<at::Tensor> measured;
  for (int64_t i = 0; i < steps; ++i) {
    stop_if_interrupted("bench");
    const auto start = Clock::now();
    measured.push_back(subject.step->run(next_batch, kLearningRate).measured);
    synchronize(device);
    block.seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  for (const at::Tensor& step : measured) {
    block.losses.push_back(step[0].item<double>());
    if (step[2].item<float>() != 0) throw Error("bench: a loss or gradient is not finite.");
  }
  return block;
}

// Images per second of a block, from its median step.
double rate_of(const std::vector<double>& seconds, int64_t batch_size) {
  return static_cast<double>(batch_size) / spread_of(seconds).median;
}

// What the step is compared with: the same as in training, except that a rate which has to be
// measured is measured again in between the blocks, and the largest counts.
class PeakFlops {
 public:
  PeakFlops(c10::Device device, at::ScalarType precision)
      : device_(device),
        precision_(precision),
        published_(published_peak_flops(device, precision)) {}

  void before_block() {
    if (!published_) measured_ = std::max(measured_, measured_matmul_flops(device_, precision_));
  }
  double value() const { return published_.value_or(measured_); }
  const char* origin() const { return published_ ? "published" : "measured"; }

 private:
  c10::Device device_;
  at::ScalarType precision_;
  std::optional<double> published_;
  double measured_ = 0;
};

// The peak of the blocks alone: what is measured in between has matrices of its own.
class PeakMemory {
 public:
  explicit PeakMemory(c10::Device device) : device_(device) {}
  void begin_block() { reset_peak_memory(device_); }
  void end_block() { bytes_ = std::max(bytes_, memory_stats(device_).peak_bytes); }
  int64_t bytes() const { return bytes_; }

 private:
  c10::Device device_;
  int64_t bytes_ = 0;
};

Json summary(const StepBenchOptions& options, const Subject& subject, c10::Device device,
             const std::vector<double>& rates, const PeakFlops& peak, const PeakMemory& memory) {
  const Spread spread = spread_of(rates);
  const at::ScalarType precision = select_precision(options.precision, device);
  const ModelSpec& spec = subject.spec();
  const auto ranks = static_cast<double>(subject.parameters->world_size());
  return {{"model", spec.name},
          {"workload", options.workload},
          {"image_size", spec.image_size},
          {"batch_size", options.batch_size},
          {"device", device_description(device)},
          {"precision", c10::toString(precision)},
          {"ops", ops::backend_description()},
          {"threads", at::get_num_threads()},
          {"ranks", subject.parameters->world_size()},
          {"images_per_second", to_json(spread)},
          {"step_seconds", static_cast<double>(options.batch_size) * ranks / spread.median},
          {"train_gflops_per_image", spec.train_flops / 1e9},
          {"mfu", spec.train_flops * spread.median / (peak.value() * ranks)},
          {"peak_flops", peak.value()},
          {"peak_flops_are", peak.origin()},
          {"peak_memory_bytes", memory.bytes()}};
}

// Records the device's power while it exists.
class Telemetry {
 public:
  Telemetry(const StepBenchOptions& options, c10::Device device) : file_(options.telemetry) {
    std::string reason;
    auto source =
        open_telemetry(device.is_cpu() ? "cpu" : "cuda", std::max<int>(0, device.index()), &reason);
    if (source) {
      recorder_ = std::make_unique<TelemetryRecorder>(std::move(source));
      recorder_->start();
    } else {
      absent_ = reason;
      if (!file_.empty()) log_warning(fmt::format("no telemetry: {}", reason));
    }
  }
  Json finish() {
    if (!recorder_) return {{"absent", absent_}};
    recorder_->stop();
    if (!file_.empty()) recorder_->write_csv(file_);
    return to_json(recorder_->summary());
  }

 private:
  std::string file_;
  std::string absent_;
  std::unique_ptr<TelemetryRecorder> recorder_;
};

// `waited` counts the seconds that next_batch waited for data.
Json measure(const StepBenchOptions& options, Subject& subject, c10::Device device,
             const std::function<Batch()>& next_batch, const std::function<double()>& waited = {}) {
  const auto exposed_now = [&] { return subject.parameters->exposed_seconds(); };
  run_block(subject, next_batch, options.warmup_steps, device);
  sharding::Trace* trace = subject.trace();
  if (trace != nullptr) trace->clear();
  PeakMemory memory(device);
  const double waited_before = waited ? waited() : 0;
  const double exposed_before = exposed_now();
  double seconds = 0;
  const int64_t images = options.batch_size * subject.parameters->world_size();
  PeakFlops peak(device, select_precision(options.precision, device));
  Telemetry telemetry(options, device);
  std::vector<double> rates;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    peak.before_block();
    memory.begin_block();
    const Block block = run_block(subject, next_batch, options.steps, device);
    memory.end_block();
    rates.push_back(rate_of(block.seconds, images));
    seconds = std::accumulate(block.seconds.begin(), block.seconds.end(), seconds);
  }
  Json result = summary(options, subject, device, rates, peak, memory);
  result["telemetry"] = telemetry.finish();
  result["allocated_bytes"] = memory_stats(device).allocated_bytes;
  result["reserved_bytes"] = memory_stats(device).reserved_bytes;
  if (subject.parameters->world_size() > 1) {
    result["strategy"] =
        to_text(make_strategy(options.sharding.strategy, subject.parameters->world_size()));
    if (device.is_cpu())
      result["exposed_communication"] = (exposed_now() - exposed_before) / seconds;
    if (trace != nullptr)
      result["overlapped_communication"] = sharding::overlapped_share(trace->spans());
  }
  if (waited) result["data_wait"] = (waited() - waited_before) / seconds;
  return result;
}

struct Peer {
  std::string name;
  std::unique_ptr<PeerProcess> process;
  Json ready;   // its settings
  Json latest;  // its last answer
  std::vector<double> rates;

  std::vector<double> run(int64_t steps) {
    process->write_line(fmt::format("run {}", steps));
    latest = process->read_json();
    return latest.at("seconds");
  }
};

// How a peer wraps its model: nothing, or what is nearest to our strategy.
std::string wrapper_of(const StepBenchOptions& options, int64_t ranks) {
  if (ranks == 1) return "none";
  const Strategy strategy = make_strategy(options.sharding.strategy, ranks);
  if (!strategy.is_sharded()) return "ddp";
  if (!strategy.is_replicated()) return strategy.reshard_after_forward ? "fsdp" : "fsdp-keep";
  throw UsageError(fmt::format("bench peer: the Python peer has no {}.", strategy.name),
                   "compare DDP, NO_SHARD, SHARD_GRAD_OP or FULL_SHARD.");
}

// tools/peer/mae_peer.py is the public model, nothing more.
void check_peer_can(const StepBenchOptions& options, const models::VitDimensions& d) {
  const char* setting = options.workload != "mae"                ? "a workload but mae"
                        : d.gated_mlp                            ? "a gated MLP"
                        : d.norm_pix_per_band && d.norm_pix_loss ? "norm_pix_per_band"
                        : d.remainder() != 0                     ? "pixels beside the patches"
                        : options.activation_checkpointing       ? "activation_checkpointing"
                                                                 : nullptr;
  if (setting == nullptr) return;
  throw UsageError(fmt::format("bench peer: the Python peer has no {}.", setting),
                   "leave it out, or measure ours alone with `swath bench syn`.");
}

// What mae_peer.py starts from: whole weights, as they are before anything is sharded.
void write_start(const std::filesystem::path& path, const StepBenchOptions& options,
                 models::Objective& objective, const Batch& batch) {
  const models::VitDimensions d = models::resolve(options.model);
  const Json config = {{"width", d.width},
                       {"depth", d.depth},
                       {"heads", d.heads},
                       {"mlp", d.mlp},
                       {"patch", d.patch},
                       {"image_size", d.image_size},
                       {"channels", d.channels},
                       {"decoder_width", d.decoder_width},
                       {"decoder_depth", d.decoder_depth},
                       {"decoder_heads", d.decoder_heads},
                       {"mask_ratio", d.mask_ratio},
                       {"norm_pix_loss", d.norm_pix_loss},
                       {"lr", kLearningRate},
                       {"weight_decay", optim::AdamWOptions{}.weight_decay}};
  NamedTensors tensors = {{"images", batch.images_BCHW},
                          {"noise", models::mask_noise(seed_of(options), batch.epoch,
                                                       batch.sample_ids, d.num_patches())}};
  for (const auto& item : objective.module().named_parameters()) {
    tensors.emplace_back("weight." + item.key(), item.value().detach());
  }
  write_tensors(path, tensors, {{"config", config.dump()}});
}

// The ranks of one host, each with a peer that is the same rank among the peers.
class PeerRanks {
 public:
  PeerRanks(const StepBenchOptions& options, c10::Device device, sharding::ProcessGroups* groups)
      : device_(device),
        wrapper_(wrapper_of(options, groups != nullptr ? groups->world_size() : 1)) {
    if (groups != nullptr) everyone_ = groups->make_world_group("peers");
    directory_ = files_ / "";
    if (everyone_) {
      directory_ =
          sharding::broadcast_text(*everyone_, device, directory_.string(), 0, "where peers meet");
    }
  }

  const std::string& wrapper() const { return wrapper_; }
  const PeerFiles& files() const { return files_; }  // of this rank
  int64_t size() const { return everyone_ ? everyone_->size() : 1; }

  // For a peer's command line; its ranks meet under a name of their own.
  std::vector<std::string> words(const std::string& name) const {
    if (!everyone_) return {};
    return {"--wrapper", wrapper_,
            "--rank",    std::to_string(everyone_->rank()),
            "--ranks",   std::to_string(size()),
            "--meet",    (directory_ / (name + ".store")).string()};
  }
  // So that no rank measures while another still does something else.
  void wait_for_all() const { largest(0); }
  // Over ranks.
  int64_t largest(int64_t value) const {
    if (!everyone_) return value;
    const at::Tensor own = at::full({1}, value, at::TensorOptions(at::kLong).device(device_));
    at::Tensor all = at::empty({size()}, own.options());
    everyone_->all_gather(all, own, "ranks of the benchmark");
    return all.max().item<int64_t>();
  }

 private:
  c10::Device device_;
  std::string wrapper_;
  std::unique_ptr<sharding::Communicator> everyone_;
  PeerFiles files_;
  std::filesystem::path directory_;  // of the first rank
};

Peer start_peer(const std::string& mode, const std::filesystem::path& start,
                at::ScalarType precision, c10::Device device, const PeerRanks& ranks) {
  const int threads = at::get_num_threads();
  std::vector<std::string> command = {peer_python(),
                                      peer_script("mae_peer.py"),
                                      start.string(),
                                      "--mode",
                                      mode,
                                      "--dtype",
                                      precision == at::kFloat ? "float32" : "bfloat16",
                                      "--device",
                                      device.is_cpu() ? "cpu" : "cuda",
                                      "--threads",
                                      std::to_string(threads)};
  for (const std::string& word : ranks.words(mode)) command.push_back(word);
  Peer peer;
  peer.name = mode;
  peer.process = std::make_unique<PeerProcess>(command);
  peer.ready = peer.process->read_json();
  if (peer.ready.at("threads") != threads) {
    throw Error(fmt::format("bench peer: {} threads here, {} in Python.", threads,
                            peer.ready.at("threads").get<int>()));
  }
  return peer;
}

// The gradients of the first step, averaged over the ranks; no update.
void compute_gradients(Subject& subject, const Batch& batch) {
  sharding::Parameters& parameters = *subject.parameters;
  parameters.begin_step();
  parameters.begin_forward();
  const at::Tensor loss = subject.objective->loss(batch, parameters.runner()).loss;
  parameters.backward(loss / static_cast<double>(parameters.world_size()));
}

// Between programs that round in another order.
constexpr double kGradientTolerance = 1e-5;

// Of the gradients that `subject` has computed; the largest over ranks.
double compare_gradients(Peer& peer, const Subject& subject, const PeerRanks& ranks) {
  const std::filesystem::path file = ranks.files() / (peer.name + ".gradients");
  peer.process->write_line(fmt::format("gradients {}", file.string()));
  peer.process->read_json();
  const double difference =
      check_same_gradients(subject.parameters->views(), file, kGradientTolerance);
  std::filesystem::remove(file);
  constexpr double kParts = 1e12;  // differences travel as whole numbers
  return static_cast<double>(ranks.largest(static_cast<int64_t>(difference * kParts))) / kParts;
}

// The first loss is that of the same weights and masks; the following ones have the updates of the
// warm-up in them, where rounding has added up.
void check_same_losses(const std::string& peer, const std::vector<double>& ours,
                       const std::vector<double>& theirs, at::ScalarType precision) {
  for (size_t step = 0; step < ours.size(); ++step) {
    const double tolerance = precision != at::kFloat ? 2e-2 : step == 0 ? 1e-4 : 1e-3;
    if (!(std::abs(ours[step] - theirs.at(step)) <= tolerance * std::abs(ours[step]))) {
      throw Error(fmt::format(
          "bench peer: after {} updates our loss is {}, the {} peer's {}: not the same work.", step,
          ours[step], peer, theirs[step]));
    }
  }
}

Json result_of(const Peer& peer, const std::vector<double>& our_rates, const PeerRanks& ranks) {
  const Spread spread = spread_of(peer.rates);
  Json result = {{"images_per_second", to_json(spread)},
                 {"ratio", spread_of(our_rates).median / spread.median},
                 {"ratio_spread", to_json(spread_of_ratios(our_rates, peer.rates))},
                 {"warmup_losses", peer.ready.at("losses")},
                 {"peak_rss_bytes", ranks.largest(peer.latest.at("peak_rss_bytes"))},
                 {"torch", peer.ready.at("torch")}};
  if (peer.ready.contains("gradient_difference")) {
    result["gradient_difference"] = peer.ready.at("gradient_difference");
  }
  if (peer.latest.contains("peak_device_bytes")) {
    result["peak_device_bytes"] = peer.latest.at("peak_device_bytes");
  }
  return result;
}

}  // namespace

void StepBenchOptions::describe(FieldTable& fields) {
  fields.section("model", model);
  fields.section("data", data);
  fields.section("transform", transform);
  fields.add("workload", &workload, "mae, or vit: every token, classification of random labels")
      .one_of({"mae", "vit"});
  fields.add("batch_size", &batch_size, "images per step, of one rank").at_least(1);
  fields.add("precision", &precision, "of the model's arithmetic").one_of({"auto", "fp32", "bf16"});
  fields.add("activation_checkpointing", &activation_checkpointing, "recompute blocks in backward");
  fields.add("warmup_steps", &warmup_steps, "steps before the clock starts").at_least(1);
  fields.add("steps", &steps, "steps of one repeat").at_least(1);
  fields.add("repeats", &repeats, "repeats; subject and peers take turns").at_least(1);
  fields.add("compile", &compile, "peer: also measure torch.compile");
  fields.section("sharding", sharding);
  fields.add("pretend_world", &pretend_world, "syn-no-comm: ranks of the job that is posed as")
      .at_least(0)
      .flag("pretend-world");
  fields.add("pretend_rank", &pretend_rank, "syn-no-comm: which of them").at_least(0);
  fields.add("telemetry", &telemetry,
             "file for the trace of power, utilisation and memory; empty: none");
}

Json bench_syn(const StepBenchOptions& options, c10::Device device,
               sharding::ProcessGroups* groups) {
  const int64_t rank = groups != nullptr ? groups->rank() : 0;
  Batch batch = random_batch(options, make_workload(options)->spec(), device, rank);
  check_backends_agree(options, batch, device);
  Subject subject(options, device, groups);
  return measure(options, subject, device, [&] { return batch; });
}

Json bench_syn_no_comm(const StepBenchOptions& options, c10::Device device) {
  const int64_t world = options.pretend_world;
  if (world < 2) {
    throw UsageError("bench syn-no-comm: one rank has nothing to be silent about.",
                     "name the ranks of the job: --pretend-world 8.");
  }
  const auto groups = sharding::make_silent_groups(options.pretend_rank, world);
  Json result = bench_syn(options, device, groups.get());
  const std::shared_ptr<models::Objective> objective = make_workload(options);
  const Strategy strategy = make_strategy(options.sharding.strategy, world);
  const at::ScalarType precision = select_precision(options.precision, device);
  const sharding::ShardedOptions sharded = sharding::sharded_options(options.sharding, precision);
  std::vector<ScheduleUnit> units;
  for (const auto& members :
       sharding::divide_into_units(objective->spec(), sharded.least_unit_numel)) {
    units.push_back(members.unit);
  }
  ScheduleOptions schedule;
  schedule.activation_checkpointing = options.activation_checkpointing;
  const ElementBytes bytes = {static_cast<int64_t>(c10::elementSize(sharded.compute_dtype)),
                              static_cast<int64_t>(c10::elementSize(sharded.reduce_dtype))};
  result["model_state_bytes"] = model_state_bytes(units, strategy, bytes, 8).total();
  result["gathered_bytes"] =
      cost_of(make_step_schedule(units, strategy, schedule), units, strategy, schedule, bytes)
          .peak_bytes;
  result["pretended_rank"] = options.pretend_rank;
  return result;
}

Json bench_real(const StepBenchOptions& options, c10::Device device,
                sharding::ProcessGroups* groups) {
  const std::shared_ptr<const data::Dataset> dataset = data::open_dataset(options.data);
  data::NormalizationOptions few;
  few.bands = options.transform.bands;
  few.most_samples = 256;
  few.skip_bad = options.data.skip_bad;
  const data::Transform transform(options.transform,
                                  data::compute_normalization(*dataset, few).normalization());
  StepBenchOptions fitted = options;
  fitted.workload = "mae";
  fitted.model.channels = transform.channels();
  fitted.model.image_size = options.transform.size;
  data::LoaderOptions loader_options;
  loader_options.batch_size = options.batch_size;
  loader_options.skip_bad = options.data.skip_bad;
  data::Loader loader(dataset, transform, loader_options, seed_of(options), device,
                      groups != nullptr ? groups->rank() : 0,
                      groups != nullptr ? groups->world_size() : 1);
  check_backends_agree(fitted, loader.next(), device);
  Subject subject(fitted, device, groups);
  Json result = measure(
      fitted, subject, device, [&] { return loader.next(); },
      [&] { return loader.wait_seconds(); });
  result["skipped"] = loader.skipped_samples();
  return result;
}

Json bench_peer(const StepBenchOptions& options, c10::Device device,
                sharding::ProcessGroups* groups) {
  // 1. One set of weights for all; images and masks of each rank, the same for its peer.
  check_peer_can(options, models::resolve(options.model));
  const PeerRanks ranks(options, device, groups);
  const at::ScalarType precision = select_precision(options.precision, device);
  const auto start = ranks.files() / "start.safetensors";
  Batch batch;
  {
    const std::shared_ptr<models::Objective> whole = make_workload(options);
    batch = random_batch(options, whole->spec(), device, groups != nullptr ? groups->rank() : 0);
    write_start(start, options, *whole, batch);
  }
  const auto next_batch = [&] { return batch; };
  check_backends_agree(options, batch, device);
  Subject subject(options, device, groups);

  // 2. The same gradients, then, while warming up, the same losses; or nothing is timed.
  std::vector<Peer> peers;
  if (precision == at::kFloat) compute_gradients(subject, batch);
  for (const char* mode : {"eager", "compile"}) {
    if (std::string(mode) == "compile" && !options.compile) continue;
    if (groups == nullptr || groups->rank() == 0)
      log_info(fmt::format("starting the {} peer.", mode));
    Peer peer = start_peer(mode, start, precision, device, ranks);
    if (precision == at::kFloat) {
      peer.ready["gradient_difference"] = compare_gradients(peer, subject, ranks);
    }
    peers.push_back(std::move(peer));
  }
  const std::vector<double> losses =
      run_block(subject, next_batch, options.warmup_steps, device).losses;
  for (Peer& peer : peers) {
    peer.run(options.warmup_steps);
    check_same_losses(peer.name, losses, peer.latest.at("losses"), precision);
    peer.ready["losses"] = peer.latest.at("losses");
  }

  // 3. Turn by turn.
  const int64_t images = options.batch_size * ranks.size();
  PeakMemory memory(device);
  PeakFlops peak(device, precision);
  std::vector<double> rates;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    peak.before_block();
    ranks.wait_for_all();
    memory.begin_block();
    rates.push_back(rate_of(run_block(subject, next_batch, options.steps, device).seconds, images));
    memory.end_block();
    for (Peer& peer : peers) {
      ranks.wait_for_all();
      peer.rates.push_back(rate_of(peer.run(options.steps), images));
    }
  }

  // 4. The result.
  Json result = summary(options, subject, device, rates, peak, memory);
  result["warmup_losses"] = losses;
  result["peak_rss_bytes"] = ranks.largest(peak_resident_bytes());
  result["peer_wrapper"] = ranks.wrapper();
  for (const Peer& peer : peers) {
    Json of_peer = result_of(peer, rates, ranks);
    if (!result.contains("ratio") || of_peer.at("ratio") < result.at("ratio")) {
      result["fastest_peer"] = peer.name;
      result["ratio"] = of_peer.at("ratio");
    }
    result["peers"][peer.name] = std::move(of_peer);
  }
  return result;
}

}  // namespace swath::bench
