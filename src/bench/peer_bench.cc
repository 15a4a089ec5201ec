#include "bench/peer_bench.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "bench/measured_step.h"
#include "bench/peer_gradients.h"
#include "bench/peer_process.h"
#include "bench/spread.h"
#include "core/error.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/memory.h"
#include "core/tensor/tensor_io.h"
#include "models/registry.h"

namespace swath::bench {
namespace {

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

// The peers are the public models, nothing more: what ours has beyond them, or nothing.
const char* beyond(const models::VitDimensions& d) {
  return d.gated_mlp                              ? "gated MLP"
         : d.norm_pix_per_band && d.norm_pix_loss ? "norm_pix_per_band"
         : d.remainder() != 0                     ? "place for pixels beside the patches"
                                                  : nullptr;
}

const char* beyond(const models::SwinDimensions& d) {
  return d.per_band            ? "mosaic of bands"
         : d.cross_entropy     ? "cross-entropy"
         : d.target_window > 0 ? "target_window"
         : d.drop_path > 0     ? "drop_path of ours"
                               : nullptr;
}

bool is_simmim(const StepBenchOptions& options) { return models::is_swin(options.model.name); }

std::string script_of(const StepBenchOptions& options) {
  return peer_script(is_simmim(options) ? "simmim_peer.py" : "mae_peer.py");
}

void check_peer_can(const StepBenchOptions& options) {
  const char* setting = workload_of(options) == "vit"      ? "workload vit"
                        : options.activation_checkpointing ? "activation_checkpointing"
                        : is_simmim(options) ? beyond(models::resolve_swin(options.model))
                                             : beyond(models::resolve(options.model));
  if (setting == nullptr) return;
  throw UsageError(fmt::format("bench peer: the Python peer has no {}.", setting),
                   "leave it out, or measure ours alone with `swath bench syn`.");
}

Json config_of(const models::VitDimensions& d) {
  return {{"width", d.width},
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
          {"norm_pix_loss", d.norm_pix_loss}};
}

Json config_of(const models::SwinDimensions& d) {
  std::vector<int64_t> depths;
  std::vector<int64_t> pretrained;
  for (const models::SwinStage& stage : d.stages) {
    depths.push_back(stage.depth);
    pretrained.push_back(stage.pretrained_rows);
  }
  return {{"width", d.width},
          {"depths", depths},
          {"heads", d.heads},
          {"window", d.window},
          {"pretrained_windows", pretrained},
          {"patch", d.patch},
          {"image_size", d.image_size},
          {"channels", d.channels},
          {"mask_unit", d.mask_unit}};
}

constexpr double kBeyondPredictions = 8;

void begin_at_one(sharding::Parameters& parameters) {
  const at::NoGradGuard no_grad;
  bool is_changed = false;
  for (ParamView& view : parameters.views()) {
    for (const ParamSegment& segment : view.segments) {
      if (!begins_at_one(segment.name)) continue;
      view.local.narrow(0, segment.offset, segment.length).fill_(1);
      is_changed = true;
    }
  }
  if (is_changed) parameters.publish();
}

// What a peer starts from: whole weights, as they are before anything is sharded.
void write_start(const std::filesystem::path& path, const StepBenchOptions& options,
                 models::Objective& objective, const Batch& batch) {
  Json config;
  NamedTensors tensors = {{"images", batch.images_BCHW}};
  if (is_simmim(options)) {
    const models::SwinDimensions d = models::resolve_swin(options.model);
    config = config_of(d);
    tensors.emplace_back("units",
                         models::unit_masks(seed_of(options), batch.epoch, batch.sample_ids, d)
                             .squeeze(1)
                             .to(at::kFloat));
  } else {
    const models::VitDimensions d = models::resolve(options.model);
    config = config_of(d);
    tensors.emplace_back("noise", models::mask_noise(seed_of(options), batch.epoch,
                                                     batch.sample_ids, d.num_patches()));
  }
  config["lr"] = kBenchLearningRate;
  config["weight_decay"] = optim::AdamWOptions{}.weight_decay;
  for (const auto& item : objective.module().named_parameters()) {
    const at::Tensor values = item.value().detach();
    tensors.emplace_back("weight." + item.key(),
                         begins_at_one(item.key()) ? at::ones_like(values) : values);
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

// `mode` and `dtype` as the script takes them.
Peer start_peer(const std::string& script, const std::string& mode, const std::string& dtype,
                const std::filesystem::path& start, c10::Device device, const PeerRanks& ranks) {
  const int threads = at::get_num_threads();
  std::vector<std::string> command = {peer_python(),
                                      script,
                                      start.string(),
                                      "--mode",
                                      mode,
                                      "--dtype",
                                      dtype,
                                      "--device",
                                      device.is_cpu() ? "cpu" : "cuda",
                                      "--threads",
                                      std::to_string(threads)};
  for (const std::string& word : ranks.words(mode + dtype)) command.push_back(word);
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

// From gradients in float64. A peer has only to do the same work. Ours are held to the lower one,
// or to twice what the eager peer loses to float32 where a model has sums that cancel: timm's
// SwinV2-B was seen to be 1.3e-5 off in a logit_scale.
constexpr double kOurTolerance = 1e-5;
constexpr double kPeerTolerance = 1e-4;
constexpr double kTimesThePeers = 2;

// Those of the peer's first step.
void write_gradients(Peer& peer, const std::filesystem::path& file) {
  peer.process->write_line(fmt::format("gradients {}", file.string()));
  peer.process->read_json();
}

double largest_of(double difference, const PeerRanks& ranks) {
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

Json bench_peer(const StepBenchOptions& options, c10::Device device,
                sharding::ProcessGroups* groups) {
  // 1. One set of weights for all; images and masks of each rank, the same for its peer.
  check_peer_can(options);
  const PeerRanks ranks(options, device, groups);
  const at::ScalarType precision = select_precision(options.precision, device);
  const auto start = ranks.files() / "start.safetensors";
  Batch batch;
  {
    const std::shared_ptr<models::Objective> whole = make_workload(options);
    batch = random_batch(options, whole->spec(), device, groups != nullptr ? groups->rank() : 0);
    // So far from what an untrained decoder says, to either side, that rounding turns no sign of
    // the L1 loss. To one side alone all of its gradients would be alike and cancel further down.
    if (is_simmim(options)) batch.images_BCHW += batch.images_BCHW.sign() * kBeyondPredictions;
    write_start(start, options, *whole, batch);
  }
  const auto next_batch = [&] { return batch; };
  check_backends_agree(options, batch, device);
  Subject subject(options, device, groups);
  begin_at_one(*subject.parameters);

  // 2. The same gradients, then, while warming up, the same losses; or nothing is timed.
  double gradient_difference = 0;
  std::filesystem::path exact;
  if (precision == at::kFloat) {
    compute_gradients(subject, batch);
    Peer peer = start_peer(script_of(options), "eager", "float64", start, device, ranks);
    exact = ranks.files() / "exact.gradients";
    write_gradients(peer, exact);
  }
  std::vector<Peer> peers;
  for (const char* mode : {"eager", "compile"}) {
    if (std::string(mode) == "compile" && !options.compile) continue;
    if (groups == nullptr || groups->rank() == 0)
      log_info(fmt::format("starting the {} peer.", mode));
    Peer peer = start_peer(script_of(options), mode,
                           precision == at::kFloat ? "float32" : "bfloat16", start, device, ranks);
    if (precision == at::kFloat) {
      const std::filesystem::path file = ranks.files() / (peer.name + ".gradients");
      write_gradients(peer, file);
      peer.ready["gradient_difference"] =
          largest_of(check_peer_gradients(file, exact, kPeerTolerance), ranks);
    }
    peers.push_back(std::move(peer));
  }
  if (precision == at::kFloat) {
    const double theirs = peers.front().ready.at("gradient_difference");
    gradient_difference =
        largest_of(check_our_gradients(subject.parameters->views(), exact,
                                       std::max(kOurTolerance, kTimesThePeers * theirs)),
                   ranks);
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
  if (precision == at::kFloat) result["gradient_difference"] = gradient_difference;
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
