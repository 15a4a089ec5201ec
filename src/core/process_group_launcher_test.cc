#include "core/process_group_launcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/files.h"

namespace swath {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ProcessGroupLauncher : public testing::Test {
 protected:
  ProcessGroupLauncher()
      : directory_(fs::temp_directory_path() / ("swath_launch_" + std::to_string(getpid()))) {
    alarm(60);  // a rank that is never ended stops the test instead of hanging it
    fs::create_directories(directory_);
    stdout_ = open_file("stdout");
    stderr_ = open_file("stderr");
    setenv("SWATH_TEST_FOLDER", directory_.c_str(), 1);
  }
  ~ProcessGroupLauncher() override {
    alarm(0);
    close(stdout_);
    close(stderr_);
    fs::remove_all(directory_);
  }

  // Ranks that run a shell script.
  RankLaunchOptions options(int64_t num_ranks, const std::string& script) const {
    RankLaunchOptions result;
    result.command = {"sh", "-c", script};
    result.num_ranks = num_ranks;
    result.grace_seconds = 0.3;
    result.stdout_descriptor = stdout_;
    result.stderr_descriptor = stderr_;
    return result;
  }

  std::string text_of(const std::string& name) const { return read_file(directory_ / name); }
  std::vector<std::string> sorted_lines(const std::string& name) const {
    std::vector<std::string> lines;
    std::istringstream stream(text_of(name));
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  void wait_for_file(const std::string& name) const {
    while (!fs::exists(directory_ / name))
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  // launch_ranks in a process of its own, to which signals can be sent.
  pid_t launch_apart(const RankLaunchOptions& options) {
    const pid_t process = fork();
    if (process == 0) {
      alarm(60);  // of its own: a child does not inherit it
      _exit(launch_ranks(options).exit_code);
    }
    return process;
  }
  static int exit_code_of(pid_t process) {
    int status = 0;
    waitpid(process, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  static bool is_alive(pid_t process) { return kill(process, 0) == 0; }
  pid_t process_in(const std::string& name) const { return std::stoi(text_of(name)); }

  fs::path directory_;

 private:
  int open_file(const std::string& name) const {
    return open((directory_ / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
  }
  int stdout_ = -1;
  int stderr_ = -1;
};

bool has_children() { return waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD; }

TEST_F(ProcessGroupLauncher, GivesTorchrunsVariables) {
  const RankLaunchResult result =
      launch_ranks(options(3,
                           "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $GROUP_RANK "
                           "$MASTER_ADDR $TORCHELASTIC_RESTART_COUNT; echo $MASTER_PORT >&2; cat"));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_FALSE(result.failure);
  EXPECT_THAT(sorted_lines("stdout"), ElementsAre("0/3 0/3 0 127.0.0.1 0", "1/3 1/3 0 127.0.0.1 0",
                                                  "2/3 2/3 0 127.0.0.1 0"));
  const auto ports = sorted_lines("stderr");
  ASSERT_EQ(ports.size(), 3);
  EXPECT_THAT(ports[0], testing::StartsWith("[rank 0] "));
  const std::string port = ports[0].substr(9);
  EXPECT_GT(std::stoi(port), 1023);
  EXPECT_EQ(ports[2], "[rank 2] " + port);
}

TEST_F(ProcessGroupLauncher, SharesTheCores) {
  const char* outer = std::getenv("OMP_NUM_THREADS");
  const std::string kept = outer == nullptr ? "" : outer;
  unsetenv("OMP_NUM_THREADS");
  launch_ranks(options(8, "echo $OMP_NUM_THREADS"));
  for (const std::string& line : sorted_lines("stdout")) {
    EXPECT_GE(std::stoi(line), 1);
    EXPECT_LE(std::stoi(line) * 8, std::max(8U, std::thread::hardware_concurrency()));
  }
  setenv("OMP_NUM_THREADS", "7", 1);
  launch_ranks(options(1, "echo threads $OMP_NUM_THREADS"));
  EXPECT_THAT(text_of("stdout"), HasSubstr("threads 7"));
  if (outer == nullptr) {
    unsetenv("OMP_NUM_THREADS");
  } else {
    setenv("OMP_NUM_THREADS", kept.c_str(), 1);
  }
}

TEST_F(ProcessGroupLauncher, LinesOfRanksDoNotMix) {
  RankLaunchOptions four = options(
      4,
      "i=0; while [ $i -lt 200 ]; do printf a$RANK; printf b$RANK; echo c$RANK; i=$((i+1)); "
      "done; printf end$RANK >&2");
  four.prefixes_stderr = false;
  launch_ranks(four);
  const auto lines = sorted_lines("stdout");
  ASSERT_EQ(lines.size(), 800);
  EXPECT_EQ(lines[0], "a0b0c0");
  EXPECT_EQ(lines[799], "a3b3c3");
  EXPECT_THAT(sorted_lines("stderr"), ElementsAre("end0", "end1", "end2", "end3"));
}

TEST_F(ProcessGroupLauncher, FirstFailureEndsAllAndIsNamed) {
  const RankLaunchResult result = launch_ranks(
      options(3,
              "if [ $RANK = 1 ]; then echo first >&2; echo 'no memory left' >&2; exit 3; fi; "
              "sleep 100; echo not reached"));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_LT(result.seconds, 20);
  ASSERT_TRUE(result.failure);
  EXPECT_EQ(result.failure->rank, 1);
  EXPECT_EQ(result.failure->exit_code, 3);
  EXPECT_EQ(result.failure->signal, 0);
  EXPECT_EQ(result.failure->last_stderr, "first\nno memory left");
  EXPECT_THAT(to_text(*result.failure), AllOf(HasSubstr("rank 1 of 3 ended with exit code 3"),
                                              HasSubstr("\n  no memory left")));
  EXPECT_EQ(text_of("stdout"), "");
  EXPECT_FALSE(has_children());
}

TEST_F(ProcessGroupLauncher, RankThatASignalEndedIsNamed) {
  const RankLaunchResult result =
      launch_ranks(options(2, "if [ $RANK = 0 ]; then kill -9 $$; fi; sleep 100"));
  EXPECT_EQ(result.exit_code, 128 + SIGKILL);
  ASSERT_TRUE(result.failure);
  EXPECT_EQ(result.failure->rank, 0);
  EXPECT_THAT(to_text(*result.failure),
              AllOf(HasSubstr("rank 0 of 2 was ended by signal 9"), HasSubstr("wrote nothing")));
}

// The others' own failures, caused by the first, are not the news.
TEST_F(ProcessGroupLauncher, LaterFailuresDoNotHideTheFirst) {
  const RankLaunchResult result =
      launch_ranks(options(2,
                           "trap 'exit 9' TERM; if [ $RANK = 1 ]; then exit 4; fi; "
                           "while true; do sleep 0.02; done"));
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_EQ(result.failure->rank, 1);
}

TEST_F(ProcessGroupLauncher, RankThatIgnoresTheEndIsKilled) {
  const RankLaunchResult result = launch_ranks(
      options(2,
              "if [ $RANK = 0 ]; then trap '' TERM; echo $$ > $SWATH_TEST_FOLDER/stubborn; "
              "while true; do sleep 0.05; done; fi; "
              "while [ ! -s $SWATH_TEST_FOLDER/stubborn ]; do sleep 0.02; done; exit 5"));
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_GE(result.seconds, 0.3);
  EXPECT_FALSE(is_alive(process_in("stubborn")));
  EXPECT_FALSE(has_children());
}

TEST_F(ProcessGroupLauncher, WhatRanksLeaveBehindIsEnded) {
  const RankLaunchResult result =
      launch_ranks(options(2, "sleep 100 & echo $! > $SWATH_TEST_FOLDER/left$RANK"));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_LT(result.seconds, 20);
  EXPECT_FALSE(is_alive(process_in("left0")));
  EXPECT_FALSE(is_alive(process_in("left1")));
  EXPECT_FALSE(has_children());
}

TEST_F(ProcessGroupLauncher, OnlyTheLastLinesAreKept) {
  const RankLaunchResult result = launch_ranks(
      options(1, "i=0; while [ $i -lt 100 ]; do echo line $i >&2; i=$((i+1)); done; exit 1"));
  EXPECT_THAT(result.failure->last_stderr, testing::StartsWith("line 80\n"));
  EXPECT_THAT(result.failure->last_stderr, testing::EndsWith("line 99"));
  EXPECT_THAT(text_of("stderr"), HasSubstr("[rank 0] line 0\n"));
}

TEST_F(ProcessGroupLauncher, RestartsWithTheRanksThatAreLeft) {
  RankLaunchOptions three =
      options(3,
              "echo start $TORCHELASTIC_RESTART_COUNT $RANK/$WORLD_SIZE; "
              "[ $WORLD_SIZE = 2 ] || { [ $RANK != 2 ] || exit 1; sleep 100; }");
  three.max_restarts = 2;
  const RankLaunchResult result = launch_ranks(three);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.num_ranks, 2);
  EXPECT_EQ(result.num_restarts, 1);
  EXPECT_FALSE(result.failure);
  EXPECT_THAT(text_of("stdout"), AllOf(HasSubstr("start 0 2/3"), HasSubstr("start 1 0/2"),
                                       HasSubstr("start 1 1/2"), Not(HasSubstr("start 2"))));
}

TEST_F(ProcessGroupLauncher, RestartsAreCountedAndKeepTheLeastRanks) {
  RankLaunchOptions two = options(2, "echo $RANK/$WORLD_SIZE; [ $RANK = 0 ] || exit 6; sleep 100");
  two.max_restarts = 2;
  two.min_ranks = 2;
  const RankLaunchResult result = launch_ranks(two);
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_EQ(result.num_ranks, 2);
  EXPECT_EQ(result.num_restarts, 2);
  const std::string text = text_of("stdout");
  size_t starts = 0;
  for (size_t at = text.find("1/2"); at != std::string::npos; at = text.find("1/2", at + 1)) {
    ++starts;
  }
  EXPECT_EQ(starts, 3);
}

TEST_F(ProcessGroupLauncher, WrongUsageIsNotTriedAgain) {
  RankLaunchOptions two = options(2, "exit 2");
  two.max_restarts = 3;
  const RankLaunchResult result = launch_ranks(two);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.num_restarts, 0);
}

TEST_F(ProcessGroupLauncher, PassesSignalsOnAndWaits) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    SCOPED_TRACE(signal);
    fs::remove(directory_ / "ready0");
    fs::remove(directory_ / "ready1");
    // Takes longer than the grace time, as a checkpoint may.
    RankLaunchOptions two =
        options(2,
                "trap 'sleep 0.6; echo saved $RANK; exit $CODE' TERM INT USR1; "
                "touch $SWATH_TEST_FOLDER/ready$RANK; while true; do sleep 0.02; done");
    two.max_restarts = 1;
    setenv("CODE", std::to_string(128 + signal).c_str(), 1);
    const pid_t process = launch_apart(two);
    wait_for_file("ready0");
    wait_for_file("ready1");
    kill(process, signal);
    EXPECT_EQ(exit_code_of(process), 128 + signal);
  }
  const auto lines = sorted_lines("stdout");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "saved 0"), 3);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "saved 1"), 3);
}

