#include "core/launch_environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <vector>

#include "core/error.h"

namespace swath {
namespace {

// Numbers of a batch script, an interactive shell and the like; ranks belong to lower steps.
constexpr int64_t kFirstSpecialSlurmStep = 4294967280;
constexpr int64_t kDefaultPort = 29500;  // torchrun's
// Ports below the range that Linux gives to outgoing connections.
constexpr int64_t kFirstDerivedPort = 15000;
constexpr int64_t kNumDerivedPorts = 15000;

enum Quantity { kRank, kWorldSize, kLocalRank, kLocalWorldSize, kNumQuantities };

constexpr std::array<const char*, kNumQuantities> kQuantityNames = {
    "rank", "number of ranks", "local rank", "number of local ranks"};

// Variables of one launcher; the first that is set counts.
struct Family {
  const char* launcher;
  std::array<std::vector<const char*>, kNumQuantities> variables;
};

const Family& torchrun() {
  static const Family family = {"torchrun",
                                {{{"RANK"}, {"WORLD_SIZE"}, {"LOCAL_RANK"}, {"LOCAL_WORLD_SIZE"}}}};
  return family;
}

const Family& open_mpi() {
  static const Family family = {"Open MPI",
                                {{{"OMPI_COMM_WORLD_RANK"},
                                  {"OMPI_COMM_WORLD_SIZE"},
                                  {"OMPI_COMM_WORLD_LOCAL_RANK"},
                                  {"OMPI_COMM_WORLD_LOCAL_SIZE"}}}};
  return family;
}

const Family& pmi() {
  static const Family family = {
      "PMI",
      {{{"PMI_RANK", "PALS_RANKID", "MV2_COMM_WORLD_RANK"},
        {"PMI_SIZE", "PALS_SIZE", "MV2_COMM_WORLD_SIZE"},
        {"PMI_LOCAL_RANK", "MPI_LOCALRANKID", "PALS_LOCAL_RANKID", "MV2_COMM_WORLD_LOCAL_RANK"},
        {"PMI_LOCAL_SIZE", "MPI_LOCALNRANKS", "PALS_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE"}}}};
  return family;
}

const Family& slurm() {
  static const Family family = {"Slurm",
                                {{{"SLURM_PROCID"},
                                  {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"},
                                  {"SLURM_LOCALID"},
                                  {}}}};  // SLURM_TASKS_PER_NODE is a list: see slurm_local_size
  return family;
}

struct Reading {
  std::string variable;
  std::string text;
  int64_t value = 0;
};

int64_t parse_count(const std::string& variable, const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw UsageError(fmt::format("launch: {}={} is no count.", variable, text),
                     "it comes from the launcher, or from a script that sets it.");
  }
  return value;
}

std::optional<Reading> read_first(const EnvironmentLookup& lookup,
                                  const std::vector<const char*>& variables) {
  for (const char* variable : variables) {
    if (const auto text = lookup(variable)) {
      return Reading{variable, *text, parse_count(variable, *text)};
    }
  }
  return std::nullopt;
}

std::optional<int64_t> read_count(const EnvironmentLookup& lookup, const char* variable) {
  const auto reading = read_first(lookup, {variable});
  return reading ? std::optional(reading->value) : std::nullopt;
}

struct FamilyReading {
  const char* launcher = "";
  std::array<std::optional<Reading>, kNumQuantities> readings;

