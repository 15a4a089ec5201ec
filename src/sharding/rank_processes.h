// For tests: ranks that are processes of the running test program, and what such a rank checks.
//
// The program's test GlooGroupsRank.DISABLED_Body runs in each of them, told by SWATH_TEST_BODY
// what to do; it ends with exit code 0 when all is as it should be.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/process_group_launcher.h"
#include "sharding/toy_cases.h"
#include "sharding/toy_outcome.h"

// On a rank: ends it with exit code 1 unless `condition` holds.
#define DEMAND(condition)                                                \
  do {                                                                   \
    if (!(condition)) {                                                  \
      fmt::print(stderr, "line {}: not so: {}\n", __LINE__, #condition); \
      std::_Exit(1);                                                     \
    }                                                                    \
  } while (false)

namespace swath::sharding {

// Where ranks leave files for the test; the test deletes it.
inline const std::filesystem::path& ranks_folder() {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("swath_ranks_{}", getpid());
  return path;
}

struct RanksOfTest {
  RankLaunchResult launch;
  std::string stdout_text;
  std::string stderr_text;
};

inline RanksOfTest run_ranks_of_test(const std::string& body, int64_t num_ranks,
                                     double grace_seconds = 5) {
  std::filesystem::create_directories(ranks_folder());
  setenv("SWATH_TEST_BODY", body.c_str(), 1);
  setenv("SWATH_TEST_FOLDER", ranks_folder().c_str(), 1);
  RankLaunchOptions options;
  options.command = {std::filesystem::read_symlink("/proc/self/exe"),
                     "--gtest_filter=GlooGroupsRank.DISABLED_Body",
                     "--gtest_also_run_disabled_tests", "--gtest_brief=1"};
  options.num_ranks = num_ranks;
  options.grace_seconds = grace_seconds;
  const auto open_file = [](const std::string& name) {
    return open((ranks_folder() / name).c_str(), O_CREAT | O_TRUNC | O_RDWR, 0600);
  };
  options.stdout_descriptor = open_file("stdout");
  options.stderr_descriptor = open_file("stderr");
  RanksOfTest result;
  result.launch = launch_ranks(options);
  close(options.stdout_descriptor);
  close(options.stderr_descriptor);
  result.stdout_text = read_file(ranks_folder() / "stdout");
  result.stderr_text = read_file(ranks_folder() / "stderr");
  return result;
}

// On a rank: trains the toy in every `every`-th of the cases; losses and parameters must be those
// of one process on the whole batch.
inline void check_training(ProcessGroups& groups, const std::vector<ToyCase>& cases,
                           int64_t every) {
  at::set_num_threads(1);
  const std::map<int64_t, ToyOutcome> alone = train_alone_by_accumulation();
  for (size_t i = 0; i < cases.size(); i += static_cast<size_t>(every)) {
    const ToyCase& c = cases[i];
    const ToyOutcome& expected = alone.at(c.run.accumulation);
    ToyModel model;
    ShardedParameters parameters(model, model.spec(), c.strategy, groups, c.options, {});
    ToyOutcome found;
    found.losses = train_toy(model, parameters, c.run);
    found.parameters = with_own_part(parameters, expected.parameters);
    const double difference = difference_of(found, expected);
    if (difference <= kToyTolerance) continue;
    fmt::print(stderr, "{}: differs by {}\n", c.text(), difference);
    std::_Exit(1);
  }
  if (groups.rank() == 0) fmt::print("{} cases\n", (cases.size() + every - 1) / every);
}

}  // namespace swath::sharding
