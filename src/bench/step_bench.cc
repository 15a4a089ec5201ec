#include "bench/step_bench.h"

#include <ATen/ATen.h>
#include <ATen/DeviceAccelerator.h>
#include <fmt/format.h>
#include <torch/torch.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "bench/peer_process.h"
#include "bench/spread.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/memory.h"
#include "core/tensor/tensor_io.h"
#include "data/loader.h"
#include "data/normalization.h"
#include "models/checkpoint_import.h"
#include "models/registry.h"
#include "ops/backend.h"
#include "optim/adamw.h"
#include "sharding/local_parameters.h"
#include "train/step.h"

namespace swath::bench {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLearningRate = 1e-4;

void finish(c10::Device device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

// A model with everything that a step needs.
struct Subject {
  Subject(const StepBenchOptions& options, c10::Device device)
      : mae(models::make_mae(options.model, 0)) {
    mae->to(device);
    runner = options.activation_checkpointing ? std::make_unique<CheckpointingRunner>()
                                              : std::make_unique<UnitRunner>();
    parameters = std::make_unique<sharding::LocalParameters>(
        *mae, select_precision(options.precision, device),
        [](const std::string& name, at::IntArrayRef shape) {
          return sharding::ParameterRule{optim::is_decayed(name, shape), 1.0};
        });
    optimizer = std::make_unique<optim::AdamW>(&parameters->views(), optim::AdamWOptions{});
    step = std::make_unique<train::TrainStep>(*mae, *parameters, *optimizer, *runner,
                                              train::TrainStep::Options{});
  }
  std::shared_ptr<models::Mae> mae;
  std::unique_ptr<UnitRunner> runner;
  std::unique_ptr<sharding::LocalParameters> parameters;
  std::unique_ptr<optim::AdamW> optimizer;
  std::unique_ptr<train::TrainStep> step;
};

Batch random_batch(const models::VitDimensions& dimensions, int64_t size, c10::Device device) {
  torch::manual_seed(0);
  Batch batch;
  batch.images_BCHW =
      torch::randn({size, dimensions.channels, dimensions.image_size, dimensions.image_size});
  batch.images_BCHW = batch.images_BCHW.to(device);
  for (int64_t i = 0; i < size; ++i) batch.sample_ids.push_back(static_cast<uint64_t>(i));
  return batch;
}

void check_backends_agree(Subject& subject, const Batch& batch) {
  at::NoGradGuard no_grad;
  const std::string chosen = ops::backend() == ops::Backend::kFused ? "fused" : "reference";
  double losses[2] = {};
  for (const auto& [index, name] : {std::pair{0, "reference"}, std::pair{1, "fused"}}) {
    ops::set_backend(name);
    losses[index] = subject.mae->loss(batch, *subject.runner).loss.item<double>();
  }
  ops::set_backend(chosen);
  const double tolerance = subject.parameters->views().front().compute_copy.defined() ? 1e-2 : 1e-4;
  if (!(std::abs(losses[0] - losses[1]) <= tolerance * std::abs(losses[0]))) {
    throw Error(fmt::format("bench: the fused operators give loss {}, the reference {}.", losses[1],
                            losses[0]));
  }
}

std::vector<double> run_block(Subject& subject, const std::function<Batch()>& next_batch,
                              int64_t steps, c10::Device device) {
  std::vector<double> seconds;
  for (int64_t i = 0; i < steps; ++i) {
    const auto start = Clock::now();
    const train::StepResult result = subject.step->run(next_batch, kLearningRate);
    finish(device);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return seconds;
}

// Images per second of each block, from its median step.
double rate_of(const std::vector<double>& seconds, int64_t batch_size) {
  return static_cast<double>(batch_size) / spread_of(seconds).median;
}

Json summary(const StepBenchOptions& options, const Subject& subject, c10::Device device,
             const std::vector<double>& rates) {
  const Spread spread = spread_of(rates);
  const at::ScalarType precision = select_precision(options.precision, device);
  const double flops = measured_matmul_flops(device, precision);
  const double train_flops = subject.mae->spec().train_flops;
  return {{"model", subject.mae->spec().name},
          {"image_size", subject.mae->spec().image_size},
          {"batch_size", options.batch_size},
          {"device", device_description(device)},
          {"precision", c10::toString(precision)},
          {"ops", ops::backend_description()},
          {"threads", at::get_num_threads()},
          {"images_per_second", to_json(spread)},
          {"step_seconds", static_cast<double>(options.batch_size) / spread.median},
          {"train_gflops_per_image", train_flops / 1e9},
          {"matmul_gflops", flops / 1e9},
          {"matmul_share", train_flops * spread.median / flops},
          {"mfu", train_flops * spread.median / flops},
          {"peak_memory_bytes", memory_stats(device).peak_bytes}};
}

Json measure(const StepBenchOptions& options, Subject& subject, c10::Device device,
             const std::function<Batch()>& next_batch) {
  run_block(subject, next_batch, options.warmup_steps, device);
  reset_peak_memory(device);
  std::vector<double> rates;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    rates.push_back(
        rate_of(run_block(subject, next_batch, options.steps, device), options.batch_size));
  }
  return summary(options, subject, device, rates);
}

// Files that the peers read, removed at the end.
class Exchange {
 public:
  Exchange() : directory_(fs::temp_directory_path() / fmt::format("swath-peer-{}", getpid())) {
    fs::create_directories(directory_);
  }
  ~Exchange() {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
  fs::path operator/(const std::string& name) const { return directory_ / name; }

 private:
  fs::path directory_;
};

struct Peer {
  std::string name;
  std::unique_ptr<PeerProcess> process;
  std::vector<double> rates;
  int64_t peak_rss_bytes = 0;

  std::pair<double, std::vector<double>> run(int64_t steps) {
    process->write_line(fmt::format("run {}", steps));
    const Json answer = process->read_json();
    peak_rss_bytes = answer.at("peak_rss_bytes");
    return {answer.at("loss"), answer.at("seconds")};
  }
};

Json peer_settings(const StepBenchOptions& options, const Subject& subject, c10::Device device,
                   const Exchange& exchange) {
  const models::VitDimensions& d = subject.mae->dimensions();
  return {{"weights", (exchange / "weights.safetensors").string()},
          {"inputs", (exchange / "inputs.safetensors").string()},
          {"width", d.width},
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
          {"threads", at::get_num_threads()},
          {"dtype", select_precision(options.precision, device) == at::kFloat ? "fp32" : "bf16"},
          {"device", device.is_cpu() ? "cpu" : "cuda"},
          {"lr", kLearningRate},
          {"weight_decay", optim::AdamWOptions{}.weight_decay}};
}

}  // namespace

void StepBenchOptions::describe(FieldTable& fields) {
  fields.section("model", model);
  fields.section("data", data);
  fields.section("transform", transform);
  fields.add("batch_size", &batch_size, "images per step").at_least(1);
  fields.add("precision", &precision, "of the model's arithmetic").one_of({"auto", "fp32", "bf16"});
  fields.add("activation_checkpointing", &activation_checkpointing, "recompute blocks in backward");
  fields.add("warmup_steps", &warmup_steps, "steps before the clock starts").at_least(1);
  fields.add("steps", &steps, "steps of one repeat").at_least(1);
  fields.add("repeats", &repeats, "repeats; subject and peers take turns").at_least(1);
  fields.add("compile", &compile, "peer: also measure torch.compile");
}

Json bench_syn(const StepBenchOptions& options, c10::Device device) {
  Subject subject(options, device);
  const Batch batch = random_batch(subject.mae->dimensions(), options.batch_size, device);
  check_backends_agree(subject, batch);
  return measure(options, subject, device, [&] { return batch; });
}

Json bench_real(const StepBenchOptions& options, c10::Device device) {
  const std::shared_ptr<const data::Dataset> dataset = data::open_dataset(options.data);
  data::NormalizationOptions few;
  few.bands = options.transform.bands;
  few.most_samples = 256;
  const data::Transform transform(options.transform,
                                  data::compute_normalization(*dataset, few).normalization());
  StepBenchOptions fitted = options;
  fitted.model.channels = transform.channels();
  fitted.model.image_size = options.transform.size;
  Subject subject(fitted, device);
  data::LoaderOptions loader_options;
  loader_options.batch_size = options.batch_size;
  data::Loader loader(dataset, transform, loader_options, 0, device);
  check_backends_agree(subject, loader.next());
  const auto start = Clock::now();
  Json result = measure(fitted, subject, device, [&] { return loader.next(); });
  result["data_wait"] =
      loader.wait_seconds() / std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

Json bench_peer(const StepBenchOptions& options, c10::Device device) {
  // 1. One set of weights, images and masks for all.
  Subject subject(options, device);
  const Batch batch = random_batch(subject.mae->dimensions(), options.batch_size, device);
  check_backends_agree(subject, batch);
  const Exchange exchange;
  models::export_full(*subject.mae, subject.mae->dimensions(), exchange / "weights.safetensors");
  write_tensors(exchange / "inputs.safetensors",
                {{"images", batch.images_BCHW},
                 {"noise", models::mask_noise(0, batch.epoch, batch.sample_ids,
                                              subject.mae->dimensions().num_patches())}});

  // 2. The peers, and equal losses before anything is timed.
  double our_loss = 0;
  {
    at::NoGradGuard no_grad;
    our_loss = subject.mae->loss(batch, *subject.runner).loss.item<double>();
  }
  std::vector<Peer> peers;
  for (const auto& [name, compile] : {std::pair{"eager", false}, std::pair{"compiled", true}}) {
    if (compile && !options.compile) continue;
    Json settings = peer_settings(options, subject, device, exchange);
    settings["compile"] = compile;
    const fs::path file = exchange / fmt::format("{}.json", name);
    write_file_atomically(file, settings.dump(1));
    Peer peer{name,
              std::make_unique<PeerProcess>(std::vector<std::string>{
                  peer_python(), peer_script("mae_peer.py"), file.string()}),
              {},
              0};
    peer.process->read_json();
    log_info(fmt::format("warming up the {} peer.", name));
    const double loss = peer.run(options.warmup_steps).first;
    const double tolerance = settings.at("dtype") == "fp32" ? 1e-4 : 2e-2;
    if (!(std::abs(loss - our_loss) <= tolerance * std::abs(our_loss))) {
      throw Error(fmt::format("bench peer: our loss is {}, the {} peer's {}: not the same work.",
                              our_loss, name, loss));
    }
    peers.push_back(std::move(peer));
  }

  // 3. Turn by turn.
  run_block(subject, [&] { return batch; }, options.warmup_steps, device);
  reset_peak_memory(device);
  std::vector<double> rates;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    rates.push_back(rate_of(
        run_block(subject, [&] { return batch; }, options.steps, device), options.batch_size));
    for (Peer& peer : peers) {
      peer.rates.push_back(rate_of(peer.run(options.steps).second, options.batch_size));
    }
  }
  const int64_t our_resident_bytes = peak_resident_bytes();
  Json result = summary(options, subject, device, rates);
  result["loss"] = our_loss;
  result["peak_rss_bytes"] = our_resident_bytes;
  for (const Peer& peer : peers) {
    std::vector<double> ratios;
    for (size_t i = 0; i < rates.size(); ++i) ratios.push_back(rates[i] / peer.rates[i]);
    const Spread spread = spread_of(peer.rates);
    result["peers"][peer.name] = {{"images_per_second", to_json(spread)},
                                  {"ratio", spread_of(rates).median / spread.median},
                                  {"ratio_spread", to_json(spread_of(ratios))},
                                  {"peak_rss_bytes", peer.peak_rss_bytes},
                                  {"memory_ratio", static_cast<double>(our_resident_bytes) /
                                                       static_cast<double>(peer.peak_rss_bytes)}};
  }
  return result;
}

}  // namespace swath::bench