  bool is_present() const { return readings[kRank] || readings[kWorldSize]; }
  bool is_complete() const { return readings[kRank] && readings[kWorldSize]; }
};

FamilyReading read_family(const EnvironmentLookup& lookup, const Family& family) {
  FamilyReading reading;
  reading.launcher = family.launcher;
  for (int quantity = 0; quantity < kNumQuantities; ++quantity) {
    const auto index = static_cast<size_t>(quantity);
    reading.readings[index] = read_first(lookup, family.variables[index]);
  }
  return reading;
}

// The step's list, this host's number in it.
std::optional<Reading> slurm_local_size(const EnvironmentLookup& lookup) {
  const int64_t node = read_count(lookup, "SLURM_NODEID").value_or(0);
  for (const char* variable : {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}) {
    const auto text = lookup(variable);
    if (!text) continue;
    const auto tasks = slurm_tasks_on_node(*text, node);
    if (!tasks) {
      throw UsageError(
          fmt::format("launch: {}={} says nothing about host number {}.", variable, *text, node));
    }
    return Reading{variable, *text, *tasks};
  }
  return read_first(lookup, {"SLURM_NTASKS_PER_NODE"});
}

// Slurm sets its variables in batch scripts and login shells too, which are no ranks.
bool is_slurm_task(const EnvironmentLookup& lookup) {
  if (!lookup("SLURM_PROCID")) return false;
  if (const auto step = read_count(lookup, "SLURM_STEP_ID")) return *step < kFirstSpecialSlurmStep;
  return lookup("ENVIRONMENT").value_or("") != "BATCH";
}

// mpirun in a Slurm job has srun start one daemon per host, whose variables its ranks inherit.
bool is_one_task_per_host(const EnvironmentLookup& lookup) {
  const auto tasks = read_count(lookup, "SLURM_STEP_NUM_TASKS");
  return tasks && tasks == read_count(lookup, "SLURM_STEP_NUM_NODES");
}

std::vector<FamilyReading> read_families(const EnvironmentLookup& lookup) {
  std::vector<FamilyReading> families = {read_family(lookup, torchrun())};
  const bool is_started_by_torchrun =
      families.front().is_complete() && lookup("TORCHELASTIC_RUN_ID").has_value();
  if (is_started_by_torchrun) return families;
  const FamilyReading mpi = read_family(lookup, open_mpi());
  if (is_slurm_task(lookup) && !(mpi.is_present() && is_one_task_per_host(lookup))) {
    families.push_back(read_family(lookup, slurm()));
    families.back().readings[kLocalWorldSize] = slurm_local_size(lookup);
  }
  families.push_back(mpi);
  families.push_back(read_family(lookup, pmi()));
  std::erase_if(families, [](const FamilyReading& family) { return !family.is_present(); });
  return families;
}

// The value that all launchers which tell it agree on.
std::optional<Reading> agreed(const std::vector<FamilyReading>& families, Quantity quantity) {
  std::optional<Reading> first;
  const char* first_launcher = "";
  for (const FamilyReading& family : families) {
    const auto& reading = family.readings[quantity];
    if (!reading) continue;
    if (!first) {
      first = reading;
      first_launcher = family.launcher;
    } else if (first->value != reading->value) {
      throw UsageError(
          fmt::format("launch: {} and {} contradict each other in the {}: {}={}, {}={}.",
                      first_launcher, family.launcher, kQuantityNames[quantity], first->variable,
                      first->text, reading->variable, reading->text),
          fmt::format("start ranks with one launcher; what another left behind is removed by `env "
                      "-u {} …`.",
                      reading->variable));
    }
  }
  return first;
}

int64_t required(const std::vector<FamilyReading>& families, Quantity quantity) {
  if (const auto reading = agreed(families, quantity)) return reading->value;
  const FamilyReading& family = families.front();
  const Reading& known = *family.readings[quantity == kRank ? kWorldSize : kRank];
  throw UsageError(fmt::format("launch: {}={} is set, but nothing says the {}.", known.variable,
                               known.text, kQuantityNames[quantity]),
                   "set both RANK and WORLD_SIZE, or start ranks with torchrun, srun, mpirun or "
                   "`swath launch`.");
}

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address.starts_with("127.");
}

// The ranks of this host. When nothing tells them, all ranks are here, unless rank 0 is elsewhere.
void set_local(const std::vector<FamilyReading>& families, const EnvironmentLookup& lookup,
               LaunchEnvironment* result) {
  const auto local_rank = agreed(families, kLocalRank);
  const auto local_size = agreed(families, kLocalWorldSize);
  const std::string master = lookup("MASTER_ADDR").value_or("localhost");
  if (!local_rank && result->world_size > 1 && !is_loopback(master)) {
    throw UsageError(
        fmt::format("launch: rank {} of {} does not know its number on this host (MASTER_ADDR={}).",
                    result->rank, result->world_size, master),
        "set LOCAL_RANK and LOCAL_WORLD_SIZE.");
  }
  result->local_rank = local_rank ? local_rank->value : result->rank;
  result->local_world_size = local_size ? local_size->value : result->world_size;
}

void check_ranges(const LaunchEnvironment& result) {
  const auto check = [&](const char* what, int64_t rank, int64_t size) {
    if (rank < size) return;
    throw UsageError(fmt::format("launch: {} {} of {} ({}); they count from 0.", what, rank, size,
                                 result.launcher));
  };
  check("rank", result.rank, result.world_size);
  check("local rank", result.local_rank, result.local_world_size);
  if (result.local_world_size > result.world_size) {
    throw UsageError(fmt::format("launch: {} ranks on this host, but {} in all ({}).",
                                 result.local_world_size, result.world_size, result.launcher));
  }
}

bool has_slurm(const std::vector<FamilyReading>& families) {
  return std::any_of(families.begin(), families.end(), [](const FamilyReading& family) {
    return family.launcher == std::string_view(slurm().launcher);
  });
}

std::string master_address(const EnvironmentLookup& lookup,
                           const std::vector<FamilyReading>& families,
                           const LaunchEnvironment& environment) {
  if (const auto address = lookup("MASTER_ADDR")) return *address;
  if (environment.local_world_size == environment.world_size) return "127.0.0.1";
  if (has_slurm(families)) {
    for (const char* variable : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"}) {
      if (const auto list = lookup(variable)) return first_slurm_host(*list);
    }
  }
  throw UsageError(fmt::format("launch: rank {} of {} does not know rank 0's host ({}).",
                               environment.rank, environment.world_size, environment.launcher),
                   "set MASTER_ADDR to its name or address, the same on every rank.");
}

int64_t master_port(const EnvironmentLookup& lookup, const std::vector<FamilyReading>& families) {
  if (const auto text = lookup("MASTER_PORT")) {
    const int64_t port = parse_count("MASTER_PORT", *text);
    if (port < 1 || port > 65535) {
      throw UsageError(fmt::format("launch: MASTER_PORT={} is no port (1 to 65535).", *text));
    }
    return port;
  }
  // Two jobs or steps on one host must not meet.
  const auto job = read_count(lookup, "SLURM_JOB_ID");
  if (!has_slurm(families) || !job) return kDefaultPort;
  const int64_t step = read_count(lookup, "SLURM_STEP_ID").value_or(0);
  return kFirstDerivedPort + (*job + step) % kNumDerivedPorts;
}

}  // namespace

