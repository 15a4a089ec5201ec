#include "core/launch_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "core/error.h"

namespace swath {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Variables = std::map<std::string, std::string>;

LaunchEnvironment read(const Variables& variables) {
  return read_launch_environment([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

std::string error_of(const Variables& variables) {
  try {
    read(variables);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "(no error)";
}

// rank/world_size local_rank/local_world_size address:port launcher
std::string text_of(const Variables& variables) {
  const LaunchEnvironment e = read(variables);
  const auto number = [](int64_t value) { return std::to_string(value); };
  return number(e.rank) + "/" + number(e.world_size) + " " + number(e.local_rank) + "/" +
         number(e.local_world_size) + " " + e.master_address + ":" + number(e.master_port) + " " +
         e.launcher;
}

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

const Variables kTorchrun = {{"RANK", "5"},         {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},   {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "n1"}, {"MASTER_PORT", "1234"}};
const Variables kSlurm = {{"SLURM_PROCID", "5"},
                          {"SLURM_NTASKS", "7"},
                          {"SLURM_LOCALID", "1"},
                          {"SLURM_NODEID", "1"},
                          {"SLURM_STEP_ID", "2"},
                          {"SLURM_JOB_ID", "1000000"},
                          {"SLURM_STEP_TASKS_PER_NODE", "4,3"},
                          {"SLURM_JOB_NODELIST", "node[007-008]"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "2"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};

TEST(LaunchEnvironment, NothingMeansASingleProcess) {
  EXPECT_EQ(text_of({}), "0/1 0/1 127.0.0.1:0 single process");
  EXPECT_EQ(text_of({{"MASTER_ADDR", "n1"}}), "0/1 0/1 127.0.0.1:0 single process");
}

TEST(LaunchEnvironment, EachLauncher) {
  EXPECT_EQ(text_of(kTorchrun), "5/8 1/4 n1:1234 torchrun");
  EXPECT_EQ(text_of(kSlurm), "5/7 1/3 node007:25002 Slurm");
  EXPECT_EQ(text_of(kOpenMpi), "1/2 1/2 127.0.0.1:29500 Open MPI");
  EXPECT_EQ(text_of({{"PMI_RANK", "1"},
                     {"PMI_SIZE", "4"},
                     {"MPI_LOCALRANKID", "1"},
                     {"MPI_LOCALNRANKS", "2"},
                     {"MASTER_ADDR", "n1"}}),
            "1/4 1/2 n1:29500 PMI");
  EXPECT_EQ(text_of({{"PALS_RANKID", "3"},
                     {"PMI_SIZE", "4"},
                     {"PALS_LOCAL_RANKID", "1"},
                     {"PALS_LOCAL_SIZE", "2"},
                     {"MASTER_ADDR", "n1"}}),
            "3/4 1/2 n1:29500 PMI");
}

TEST(LaunchEnvironment, MasterOfTheUserBeatsSlurms) {
  EXPECT_EQ(text_of(with(kSlurm, {{"MASTER_ADDR", "n9"}, {"MASTER_PORT", "77"}})),
            "5/7 1/3 n9:77 Slurm");
}

TEST(LaunchEnvironment, LaunchersThatAgreeAreFine) {
  const Variables pmi_of_slurm = {{"PMI_RANK", "5"}, {"PMI_SIZE", "7"}};
  EXPECT_EQ(read(with(kSlurm, pmi_of_slurm)).rank, 5);
  EXPECT_EQ(text_of(with(kSlurm, {{"WORLD_SIZE", "7"}})), "5/7 1/3 node007:25002 Slurm");
}

TEST(LaunchEnvironment, ContradictionNamesBothVariables) {
  EXPECT_THAT(error_of(with(kSlurm, {{"RANK", "5"}, {"WORLD_SIZE", "8"}})),
              AllOf(HasSubstr("WORLD_SIZE=8"), HasSubstr("SLURM_NTASKS=7"),
                    HasSubstr("torchrun and Slurm"), HasSubstr("HINT")));
  EXPECT_THAT(error_of(with(kOpenMpi, {{"RANK", "0"}, {"WORLD_SIZE", "2"}})),
              AllOf(HasSubstr("RANK=0"), HasSubstr("OMPI_COMM_WORLD_RANK=1")));
  EXPECT_THAT(error_of(with(kSlurm, {{"WORLD_SIZE", "3"}})), HasSubstr("WORLD_SIZE=3"));
  EXPECT_THAT(error_of(with(kOpenMpi, {{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}})),
              AllOf(HasSubstr("OMPI_COMM_WORLD_RANK=1"), HasSubstr("SLURM_PROCID=3")));
}

// Slurm's variables then describe torchrun, or mpirun's daemon.
TEST(LaunchEnvironment, LaunchersInsideSlurmCountAlone) {
  const Variables in_step = with(kTorchrun, with(kSlurm, {{"TORCHELASTIC_RUN_ID", "x"}}));
  EXPECT_EQ(text_of(in_step), "5/8 1/4 n1:1234 torchrun");
  const Variables daemon = {{"SLURM_PROCID", "0"},
                            {"SLURM_STEP_NUM_TASKS", "1"},
                            {"SLURM_STEP_NUM_NODES", "1"},
                            {"SLURM_STEP_ID", "0"}};
  EXPECT_EQ(text_of(with(kOpenMpi, daemon)), "1/2 1/2 127.0.0.1:29500 Open MPI");
}

TEST(LaunchEnvironment, SlurmsShellsAreNoRanks) {
  const Variables shell = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "7"}};
  EXPECT_EQ(read(with(shell, {{"SLURM_STEP_ID", "4294967291"}})).world_size, 1);
  EXPECT_EQ(read(with(shell, {{"ENVIRONMENT", "BATCH"}})).world_size, 1);
  EXPECT_EQ(
      read(with(shell,
                {{"SLURM_STEP_ID", "0"}, {"SLURM_LOCALID", "0"}, {"SLURM_NTASKS_PER_NODE", "8"}}))
          .world_size,
      8);
}

TEST(LaunchEnvironment, LocalRanksWithoutAWordAreAllOfThem) {
  EXPECT_EQ(text_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}}), "1/2 1/2 127.0.0.1:29500 torchrun");
  EXPECT_THAT(error_of({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "n1"}}),
              AllOf(HasSubstr("MASTER_ADDR=n1"), HasSubstr("LOCAL_RANK")));
}

