// swath launch: the ranks of one host.
#include <fmt/format.h>

#include <algorithm>

#include "apps/commands.h"
#include "core/error.h"
#include "core/launch_environment.h"
#include "core/process_group_launcher.h"

namespace swath::apps {
namespace {

struct LaunchCommandOptions {
  int64_t ranks = 1;
  int64_t restart = 0;
  int64_t min_ranks = 1;
  double grace_seconds = 10;
  bool prefix = true;

  void describe(FieldTable& fields) {
    fields.add("ranks", &ranks, "processes to start").at_least(1).at_most(4096).flag("n");
    fields
        .add("restart", &restart,
             "starts after a failure, each with one rank fewer; the command has to go on by itself "
             "(a named output, resume=auto)")
        .at_least(0);
    fields.add("min_ranks", &min_ranks, "a restart has no fewer ranks").at_least(1);
    fields
        .add("grace_seconds", &grace_seconds,
             "between SIGTERM and SIGKILL for ranks that outlive a failure")
        .at_least(0)
        .flag("grace");
    fields.add("prefix", &prefix, "`[rank 3] ` before each line that a rank writes to stderr");
  }
};

void refuse_inside_a_rank() {
  const LaunchEnvironment outer = read_launch_environment();
  if (outer.world_size == 1) return;
  throw UsageError(fmt::format("launch: this is already rank {} of {} ({}).", outer.rank,
                               outer.world_size, outer.launcher),
                   "start the command itself with that launcher, or `swath launch` once.");
}

Json to_json(const RankFailure& failure) {
  Json json = {{"rank", failure.rank}, {"ranks", failure.num_ranks}};
  json["exit_code"] = failure.signal == 0 ? Json(failure.exit_code) : Json(nullptr);
  json["signal"] = failure.signal != 0 ? Json(failure.signal) : Json(nullptr);
  json["seconds"] = failure.seconds;
  json["stderr"] = failure.last_stderr;
  return json;
}

}  // namespace

Outcome run_launch(const CommandSyntax& syntax, const Words& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  const auto is_help = [](const std::string& word) { return word == "--help" || word == "-h"; };
  if (words.end() - dashes < 2 && std::none_of(words.begin(), dashes, is_help)) {
    throw UsageError("launch: no command.", "put it behind `--`: " + syntax.example);
  }
  LaunchCommandOptions options;
  FieldTable fields = make_field_table(options);
  Outcome outcome;
  if (parse_arguments(syntax, {words.begin(), dashes}, fields).help) return outcome;
  refuse_inside_a_rank();
  RankLaunchOptions launch;
  launch.command.assign(dashes + 1, words.end());
  launch.num_ranks = options.ranks;
  launch.max_restarts = options.restart;
  launch.min_ranks = options.min_ranks;
  launch.grace_seconds = options.grace_seconds;
  launch.prefixes_stderr = options.prefix;
  const RankLaunchResult result = launch_ranks(launch);
  if (result.failure) {
    fmt::print(stderr, "swath: error: launch: {}\n", to_text(*result.failure));
  }
  outcome.exit_code = result.exit_code;
  outcome.json = {{"ranks", result.num_ranks},
                  {"restarts", result.num_restarts},
                  {"exit_code", result.exit_code},
                  {"seconds", result.seconds}};
  outcome.json["first_failure"] = result.failure ? to_json(*result.failure) : Json(nullptr);
  return outcome;
}

}  // namespace swath::apps