std::optional<std::string> environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

LaunchEnvironment read_launch_environment(const EnvironmentLookup& lookup) {
  LaunchEnvironment result;
  const std::vector<FamilyReading> families = read_families(lookup);
  if (families.empty()) return result;
  result.launcher = families.front().launcher;
  // A script may export WORLD_SIZE alone; who tells the rank is the launcher.
  const auto complete = std::find_if(families.begin(), families.end(),
                                     [](const auto& family) { return family.is_complete(); });
  if (complete != families.end()) result.launcher = complete->launcher;
  result.rank = required(families, kRank);
  result.world_size = required(families, kWorldSize);
  set_local(families, lookup, &result);
  check_ranges(result);
  if (result.world_size == 1) return result;
  result.master_address = master_address(lookup, families, result);
  result.master_port = master_port(lookup, families);
  return result;
}

std::string first_slurm_host(std::string_view node_list) {
  const auto refuse = [&] {
    throw UsageError(fmt::format("launch: Slurm's node list `{}` names no first host.", node_list),
                     "set MASTER_ADDR to the host of rank 0.");
  };
  std::string host;
  for (size_t i = 0; i < node_list.size() && node_list[i] != ','; ++i) {
    if (node_list[i] != '[') {
      host += node_list[i];
      continue;
    }
    const size_t end = node_list.find(']', i);
    if (end == std::string_view::npos) refuse();
    const std::string_view range = node_list.substr(i + 1, end - i - 1);
    host += range.substr(0, range.find_first_of(",-"));
    i = end;
  }
  if (host.empty()) refuse();
  return host;
}

std::optional<int64_t> slurm_tasks_on_node(std::string_view tasks_per_node, int64_t node) {
  const std::string text(tasks_per_node);
  int64_t first_node = 0;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const size_t times = item.find("(x");
    int64_t num_nodes = 1;
    if (times != std::string::npos && item.back() == ')') {
      num_nodes =
          parse_count("SLURM_TASKS_PER_NODE", item.substr(times + 2, item.size() - times - 3));
    }
    const int64_t tasks = parse_count("SLURM_TASKS_PER_NODE", item.substr(0, times));
    if (node < first_node + num_nodes) return tasks;
    first_node += num_nodes;
    begin = end + 1;
  }
  return std::nullopt;
}

}  // namespace swath
