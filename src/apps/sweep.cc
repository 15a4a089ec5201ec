#include "apps/sweep.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "core/csv.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/process_group_launcher.h"
#include "core/strategy.h"

namespace swath::apps {
namespace fs = std::filesystem;
namespace {

struct SweepOptions {
  std::string output;
  std::string kind = "syn";
  std::vector<int64_t> ranks = {1, 2};
  std::vector<std::string> strategies = {"DDP", "NO_SHARD", "SHARD_GRAD_OP", "FULL_SHARD"};
  std::vector<std::string> prefetch = {"BACKWARD_PRE"};
  std::vector<std::string> limit = {"true"};

  void describe(FieldTable& fields) {
    fields.add("output", &output, "directory of the results; one that is there goes on");
    fields.add("kind", &kind, "the benchmark").one_of({"syn", "syn-no-comm", "real"});
    fields.add("ranks", &ranks, "processes; with syn-no-comm the job that one poses as")
        .at_least(1);
    fields.add("strategies", &strategies, "as --strategy takes them");
    fields.add("prefetch", &prefetch, "of NONE, BACKWARD_POST, BACKWARD_PRE");
    fields.add("limit", &limit, "limit_all_gathers: of true, false");
  }
};

struct SweepCase {
  int64_t ranks = 1;
  std::string strategy;
  std::string prefetch;
  std::string limit;

  std::string name() const {
    return fmt::format("{}_{}_{}_{}", ranks, strategy, prefetch,
                       limit == "true" ? "limit" : "free");
  }
};

// Every case that says something: a strategy that fits its ranks, and prefetch and limit only where
// something is gathered. Throws UsageError for a strategy that fits none.
std::vector<SweepCase> cases_of(const SweepOptions& options) {
  std::vector<SweepCase> cases;
  for (const std::string& name : options.strategies) {
    StrategyOptions row;
    row.strategy = name;
    bool fits_any = false;
    for (const int64_t ranks : options.ranks) {
      Strategy strategy;
      try {
        strategy = make_strategy(row, ranks);
      } catch (const UsageError& error) {
        if (!fits_any && ranks == options.ranks.back()) throw;
        log_info(fmt::format("left out: {}", error.message()));
        continue;
      }
      fits_any = true;
      for (const std::string& prefetch : options.prefetch) {
        for (const std::string& limit : options.limit) {
          const bool is_first =
              prefetch == options.prefetch.front() && limit == options.limit.front();
          if (strategy.is_sharded() || is_first) cases.push_back({ranks, name, prefetch, limit});
        }
      }
    }
  }
  return cases;
}

// The exit code; the result is in `file` when that is 0.
int run_case(const SweepOptions& options, const SweepCase& c, const Words& passed_on,
             const fs::path& file) {
  RankLaunchOptions launch;
  launch.command = {fs::read_symlink("/proc/self/exe").string(), "bench", options.kind};
  launch.command.insert(launch.command.end(), passed_on.begin(), passed_on.end());
  for (const std::string& word : {"--strategy=" + c.strategy, "--prefetch=" + c.prefetch,
                                  "--sharding.limit_all_gathers=" + c.limit,
                                  "--output=" + file.string(), std::string("--overwrite")}) {
    launch.command.push_back(word);
  }
  if (options.kind == "syn-no-comm") {
    launch.command.push_back(fmt::format("--pretend-world={}", c.ranks));
  } else {
    launch.num_ranks = c.ranks;
  }
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  launch.stdout_descriptor = nowhere;
  const RankLaunchResult result = launch_ranks(launch);
  close(nowhere);
  if (result.failure) log_warning(fmt::format("{}: {}", c.name(), to_text(*result.failure)));
  return result.exit_code;
}

Json row_of(const SweepCase& c, const Json& result) {
  Json row = {{"ranks", c.ranks},
              {"strategy", c.strategy},
              {"prefetch", c.prefetch},
              {"limit_all_gathers", c.limit == "true"}};
  for (const char* key : {"images_per_second", "step_seconds", "mfu", "peak_memory_bytes",
                          "allocated_bytes", "exposed_communication", "data_wait", "telemetry"}) {
    if (result.contains(key)) row[key] = result.at(key);
  }
  return row;
}

void write_table(const fs::path& directory, const Json& rows) {
  std::string csv =
      "ranks,strategy,prefetch,limit_all_gathers,images_per_second,minimum,maximum,step_seconds,"
      "mfu,peak_memory_bytes,exposed_communication,joules\n";
  const auto number = [](const Json& row, const char* key) {
    return row.contains(key) ? csv_number(row.at(key)) : std::string();
  };
  for (const Json& row : rows) {
    const Json rate = row.value("images_per_second", Json::object());  // none with memory_only
    csv += fmt::format(
        "{},{},{},{},{},{},{},{},{},{},{},{}\n", row.at("ranks").get<int64_t>(),
        csv_cell(row.at("strategy").get<std::string>()), row.at("prefetch").get<std::string>(),
        row.at("limit_all_gathers").get<bool>(), number(rate, "median"), number(rate, "minimum"),
        number(rate, "maximum"), number(row, "step_seconds"), number(row, "mfu"),
        number(row, "peak_memory_bytes"), number(row, "exposed_communication"),
        row.contains("telemetry") ? number(row.at("telemetry"), "joules") : std::string());
  }
  write_file_atomically(directory / "sweep.csv", csv);
  write_file_atomically(directory / "sweep.json", Json{{"rows", rows}}.dump(1) + "\n");
}

}  // namespace

Outcome run_sweep(const CommandSyntax& syntax, const Words& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  SweepOptions options;
  FieldTable fields = make_field_table(options);
  Outcome outcome;
  if (parse_arguments(syntax, {words.begin(), dashes}, fields).help) return outcome;
  const Words passed_on(dashes == words.end() ? dashes : dashes + 1, words.end());
  if (options.output.empty()) {
    throw UsageError("bench sweep: no output directory.", "--output runs/sweep");
  }
  const fs::path directory = options.output;
  fs::create_directories(directory);

  Json rows = Json::array();
  int64_t failed = 0;
  const std::vector<SweepCase> cases = cases_of(options);
  for (size_t i = 0; i < cases.size(); ++i) {
    const SweepCase& c = cases[i];
    const fs::path file = directory / (c.name() + ".json");
    if (fs::exists(file)) {
      log_info(fmt::format("{} of {}: {} is there already.", i + 1, cases.size(), c.name()));
    } else {
      log_info(fmt::format("{} of {}: {}", i + 1, cases.size(), c.name()));
      const int code = run_case(options, c, passed_on, file);
      if (code > 128) {  // told to stop
        outcome.exit_code = code;
        return outcome;
      }
      if (code != 0) {
        ++failed;
        continue;
      }
    }
    rows.push_back(row_of(c, Json::parse(read_file(file))));
    write_table(directory, rows);
  }
  outcome.exit_code = failed > 0 ? 1 : 0;
  outcome.json = {{"rows", rows},
                  {"failed", failed},
                  {"csv", (directory / "sweep.csv").string()},
                  {"json", (directory / "sweep.json").string()}};
  outcome.text = read_file(directory / "sweep.csv");
  return outcome;
}

}  // namespace swath::apps
