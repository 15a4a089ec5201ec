#include <fmt/format.h>
#include <torch/torch.h>

#include <filesystem>

#include "apps/commands.h"
#include "bench/io_bench.h"
#include "bench/step_bench.h"
#include "core/error.h"
#include "core/files.h"
#include "core/tensor/device.h"
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
Outcome run_one(const CommandSyntax& syntax, const Words& words,
                const std::function<Json(const Bench&, c10::Device)>& bench) {
  BenchCommandOptions<Bench> options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  check_output(options.output, arguments.overwrite);
  options.bench.data.root = expand_environment(options.bench.data.root);
  ops::set_backend(options.ops);
  if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
  outcome.json = bench(options.bench, select_device(options.device));
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
        rest, [](const auto& options, c10::Device) { return bench::bench_io(options); });
  }
  if (what == "syn") {
    return run_one<bench::StepBenchOptions>(
        describe("training steps on one cached random batch", "swath bench syn --model vit_base"),
        rest, bench::bench_syn);
  }
  if (what == "real") {
    return run_one<bench::StepBenchOptions>(
        describe("training steps on a dataset", "swath bench real --model vit_base --root images/"),
        rest, bench::bench_real);
  }
  if (what == "peer") {
    return run_one<bench::StepBenchOptions>(
        describe("the same step in torch and timm, in turns with ours",
                 "swath bench peer --model vit_base --batch_size 16 --precision fp32"),
        rest, bench::bench_peer);
  }
  if (what == "--help" || what == "-h") {
    Outcome outcome;
    outcome.text = fmt::format("{}\n\nEach has its own --help.\n\nExample:\n  {}", syntax.summary,
                               syntax.example);
    return outcome;
  }
  throw UsageError(fmt::format("bench: unknown benchmark `{}`.", what),
                   "benchmarks: io, syn, real, peer.");
}

}  // namespace swath::apps
