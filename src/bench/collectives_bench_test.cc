#include "bench/collectives_bench.h"

#include <gtest/gtest.h>

#include <mutex>

#include "core/error.h"
#include "sharding/forwarding_groups.h"
#include "sharding/thread_groups.h"

namespace swath::bench {
namespace {

// Reductions lose the last rank's values.
class LossyCommunicator : public sharding::ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;
  void reduce_scatter(const at::Tensor& part, const at::Tensor& whole,
                      const std::string& label) override {
    if (rank() == size() - 1) whole.zero_();
    ForwardingCommunicator::reduce_scatter(part, whole, label);
  }
};

CollectivesBenchOptions quick_options() {
  CollectivesBenchOptions options;
  options.mib = {0.01, 0.02};
  options.iterations = 2;
  options.repeats = 3;
  return options;
}

TEST(CollectivesBench, TimesEachCollectiveBesideTheLibrarys) {
  sharding::ThreadHub ours(3);
  sharding::ThreadHub theirs(3);
  std::mutex mutex;
  std::vector<Json> results;
  sharding::run_ranks(ours, [&](sharding::ProcessGroups& groups) {
    const auto library = theirs.groups_of(groups.rank());
    const Json result = bench_collectives(quick_options(), at::kCPU, groups, library.get());
    const std::lock_guard lock(mutex);
    results.push_back(result);
  });
  ASSERT_EQ(results.size(), 3U);
  const Json& result = results.front();
  EXPECT_EQ(result.at("ranks"), 3);
  ASSERT_EQ(result.at("rows").size(), 8U);  // four collectives, two sizes
  for (const Json& row : result.at("rows")) {
    EXPECT_EQ(row.at("seconds").at("count"), 3);
    EXPECT_GT(row.at("seconds").at("median"), 0);
    EXPECT_NEAR(row.at("ratio").get<double>(),
                row.at("library_seconds").at("median").get<double>() /
                    row.at("seconds").at("median").get<double>(),
                1e-9);
  }
  // A third of 0.02 MiB stays where it is; an all-reduce moves the rest twice.
  const Json& gather = result.at("rows")[1];
  const Json& reduce = result.at("rows")[5];
  const double bytes = 0.02 * (1 << 20);
  const auto bytes_of = [](const Json& row) {
    return row.at("gigabytes_per_second").get<double>() * 1e9 *
           row.at("seconds").at("median").get<double>();
  };
  EXPECT_NEAR(bytes_of(gather), bytes * 2 / 3, 16);
  EXPECT_NEAR(bytes_of(reduce), bytes * 4 / 3, 16);
}

TEST(CollectivesBench, TimesNothingThatIsWrong) {
  sharding::ThreadHub hub(2);
  try {
    sharding::run_ranks(hub, [&](sharding::ProcessGroups& groups) {
      sharding::ForwardingGroups lossy(groups, [](auto group, const std::string&) {
        return std::make_unique<LossyCommunicator>(std::move(group));
      });
      bench_collectives(quick_options(), at::kCPU, lossy, nullptr);
    });
    FAIL() << "a sum without the last rank was timed";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("reduce_scatter"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace swath::bench
