// swath: one program, many commands.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string_view>

#include "apps/commands.h"
#include "apps/version.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/launch_environment.h"
#include "core/log.h"
#include "core/tensor/memory.h"

namespace swath::apps {
namespace {

std::string overview() {
  std::string text =
      "swath pretrains vision foundation models on satellite data.\n\n"
      "Usage: swath COMMAND [OPTIONS]\n\n";
  for (const Command& command : commands()) {
    text += fmt::format("  {:<12} {}\n", command.syntax.name, command.syntax.summary);
  }
  return text + "\n`swath COMMAND --help` shows options and an example; start with `swath demo`.\n";
}

const Command& find_command(const std::string& name) {
  for (const Command& command : commands()) {
    if (command.syntax.name == name) return command;
  }
  throw UsageError(fmt::format("unknown command `{}`.", name),
                   "`swath --help` lists the commands.");
}

void print(const Outcome& outcome, bool as_json) {
  end_progress();
  if (as_json) {
    if (outcome.json.is_null()) return;  // another rank tells
    fmt::print("{}\n", outcome.json.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else if (!outcome.text.empty()) {
    fmt::print("{}\n", outcome.text);
  }
}

void refuse_several_ranks(const std::string& name) {
  const LaunchEnvironment environment = read_launch_environment();
  if (environment.world_size == 1) return;
  throw UsageError(fmt::format("{} was started as one of {} processes ({}); it works in one.", name,
                               environment.world_size, environment.launcher),
                   "start it once, without srun -n, torchrun, mpirun or launch.");
}

int run(const Words& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    std::fputs(overview().c_str(), words.empty() ? stderr : stdout);
    return words.empty() ? 2 : 0;
  }
  if (words[0] == "--version") {
    fmt::print("{}\n", version_text());
    return 0;
  }
  const Command& command = find_command(words[0]);
  if (!command.works_as_ranks) refuse_several_ranks(words[0]);
  const Words rest(words.begin() + 1, words.end());
  const Outcome outcome = command.run(command.syntax, rest);
  // Behind `--` stand the words of a command that `launch` starts.
  const auto end = std::find(rest.begin(), rest.end(), "--");
  print(outcome, std::find(rest.begin(), end, "--json") != end);
  return outcome.exit_code;
}

int report_failure(const std::string& message, int exit_code) {
  end_progress();
  fmt::print(stderr, "swath: error: {}\n", message);
  return exit_code;
}

}  // namespace
}  // namespace swath::apps

int main(int argc, char** argv) {
  using swath::apps::report_failure;
  // Who starts ranks takes signals itself, to pass them on.
  const auto word = [&](int i) { return std::string_view(i < argc ? argv[i] : ""); };
  const bool starts_ranks = word(1) == "launch" || (word(1) == "bench" && word(2) == "sweep");
  if (!starts_ranks) swath::watch_for_interrupts();
  swath::install_memory_counter();
  try {
    return swath::apps::run({argv + 1, argv + argc});
  } catch (const swath::UsageError& error) {
    return report_failure(error.what(), 2);
  } catch (const swath::Error& error) {
    const int signal = swath::interrupt_signal();
    return report_failure(error.what(), signal != 0 ? 128 + signal : 1);
  } catch (const std::bad_alloc&) {
    return report_failure("out of memory.\nHINT: lower the batch size.", 1);
  } catch (const std::exception& error) {
    return report_failure(error.what(), 1);
  }
}
