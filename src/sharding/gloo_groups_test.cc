// Real processes over Gloo on this host's loopback. A test starts ranks of this very program, which
// run one of the bodies below and end with exit code 0 when all is as it should be.
#include "sharding/gloo_groups.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/process_group_launcher.h"
#include "sharding/local_parameters.h"
#include "sharding/nccl_groups.h"
#include "sharding/rank_processes.h"
#include "sharding/toy_cases.h"

namespace swath::sharding {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

// --- the ranks' side

RendezvousOptions quick_options() {
  RendezvousOptions options;
  options.timeout = 20s;
  options.start_timeout = 30s;
  return options;
}

void check_collectives(ProcessGroups& groups) {
  const int64_t rank = groups.rank();
  const int64_t size = groups.world_size();
  const auto world = groups.make_world_group("test");
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    // A part smaller than a segment, and one larger.
    for (const int64_t numel : {3, 400000}) {
      const auto options = at::TensorOptions(dtype);
      const at::Tensor part = at::full({numel}, static_cast<double>(rank + 1), options);
      const at::Tensor whole = at::empty({numel * size}, options);
      world->all_gather(whole, part, "gather");
      for (int64_t r = 0; r < size; ++r) {
        DEMAND(whole.narrow(0, r * numel, numel).eq(static_cast<double>(r + 1)).all().item<bool>());
      }
      // Rank r adds r + 1 times the slice's number.
      for (int64_t r = 0; r < size; ++r) {
        whole.narrow(0, r * numel, numel).fill_(static_cast<double>((rank + 1) * (r + 2)));
      }
      world->reduce_scatter(part, whole, "scatter");
      const auto sum = static_cast<double>(size * (size + 1)) / 2;
      DEMAND(part.eq(sum * static_cast<double>(rank + 2)).all().item<bool>());
      whole.fill_(static_cast<double>(rank + 1));
      world->all_reduce(whole, "reduce");
      DEMAND(whole.eq(sum).all().item<bool>());
      whole.fill_(static_cast<double>(rank));
      world->broadcast(whole, size - 1, "broadcast");
      DEMAND(whole.eq(static_cast<double>(size - 1)).all().item<bool>());
    }
  }
}

void train_until_somebody_fails(ProcessGroups& groups, const std::string& how) {
  at::set_num_threads(1);
  ToyModel model;
  StrategyOptions options;
  options.strategy = "FULL_SHARD";
  ShardedParameters parameters(model, model.spec(), make_strategy(options, groups.world_size()),
                               groups, {}, {});
  for (int64_t step = 0;; ++step) {
    if (step == 5 && groups.rank() == 1) {
      if (how == "killed") raise(SIGKILL);
      if (how == "hangs") std::this_thread::sleep_for(1h);
      if (how == "throws") throw Error("sample chip7 is broken.");
    }
    ToyRun run;
    run.steps = 1;
    train_toy(model, parameters, run);
  }
}

// Gloo in NCCL's place: what NCCL's groups do is tested without a GPU.
c10::intrusive_ptr<c10d::Backend> make_gloo_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    int64_t rank, int64_t size, c10::Device,
                                                    std::chrono::milliseconds timeout) {
  using Gloo = c10d::ProcessGroupGloo;
  const auto options = Gloo::Options::create(timeout);
  options->devices.push_back(Gloo::createDeviceForHostname("127.0.0.1", /*lazyInit=*/false));
  return c10::make_intrusive<Gloo>(store, static_cast<int>(rank), static_cast<int>(size), options);
}

std::unique_ptr<ProcessGroups> make_groups(const std::string& body,
                                           const LaunchEnvironment& environment,
                                           const RendezvousOptions& options) {
  if (body == "mixed" && environment.rank == 1) {
    const Rendezvous on_gpu(environment, options, "cuda");
    return nullptr;
  }
  if (body.starts_with("nccl")) {
    return make_nccl_groups(environment, options, c10::Device(c10::kCPU), make_gloo_backend);
  }
  return make_gloo_groups(environment, options);
}

// Runs in a process that launch_ranks started, when SWATH_TEST_BODY says which.
TEST(GlooGroupsRank, DISABLED_Body) {
  const std::string body = std::getenv("SWATH_TEST_BODY");
  std::unique_ptr<ProcessGroups> groups;
  try {
    RendezvousOptions options = quick_options();
    if (body == "hangs") options.timeout = 1500ms;
    if (body == "port") options.start_timeout = 2s;
    LaunchEnvironment environment = read_launch_environment();
    if (const char* port = std::getenv("SWATH_TEST_PORT"))
      environment.master_port = std::stol(port);
    if (body == "missing" && environment.rank == 2) std::_Exit(0);
    if (body == "missing") options.start_timeout = 1s;
    groups = make_groups(body, environment, options);
    groups->record_failures_in(std::getenv("SWATH_TEST_FOLDER"));
    if (body.ends_with("collectives")) check_collectives(*groups);
    if (body.ends_with("training")) {
      check_training(*groups, pairwise_cover(groups->world_size()),
                     body.starts_with("nccl") ? 8 : 4);
    }
    if (body == "every case") check_training(*groups, every_case(groups->world_size()), 1);
    if (body == "killed" || body == "hangs" || body == "throws") {
      train_until_somebody_fails(*groups, body);
    }
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    if (groups) groups->report_failure(fmt::format("ended with: {}", error.message()));
    std::_Exit(3);
  }
}

