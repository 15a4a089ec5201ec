#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "apps/commands.h"
#include "apps/ranks.h"
#include "apps/sweep.h"
#ifdef SWATH_WITH_HDF4
#include "bench/chips_bench.h"
#endif
#include "bench/collectives_bench.h"
#include "bench/io_bench.h"
#include "bench/peer_bench.h"
#include "bench/silent_rank_bench.h"
#include "bench/step_bench.h"
#include "core/error.h"
#include "core/files.h"
#include "core/tensor/device.h"
#include "core/tensor/torch.h"
#include "ops/backend.h"

namespace swath::apps {
namespace {

template <class Bench>
struct BenchCommandOptions {
  std::string output;
  std::string device = "auto";
  std::string ops = "fused";
  int64_t threads = 0;
  Bench bench;

  void describe(FieldTable& fields) {
    fields.add("output", &output, "file for the result as JSON; empty: none");
    fields.add("device", &device, "where to compute").one_of({"auto", "cpu", "cuda"});
    fields.add("ops", &ops, "operators: plain ATen or our fused ones")
        .one_of({"fused", "reference"});
    fields.add("seed", &bench.seed, "of everything random").at_least(0);
    fields.add("threads", &threads, "compute threads; 0: one per processor core").at_least(0);
    bench.describe(fields);
  }
};

void check_output(const std::string& output, bool overwrite) {
  if (std::filesystem::is_directory(output)) {
    throw UsageError(fmt::format("bench: output {} is a directory.", output),
                     "name a file for the result.");
  }
  if (!overwrite && std::filesystem::exists(output)) {
    throw UsageError(fmt::format("bench: output {} is there already.", output),
                     "name another file, or replace it with --overwrite.");
  }
}

template <class Bench>
using BenchBody = std::function<Json(const Bench& options, c10::Device device, Ranks* ranks)>;

// The ranks of benchmarks that know of them; null for the others, which run in one process.
template <class Bench>
std::unique_ptr<Ranks> join_ranks(const Bench& options, c10::Device device) {
  if constexpr (requires { options.sharding; }) {
    return std::make_unique<Ranks>(device, options.sharding);
  } else {
    return nullptr;
  }
}

template <class Bench>
Outcome run_one(const CommandSyntax& syntax, const Words& words, const BenchBody<Bench>& bench) {
  BenchCommandOptions<Bench> options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  check_output(options.output, arguments.overwrite);
  if constexpr (requires { options.bench.data; }) {
    options.bench.data.root = expand_environment(options.bench.data.root);
  }
  ops::set_backend(options.ops);
  if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
  const c10::Device device = select_device(options.device);
  const std::unique_ptr<Ranks> ranks = join_ranks(options.bench, device);
  outcome.json = bench(options.bench, device, ranks.get());
  if (ranks && !ranks->is_lead()) {
    outcome.json = Json();
    return outcome;
  }
  if (!options.output.empty()) {
    write_file_atomically(options.output, outcome.json.dump(1) + "\n");
  }
  outcome.text = outcome.json.dump(2);
  return outcome;
}

}  // namespace

Outcome run_bench(const CommandSyntax& syntax, const Words& words) {
  const std::string what = words.empty() ? "" : words.front();
  const Words rest(words.empty() ? words.end() : words.begin() + 1, words.end());
  const auto describe = [&](const std::string& summary, const std::string& example) {
    return CommandSyntax{"bench " + what, summary, example, {}};
  };
  if (what == "io") {
    return run_one<bench::IoBenchOptions>(
        describe("the data loader alone, beside torchvision + Pillow",
                 "swath bench io --root images/ --workers 1"),
        rest, [](const auto& options, c10::Device, Ranks*) { return bench::bench_io(options); });
  }
#ifdef SWATH_WITH_HDF4
  if (what == "chips") {
    return run_one<bench::ChipsBenchOptions>(
        describe("MODIS granules to calibrated chips, beside satpy and pyhdf",
                 "swath bench chips --repeats 5"),
        rest, [](const auto& options, c10::Device, Ranks*) { return bench::bench_chips(options); });
  }
  if (what == "chip-loader") {
    return run_one<bench::ChipLoaderBenchOptions>(
        describe("calibrated batches from chips in record shards, beside pread",
                 "swath bench chip-loader --workers 1"),
        rest,
        [](const auto& options, c10::Device, Ranks*) { return bench::bench_chip_loader(options); });
  }
#endif
  if (what == "syn") {
    return run_one<bench::StepBenchOptions>(
        describe("training steps on one cached random batch",
                 "swath launch -n 2 -- swath bench syn --model vit_base --strategy FULL_SHARD"),
        rest, [](const auto& options, c10::Device device, Ranks* ranks) {
          return bench::bench_syn(options, device, ranks->groups());
        });
  }
  if (what == "syn-no-comm") {
    return run_one<bench::StepBenchOptions>(
        describe(
            "one rank of a job of any size, with communication that costs nothing",
            "swath bench syn-no-comm --model vit_base --strategy FULL_SHARD --pretend-world 64"),
        rest, [](const auto& options, c10::Device device, Ranks*) {
          return bench::bench_syn_no_comm(options, device);
        });
  }
  if (what == "real") {
    return run_one<bench::StepBenchOptions>(
        describe("training steps on a dataset", "swath bench real --model vit_base --root images/"),
        rest, [](const auto& options, c10::Device device, Ranks* ranks) {
          return bench::bench_real(options, device, ranks->groups());
        });
  }
  if (what == "peer") {
    return run_one<bench::StepBenchOptions>(
        describe("the same step in torch and timm, in turns with ours",
                 "swath bench peer --model vit_base --batch_size 16 --precision fp32"),
        rest, [](const auto& options, c10::Device device, Ranks* ranks) {
          return bench::bench_peer(options, device, ranks->groups());
        });
  }
  if (what == "collectives") {
    return run_one<bench::CollectivesBenchOptions>(
        describe("the network between ranks, collective by collective",
                 "swath launch -n 2 -- swath bench collectives --mib [1,16]"),
        rest, [](const auto& options, c10::Device device, Ranks* ranks) {
          if (ranks->groups() == nullptr) {
            throw UsageError("bench collectives: one process has nobody to talk to.",
                             "swath launch -n 2 -- swath bench collectives");
          }
          // An emulated network slows down ours alone.
          const bool compares = options.sharding.emulate.ranks_per_node == 0;
          const auto library = compares ? ranks->library_groups() : nullptr;
          return bench::bench_collectives(options, device, *ranks->groups(), library.get());
        });
  }
  if (what == "sweep") {
    return run_sweep(describe("a table of strategies x prefetch x limit x ranks, as CSV and JSON",
                              "swath bench sweep --output runs/sweep --ranks [1,2] -- "
                              "--model vit_base --batch_size 4"),
                     rest);
  }
  if (what == "--help" || what == "-h") {
    Outcome outcome;
    outcome.text = fmt::format("{}\n\nEach has its own --help.\n\nExample:\n  {}", syntax.summary,
                               syntax.example);
    return outcome;
  }
  throw UsageError(
      fmt::format("bench: unknown benchmark `{}`.", what),
      "benchmarks: io, chips, chip-loader, syn, syn-no-comm, real, peer, collectives, sweep.");
}

}  // namespace swath::apps