TEST(LaunchEnvironment, WrongValuesAreNamed) {
  EXPECT_THAT(error_of({{"RANK", "one"}, {"WORLD_SIZE", "2"}}), HasSubstr("RANK=one"));
  EXPECT_THAT(error_of({{"RANK", "-1"}, {"WORLD_SIZE", "2"}}), HasSubstr("RANK=-1"));
  EXPECT_THAT(error_of({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), HasSubstr("rank 2 of 2"));
  EXPECT_THAT(error_of({{"RANK", "0"}, {"WORLD_SIZE", "0"}}), HasSubstr("rank 0 of 0"));
  EXPECT_THAT(error_of({{"RANK", "2"}}),
              AllOf(HasSubstr("RANK=2"), HasSubstr("number of ranks"), HasSubstr("HINT")));
  EXPECT_THAT(error_of({{"WORLD_SIZE", "2"}}), HasSubstr("WORLD_SIZE=2"));
  EXPECT_THAT(error_of(with(kTorchrun, {{"LOCAL_RANK", "4"}})), HasSubstr("local rank 4 of 4"));
  EXPECT_THAT(error_of(with(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}})), HasSubstr("9 ranks on this"));
  EXPECT_THAT(error_of(with(kTorchrun, {{"MASTER_PORT", "65536"}})),
              HasSubstr("MASTER_PORT=65536"));
  EXPECT_THAT(error_of(with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "1"},
                                       {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}})),
              AllOf(HasSubstr("rank 0's host"), HasSubstr("MASTER_ADDR")));
  EXPECT_THAT(error_of(with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "7"}})),
              HasSubstr("host number 1"));
  EXPECT_THAT(error_of(with(kSlurm, {{"SLURM_JOB_NODELIST", "node[007-"}})),
              HasSubstr("node[007-"));
}

TEST(LaunchEnvironment, SlurmsLists) {
  EXPECT_EQ(first_slurm_host("node12"), "node12");
  EXPECT_EQ(first_slurm_host("login1,node[2-4]"), "login1");
  EXPECT_EQ(first_slurm_host("frontier[00001,00003-00009]"), "frontier00001");
  EXPECT_EQ(first_slurm_host("rack[0-1]n[04,9]-ib,x"), "rack0n04-ib");
  EXPECT_EQ(slurm_tasks_on_node("4(x2),3", 0), 4);
  EXPECT_EQ(slurm_tasks_on_node("4(x2),3", 1), 4);
  EXPECT_EQ(slurm_tasks_on_node("4(x2),3", 2), 3);
  EXPECT_EQ(slurm_tasks_on_node("4(x2),3", 3), std::nullopt);
  EXPECT_THROW(slurm_tasks_on_node("4(y2)", 0), UsageError);
}

TEST(LaunchEnvironment, EmptyVariablesAreAbsent) {
  setenv("SWATH_LAUNCH_TEST", "", 1);
  EXPECT_EQ(environment_variable("SWATH_LAUNCH_TEST"), std::nullopt);
  setenv("SWATH_LAUNCH_TEST", "1", 1);
  EXPECT_EQ(environment_variable("SWATH_LAUNCH_TEST"), "1");
  unsetenv("SWATH_LAUNCH_TEST");
}

}  // namespace
}  // namespace swath
