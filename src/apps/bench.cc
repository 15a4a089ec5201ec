#include <fmt/format.h>
#include <torch/torch.h>

#include "apps/commands.h"
#include "apps/pretrain_options.h"
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
  RunOptions run;
  Bench bench;

  void describe(FieldTable& fields) {
    run.describe(fields);
    bench.describe(fields);
  }
};

template <class Bench>
Outcome run_one(const CommandSyntax& syntax, const Words& words,
                const std::function<Json(const Bench&, c10::Device)>& bench) {
  BenchCommandOptions<Bench> options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  options.bench.data.root = expand_environment(options.bench.data.root);
  ops::set_backend(options.run.ops);
  if (options.run.threads > 0) at::set_num_threads(static_cast<int>(options.run.threads));
  outcome.json = bench(options.bench, select_device(options.run.device));
  if (!options.run.output.empty()) {
    write_file_atomically(options.run.output, outcome.json.dump(1) + "\n");
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