// --- the tests' side

class GlooGroups : public testing::Test {
 protected:
  GlooGroups() { alarm(120); }
  ~GlooGroups() override {
    alarm(0);
    fs::remove_all(ranks_folder());
  }
};

TEST_F(GlooGroups, CollectivesOfProcesses) {
  for (const int64_t num_ranks : {2, 3}) {
    const RanksOfTest result = run_ranks_of_test("collectives", num_ranks);
    EXPECT_EQ(result.launch.exit_code, 0) << result.stderr_text;
  }
}

TEST_F(GlooGroups, NcclGroupsDoTheSameOverAnotherBackend) {
  for (const std::string body : {"nccl collectives", "nccl training"}) {
    const RanksOfTest result = run_ranks_of_test(body, 3);
    EXPECT_EQ(result.launch.exit_code, 0) << result.stderr_text;
  }
}

// The launcher ends the others when the first has failed, so not all of them get to speak.
TEST_F(GlooGroups, RanksOnDifferentDevicesAreAnError) {
  const RanksOfTest result = run_ranks_of_test("mixed", 3, 10);
  EXPECT_EQ(result.launch.exit_code, 3) << result.stderr_text;
  EXPECT_THAT(result.stderr_text, HasSubstr("but not all ranks are: 2 on cpu, 1 on cuda."));
}

TEST_F(GlooGroups, TrainingEqualsOneProcess) {
  for (const int64_t num_ranks : {2, 3, 4}) {
    const RanksOfTest result = run_ranks_of_test("training", num_ranks);
    EXPECT_EQ(result.launch.exit_code, 0) << result.stderr_text;
    EXPECT_THAT(result.stdout_text, HasSubstr("cases"));
  }
}

// The launcher would end the others at the first failure: it is told to wait, so that they tell
// what they know.
TEST_F(GlooGroups, AKilledRankIsNamedByTheOthers) {
  const RanksOfTest result = run_ranks_of_test("killed", 3, 15);
  EXPECT_EQ(result.launch.exit_code, 128 + SIGKILL);
  ASSERT_TRUE(result.launch.failure.has_value());
  EXPECT_EQ(result.launch.failure->rank, 1);
}

TEST_F(GlooGroups, AHangingRankIsNamedWithinTheTimeout) {
  const auto start = std::chrono::steady_clock::now();
  const RanksOfTest result = run_ranks_of_test("hangs", 3, 6);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 20s);
  EXPECT_NE(result.launch.exit_code, 0);
  EXPECT_THAT(result.stderr_text, HasSubstr("No sign of life from rank 1: dead, or hanging"));
  EXPECT_THAT(result.stderr_text, HasSubstr("failed: "));
  const Json record = Json::parse(read_file(ranks_folder() / "flight_rank_00000.json"));
  EXPECT_EQ(record.at("rank"), 0);
  // The last one was never finished, and says what it was.
  EXPECT_GT(record.at("collectives").size(), 10u);
  EXPECT_FALSE(record.at("collectives").back().contains("finished"));
  EXPECT_NE(record.at("collectives").back().at("label").get<std::string>(), "");
}

TEST_F(GlooGroups, ARankThatThrowsIsNamedWithItsReason) {
  const RanksOfTest result = run_ranks_of_test("throws", 3, 15);
  EXPECT_EQ(result.launch.exit_code, 3);
  EXPECT_THAT(result.stderr_text, HasSubstr("sample chip7 is broken."));
}

TEST_F(GlooGroups, RanksThatDoNotComeAndPortsInUseAreErrorsWithinSeconds) {
  const RanksOfTest missing = run_ranks_of_test("missing", 3);
  EXPECT_EQ(missing.launch.exit_code, 3) << missing.stderr_text;
  EXPECT_THAT(missing.stderr_text, HasSubstr("cannot meet the others at 127.0.0.1:"));

  const int listener = socket(AF_INET6, SOCK_STREAM, 0);
  const int no = 0;
  setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener, 4), 0);
  socklen_t length = sizeof(address);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  setenv("SWATH_TEST_PORT", std::to_string(ntohs(address.sin6_port)).c_str(), 1);
  const RanksOfTest in_use = run_ranks_of_test("port", 2, 1);
  unsetenv("SWATH_TEST_PORT");
  close(listener);
  EXPECT_EQ(in_use.launch.exit_code, 3) << in_use.stderr_text;
  EXPECT_THAT(in_use.stderr_text, HasSubstr("the port is in use"));
}

}  // namespace
}  // namespace swath::sharding
