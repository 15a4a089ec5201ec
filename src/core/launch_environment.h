// Which rank of how many this process is, from the variables of whoever started it: torchrun or
// `swath launch`, Slurm's srun, Open MPI's mpirun, or a PMI launcher (MPICH, PALS, MVAPICH).
// Without any of them it is the only one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace swath {

struct LaunchEnvironment {
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;  // among the ranks of this host: the number of its GPU
  int64_t local_world_size = 1;
  std::string master_address = "127.0.0.1";  // host of rank 0
  int64_t master_port = 0;                   // 0: a single process needs none
  // Who started it: "torchrun", "Slurm", "Open MPI", "PMI", "single process".
  std::string launcher = "single process";
};

// The value of a variable, or nothing.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;
// This process's own variables; an empty one counts as absent.
std::optional<std::string> environment_variable(const std::string& name);

// Reads the environment. Every launcher that left its variables must tell the same; two exceptions,
// where one launcher starts another: torchrun and `swath launch` (TORCHELASTIC_RUN_ID) count alone,
// and mpirun's daemons, which Slurm starts one per host, are no ranks. A Slurm batch script or
// login shell is no rank either. Throws UsageError naming variables and values when launchers
// contradict each other, when a part is missing, and for values that are no counts.
//
// Without MASTER_ADDR, rank 0's host is the first of Slurm's node list, or this host when all ranks
// are on it. Without MASTER_PORT, it follows from Slurm's job and step, or is 29500.
LaunchEnvironment read_launch_environment(const EnvironmentLookup& lookup = environment_variable);

// The first host of Slurm's "node[001-004,17],login2": "node001".
std::string first_slurm_host(std::string_view node_list);
// Tasks on host number `node` by Slurm's "4(x2),3", or nothing when the text has no such host.
std::optional<int64_t> slurm_tasks_on_node(std::string_view tasks_per_node, int64_t node);

}  // namespace swath
