// Every way of sharding the toy on every number of ranks: minutes, hence a long test.
#include <gtest/gtest.h>

#include <mutex>

#include "sharding/local_parameters.h"
#include "sharding/thread_groups.h"
#include "sharding/toy_cases.h"

namespace swath::sharding {
namespace {

TEST(ShardedProduct, EqualsOneProcess) {
  int64_t num_cases = 0;
  for (const int64_t world_size : {1, 2, 3, 4, 8}) {
    for (const ToyCase& c : every_case(world_size)) {
      ++num_cases;
      std::map<std::string, at::Tensor> expected;
      ToyModel alone;
      LocalParameters local(alone, {at::kFloat, c.run.accumulation, false},
                            [](const std::string&, at::IntArrayRef) { return ParameterRule{}; });
      const std::vector<double> losses = train_toy(alone, local, c.run);
      collect_toy(local, expected);
      ThreadHub hub(world_size);
      std::mutex mutex;
      run_ranks(hub, [&](ProcessGroups& groups) {
        ToyModel model;
        ShardedParameters parameters(model, model.spec(), c.strategy, groups, c.options, {});
        const std::vector<double> found = train_toy(model, parameters, c.run);
        std::map<std::string, at::Tensor> own;
        collect_toy(parameters, own);
        std::lock_guard lock(mutex);
        for (size_t i = 0; i < losses.size(); ++i) {
          EXPECT_NEAR(found[i], losses[i], 2e-5 * losses[i]) << c.text() << ", step " << i;
        }
        for (const auto& [name, values] : own) {
          const at::Tensor is_here = values.isnan().logical_not();
          const at::Tensor difference =
              at::where(is_here, values - expected.at(name), at::zeros_like(values));
          EXPECT_LE(difference.abs().max().item<double>(),
                    2e-5 * expected.at(name).abs().max().item<double>())
              << c.text() << ": " << name << " on rank " << groups.rank();
        }
      });
    }
  }
  std::printf("%lld cases\n", static_cast<long long>(num_cases));
  EXPECT_GT(num_cases, 1000);
}

}  // namespace
}  // namespace swath::sharding