TEST_F(ProcessGroupLauncher, SecondSignalDoesNotWaitForEver) {
  const pid_t process = launch_apart(
      options(1,
              "trap 'touch $SWATH_TEST_FOLDER/once' TERM; touch $SWATH_TEST_FOLDER/ready; "
              "while true; do sleep 0.02; done"));
  wait_for_file("ready");
  kill(process, SIGTERM);
  wait_for_file("once");
  kill(process, SIGTERM);
  EXPECT_EQ(exit_code_of(process), 128 + SIGKILL);
}

TEST_F(ProcessGroupLauncher, RanksDieWithTheLauncher) {
  const pid_t process =
      launch_apart(options(1,
                           "echo $$ > $SWATH_TEST_FOLDER/number; "
                           "mv $SWATH_TEST_FOLDER/number $SWATH_TEST_FOLDER/rank; exec sleep 100"));
  wait_for_file("rank");
  kill(process, SIGKILL);
  EXPECT_EQ(exit_code_of(process), 1000 + SIGKILL);
  // Whoever adopts it may bury it late: a zombie is dead too.
  const auto is_dead = [&] {
    std::ifstream stat("/proc/" + text_of("rank").substr(0, text_of("rank").find('\n')) + "/stat");
    std::string number, name, state;
    return !(stat >> number >> name >> state) || state == "Z";
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!is_dead() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(is_dead());
}

TEST_F(ProcessGroupLauncher, WrongCommandsAreNamed) {
  RankLaunchOptions wrong = options(2, "");
  wrong.command = {"/nowhere/program"};
  try {
    launch_ranks(wrong);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("/nowhere/program"), HasSubstr("No such file")));
  }
  EXPECT_FALSE(has_children());
  wrong.command = {};
  EXPECT_THROW(launch_ranks(wrong), UsageError);
  EXPECT_THROW(launch_ranks(options(0, "true")), UsageError);
  RankLaunchOptions too_many = options(2, "true");
  too_many.min_ranks = 3;
  EXPECT_THROW(launch_ranks(too_many), UsageError);
}

// The caller's signals are as before.
TEST_F(ProcessGroupLauncher, LeavesTheSignalMaskAlone) {
  sigset_t before, after;
  pthread_sigmask(SIG_BLOCK, nullptr, &before);
  launch_ranks(options(1, "true"));
  pthread_sigmask(SIG_BLOCK, nullptr, &after);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD}) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
  }
}

}  // namespace
}  // namespace swath
