#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "apps/commands.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "data/modis/synthetic_scene.h"

namespace swath::apps {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kBatchOfRecipe = 32;

struct ModisDemoOptions {
  std::string output;
  std::string root;
  std::string labels;
  std::string device = "auto";
  double minutes = 5;
  int64_t granules = 24;
  int64_t threads = 0;
  int64_t seed = 0;

  void describe(FieldTable& fields) {
    fields.add("output", &output, "directory for everything; empty: runs/demo-modis-N");
    fields.add("root", &root, "your MOD021KM and MYD021KM files; empty: synthetic granules");
    fields.add("labels", &labels,
               "their cloud classes, as `data label` takes them; empty: derived");
    fields.add("minutes", &minutes, "of pretraining").at_least(0.01);
    fields.add("granules", &granules, "synthetic ones").at_least(6);
    fields.add("device", &device, "where to compute").one_of({"auto", "cpu", "cuda"});
    fields.add("threads", &threads, "compute threads; 0: one per processor core").at_least(0);
    fields.add("seed", &seed, "of synthetic granules, training and evaluation").at_least(0);
  }
};

// Runs one command of the program, after saying which.
Json step(const std::string& name, const Words& words) {
  log_info(fmt::format("$ swath {} {}", name, fmt::join(words, " ")));
  const auto found =
      std::find_if(commands().begin(), commands().end(),
                   [&](const Command& command) { return command.syntax.name == name; });
  const Outcome outcome = found->run(found->syntax, words);
  if (outcome.exit_code != 0) {
    throw Error(fmt::format("demo modis: `swath {}` ended with code {}.", name, outcome.exit_code));
  }
  return outcome.json;
}

}  // namespace

// From granules to a page, as the commands that a scientist would type.
Outcome run_demo_modis(const Words& words) {
  const CommandSyntax syntax = {"demo modis",
                                "from MODIS granules to chips, SimMIM, cloud classes and a page",
                                "swath demo modis --root granules/",
                                {}};
  const auto start = Clock::now();
  ModisDemoOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  const fs::path directory =
      make_output_directory(options.output, "demo-modis", arguments.overwrite);
  write_file_atomically(directory / "config.toml", fields.to_toml());
  const auto in = [&](const char* name) { return (directory / name).string(); };
  const Words machine = {"--device",  options.device,
                         "--threads", std::to_string(options.threads),
                         "--seed",    std::to_string(options.seed)};
  const auto with_machine = [&](Words of_command) {
    of_command.insert(of_command.end(), machine.begin(), machine.end());
    return of_command;
  };

  // 1. Granules to chips.
  const bool is_synthetic = options.root.empty();
  if (is_synthetic) {
    options.root = in("granules");
    // Half as long as real ones: more granules, and so more weather, in the same time. The demo's
    // seeds count from 0, those of synthesize from 1.
    step("data", {"synthesize", "--platform", "terra", "--granules",
                  std::to_string(options.granules), "--scans", "103", "--deflate_level", "1",
                  "--seed", std::to_string(1 + options.seed), "--output", options.root});
  }
  const Json chips = step("chips", {"--root", options.root, "--output", in("chips"), "--invalid",
                                    "clamp", "--max_view_zenith", "60", "--skip_bad", "true"});

  if (chips.at("used") < 2) {
    throw UsageError(fmt::format("demo modis: {} of {} granules in {} can be used; one is for "
                                 "training, another for the test.",
                                 chips.at("used").get<int64_t>(),
                                 chips.at("granules").get<int64_t>(), options.root),
                     "add day granules; chips/granules.csv says what is wrong with the others.");
  }

  // 2. Cloud classes of the chips, split so that no granule is on both sides.
  Words label = {"label", "--root",  in("chips"), "--split.by", "granules", "--fractions",
                 "0.1,1", "--draws", "1",         "--output",   in("lists")};
  if (options.labels.empty()) {
    options.labels = in("labels");
    if (is_synthetic) {
      step("data", {"product-labels", "--root", in("chips"), "--products", options.root, "--field",
                    data::modis::kRegimeField, "--output", options.labels});
    } else {
      step("data", {"derive-labels", "--root", in("chips"), "--output", options.labels});
    }
  }
  label.insert(label.end(), {"--labels", options.labels});
  const Json labelled = step("data", label);
  int64_t held_out = 0;
  for (const Json& list : labelled.at("lists")) {
    if (list.at("part") == "held_out") held_out = list.at("images");
  }

  // 3. Pretraining without a label, and without the granules of the test.
  Words pretrain = {"modis_demo",
                    "--root",
                    in("chips"),
                    "--data.exclude_list",
                    in("lists/held_out.txt"),
                    "--test_list",
                    in("lists/test.txt"),
                    "--minutes",
                    fmt::format("{}", options.minutes),
                    "--output",
                    in("pretrain")};
  // A few granules of one's own have fewer chips than the recipe's batch.
  const int64_t half = (chips.at("chips").get<int64_t>() - held_out) / 2;
  if (half < kBatchOfRecipe) {
    pretrain.insert(pretrain.end(), {"--batch_size", std::to_string(std::max<int64_t>(1, half))});
  }
  const Json trained = step("pretrain", with_machine(pretrain));

  // 4. What the features are worth, where which of them lie, and the page.
  // Some sixty steps of fine-tuning go nowhere at the rate that is meant for thousands.
  const Json measured =
      step("clouds", with_machine({in("pretrain"), "--root", in("chips"), "--lists", in("lists"),
                                   "--finetune.epochs", "5", "--finetune_min_steps", "60",
                                   "--finetune.optim.base_lr", "4e-3", "--output", in("clouds")}));
  step("embed", with_machine({in("pretrain"), "--root", in("chips"), "--pooling", "mean",
                              "--evaluation", "none", "--output", in("embeddings")}));
  const Json page = step(
      "report", {in("pretrain"), in("clouds"), in("embeddings"), "--output", in("report.html")});
  outcome.json = {{"top1", measured.at("top1")},
                  {"table", measured.at("table")},
                  {"derived", measured.at("derived")},
                  {"chips", chips},
                  {"pretraining", trained},
                  {"report", page.at("report")},
                  {"output", directory.string()},
                  {"seconds", seconds_since(start)}};
  outcome.text = fmt::format("Open {} in a browser.", page.at("report").get<std::string>());
  return outcome;
}

}  // namespace swath::apps
