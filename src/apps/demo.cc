#include <fmt/format.h>

#include <cstdlib>

#include "apps/commands.h"
#include "apps/pretrain.h"
#include "apps/probe.h"
#include "apps/recipes.h"
#include "apps/reconstruct.h"
#include "bench/report/report.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "data/land_cover.h"

namespace swath::apps {
namespace fs = std::filesystem;
namespace {

// The recipe's settings, and what only the demo has.
struct DemoOptions {
  PretrainOptions pretrain;
  data::LandCoverOptions chips;
  std::string chips_source;
  std::string chips_output;

  void describe(FieldTable& fields) {
    pretrain.describe(fields);
    fields.section("chips", chips);
    fields.add("chips_output", &chips_output, "folder for the chips; empty: beside the packages");
    fields.add("chips_source", &chips_source, "folder of the two packages; empty: .deps/demo-data");
  }
};

fs::path source_directory(const std::string& requested) {
  if (!requested.empty()) return requested;
  const char* home = std::getenv("SWATH_HOME");
  return fs::path(home != nullptr ? home : ".") / ".deps" / "demo-data";
}

// Chips cut with other settings lie in another folder, so that no run loses the data it was trained
// on.
fs::path chips_directory(DemoOptions& options) {
  if (!options.chips_output.empty()) return options.chips_output;
  const std::string settings = make_field_table(options.chips).to_toml();
  return source_directory(options.chips_source) /
         fmt::format("chips-{:08x}", xxh3(settings) & 0xffffffff);
}

// The protocol of the demo's table: a convex probe, few-shot curves and the land-cover map, on
// blocks of land that no training chip touches.
ProbeCommandOptions probe_options(const DemoOptions& options, const fs::path& chips) {
  ProbeCommandOptions probe;
  probe.run = options.pretrain.run;
  probe.sets.data.root = (chips / "train").string();
  probe.sets.test_root = (chips / "test").string();
  probe.image_size = -1;
  probe.probe.methods = {"linear", "logistic", "knn"};
  probe.probe.few_shot = {.shots = {1, 5, 20}, .episodes = 5};
  // A coarse search that fits into a demo; `swath probe` has the full protocol.
  probe.probe.logistic.num_c = 4;
  probe.probe.logistic.c_min = 1e-1;
  probe.probe.logistic.c_max = 1e2;
  probe.probe.logistic.tolerance = 1e-4;
  // The protocol's rate of 0.1 is meant for hundreds of thousands of images: in an epoch of some
  // twenty steps LARS would hardly leave the start. This is the rate of MAE's own large batches.
  probe.probe.linear.base_lr = 6.4;
  probe.probe.pixels.most_images = 300;
  probe.probe.pixels.probe.c_values = {1e-2, 1};
  probe.probe.pixels.probe.max_iterations = 200;
  probe.probe.features.pooling = "mean";
  probe.probe.transform.evaluation = "none";
  probe.probe.linear.augment = false;
  probe.probe.pixels.train_labels = (chips / "train_classes").string();
  probe.probe.pixels.test_labels = (chips / "test_classes").string();
  return probe;
}

}  // namespace

Outcome run_demo(const CommandSyntax& syntax, const Words& words) {
  if (!words.empty() && words.front() == "modis") {
    return run_demo_modis({words.begin() + 1, words.end()});
  }
  const auto start = Clock::now();
  DemoOptions options;
  FieldTable fields = make_field_table(options);
  fields.apply_toml(find_recipe("demo").toml, "demo");
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;

  // 1. Chips of Blue Marble with land-cover labels, split by place.
  const fs::path chips = chips_directory(options);
  Json cut;
  if (fs::exists(chips / "land_cover.json")) {
    cut = Json::parse(read_file(chips / "land_cover.json"));
  } else {
    log_info("cutting Blue Marble imagery into chips.");
    cut = data::make_land_cover_chips(
        data::find_land_cover_files(source_directory(options.chips_source)), chips, options.chips);
  }

  // 2. Pretraining without a label.
  options.pretrain.data.root = (chips / "pretrain").string();
  const Json trained = pretrain(options.pretrain, "demo", arguments.overwrite);
  const fs::path directory = trained.at("output").get<std::string>();
  if (trained.at("signal") != 0) {
    outcome.exit_code = 128 + trained.at("signal").get<int>();
    outcome.json = trained;
    return outcome;
  }

  // 3. What the features are worth, beside features that nobody trained.
  const Json measured = probe(directory.string(), probe_options(options, chips), directory);

  // 4. Pictures and the page.
  ReconstructCommandOptions pictures;
  pictures.run = options.pretrain.run;
  pictures.data.root = (chips / "test").string();
  reconstruct(open_trained_model(directory.string()), pictures, directory);
  bench::ReportOptions report;
  report.title = "swath demo: land cover from Blue Marble";
  const Json page = bench::write_report({directory}, report);

  outcome.json = {{"top1", measured.at("top1")},
                  {"baselines", measured.at("baselines")},
                  {"report", page.at("report")},
                  {"seconds", seconds_since(start)},
                  {"output", directory.string()},
                  {"pretraining", trained},
                  {"probe", measured},
                  {"chips", cut}};
  outcome.text = fmt::format("Open {} in a browser.", page.at("report").get<std::string>());
  return outcome;
}

}  // namespace swath::apps
