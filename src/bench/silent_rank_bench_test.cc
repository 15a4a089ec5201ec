#include "bench/silent_rank_bench.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "bench/measured_step.h"
#include "core/error.h"
#include "core/tensor/memory.h"
#include "models/model_list.h"
#include "models/swin_options.h"

namespace swath::bench {
namespace {

StepBenchOptions small_model(const std::string& strategy) {
  StepBenchOptions options;
  options.model.name = "vit_micro";
  options.model.image_size = 32;
  options.model.patch = 4;
  options.batch_size = 4;
  options.warmup_steps = 1;
  options.steps = 1;
  options.repeats = 1;
  options.precision = "fp32";
  options.sharding.strategy.strategy = strategy;
  options.pretend_world = 16;
  return options;
}

TEST(SilentRankBench, StateAndGatheredUnitsAreAsTheFormulaSays) {
  install_memory_counter();
  const int64_t before = memory_stats(c10::kCPU).allocated_bytes;
  for (const char* strategy :
       {"DDP", "NO_SHARD", "SHARD_GRAD_OP", "FULL_SHARD", "HYBRID_4", "HYBRID_4_SHARD_GRAD_OP"}) {
    for (const int64_t rank : {0, 15}) {
      StepBenchOptions options = small_model(strategy);
      options.model.patch = 8;
      options.batch_size = 1;
      options.pretend_rank = rank;
      const Json result = bench_syn_no_comm(options, c10::kCPU);
      const auto state = result.at("model_state_bytes").get<double>();
      const auto gathered = result.at("gathered_bytes").get<double>();
      const double held = result.at("allocated_bytes").get<double>() - static_cast<double>(before);
      EXPECT_NEAR(held, state, 0.05 * state) << strategy << ", rank " << rank;
      // Activations come on top: with one small image they are little.
      const double peak =
          result.at("peak_memory_bytes").get<double>() - static_cast<double>(before);
      EXPECT_GT(peak, 0.95 * (state + gathered)) << strategy << ", rank " << rank;
      EXPECT_LT(peak, 1.05 * (state + gathered) + 4e6) << strategy << ", rank " << rank;
    }
  }
}

TEST(SilentRankBench, FewerBlocksGiveWhatAllHold) {
  install_memory_counter();
  for (const char* strategy : {"DDP", "FULL_SHARD"}) {
    StepBenchOptions options = small_model(strategy);
    options.model.depth = 8;
    options.sharding.unit_mib = 0;
    const Json whole = bench_syn_no_comm(options, c10::kCPU);
    options.fewer_blocks = 2;
    const Json result = bench_syn_no_comm(options, c10::kCPU);
    const Json& extrapolated = result.at("extrapolated");
    EXPECT_EQ(extrapolated.at("depth"), 8);
    EXPECT_EQ(extrapolated.at("from_depths"), Json({2, 4}));
    const auto held = whole.at("allocated_bytes").get<double>();
    EXPECT_NEAR(extrapolated.at("allocated_bytes").get<double>(), held, 0.02 * held) << strategy;
    EXPECT_GT(extrapolated.at("images_per_second").get<double>(), 0);
    EXPECT_EQ(result.at("model_state_bytes"), whole.at("model_state_bytes")) << "of all blocks";
  }
}

TEST(SilentRankBench, MemoryOnlyAllocatesNothingAndIsWhatIsMeasured) {
  install_memory_counter();
  for (const char* workload : {"mae", "vit"}) {
    StepBenchOptions options = small_model("FULL_SHARD");
    options.model.depth = 8;
    options.sharding.unit_mib = 0;
    options.workload = workload;
    options.batch_size = 16;
    const int64_t before = memory_stats(c10::kCPU).allocated_bytes;
    reset_peak_memory(c10::kCPU);
    const Json measured = bench_syn_no_comm(options, c10::kCPU);
    options.memory_only = true;
    reset_peak_memory(c10::kCPU);
    const Json expected = bench_syn_no_comm(options, c10::kCPU);
    EXPECT_EQ(memory_stats(c10::kCPU).peak_bytes, memory_stats(c10::kCPU).allocated_bytes);
    const double peak =
        measured.at("peak_memory_bytes").get<double>() - static_cast<double>(before);
    EXPECT_NEAR(expected.at("expected_peak_bytes").get<double>(), peak, 0.15 * peak) << workload;
  }
}

TEST(SilentRankBench, MemoryOfASwinIsWhatIsMeasured) {
  install_memory_counter();
  for (const char* tokens : {"joint", "per_band"}) {
    StepBenchOptions options = small_model("FULL_SHARD");
    options.model = {};
    options.model.name = "swin_v2_micro";
    options.model.swin.tokens = tokens;
    options.sharding.unit_mib = 0;
    options.batch_size = 16;
    const int64_t before = memory_stats(c10::kCPU).allocated_bytes;
    reset_peak_memory(c10::kCPU);
    const Json measured = bench_syn_no_comm(options, c10::kCPU);
    options.memory_only = true;
    const Json expected = bench_syn_no_comm(options, c10::kCPU);
    const double peak =
        measured.at("peak_memory_bytes").get<double>() - static_cast<double>(before);
    EXPECT_NEAR(expected.at("expected_peak_bytes").get<double>(), peak, 0.15 * peak) << tokens;
  }
}

// What `swath models --memory` says, part by part and with AdamW, is what a process allocates until
// a step's gradients are there. A hundredth of the whole is for what no row counts: the position
// tables of a SwinV2 and a few numbers of a step.
TEST(SilentRankBench, TheMemoryTableIsWhatOneProcessHolds) {
  install_memory_counter();
  for (const char* name : {"swin_v2_micro", "swin_v2_tiny", "swin_v2_100m", "vit_micro"}) {
    SCOPED_TRACE(name);
    StepBenchOptions options;
    options.model.name = name;
    options.model.image_size = 64;
    options.batch_size = 2;
    options.precision = "fp32";
    const int64_t start = memory_stats(c10::kCPU).allocated_bytes;
    const auto held = [&] { return memory_stats(c10::kCPU).allocated_bytes - start; };
    Batch batch = random_batch(options, spec_of(options), c10::kCPU);
    const int64_t of_batch = held();
    Subject subject(options, c10::kCPU);
    const int64_t before_the_step = held();
    run_block(subject, [&] { return batch; }, 1, c10::kCPU);
    const int64_t all = held();

    int64_t of_moments = 0;
    for (const auto* moments :
         {&subject.optimizer->exp_avgs(), &subject.optimizer->exp_avg_sqs()}) {
      for (const at::Tensor& moment : *moments) of_moments += static_cast<int64_t>(moment.nbytes());
    }
    const Json row = models::memory_of(subject.spec(), options.batch_size);
    EXPECT_EQ(row.at("batch"), of_batch);
    EXPECT_EQ(row.at("optimizer_adamw"), of_moments);
    const auto expect_part = [&](const char* part, int64_t bytes) {
      EXPECT_NEAR(row.at(part).get<double>(), static_cast<double>(bytes),
                  0.01 * static_cast<double>(all))
          << part;
    };
    expect_part("model", before_the_step - of_batch - of_moments);
    expect_part("gradients", all - before_the_step);
    expect_part("total_adamw", all);
  }
}

// What a loss holds for its backward pass of two images more, with the fused operators: position
// biases are held once, whatever the batch.
TEST(SilentRankBench, TheActivationsOfTheTableAreWhatALossHolds) {
  install_memory_counter();
  struct Case {
    const char* name;
    const char* tokens;
    const char* loss;
  };
  for (const auto& [name, tokens, loss] :
       {Case{"swin_v2_tiny", "joint", "l1"}, Case{"swin_v2_tiny", "joint", "cross_entropy"},
        Case{"swin_v2_tiny", "per_band", "l1"}, Case{"swin_v2_tiny", "per_band", "cross_entropy"},
        Case{"vit_tiny", "joint", "l1"}}) {
    SCOPED_TRACE(fmt::format("{} {} {}", name, tokens, loss));
    StepBenchOptions options;
    options.model.name = name;
    options.model.image_size = 128;
    options.model.channels = 6;
    if (models::is_swin(name)) {
      options.model.swin.tokens = tokens;
      options.model.swin.loss = loss;
    }
    const auto objective = make_workload(options);
    const auto held = [&](int64_t batch_size) {
      options.batch_size = batch_size;
      const Batch batch = random_batch(options, objective->spec(), c10::kCPU);
      UnitRunner runner;
      const int64_t before = memory_stats(c10::kCPU).allocated_bytes;
      const models::LossResult result = objective->loss(batch, runner);
      return memory_stats(c10::kCPU).allocated_bytes - before;
    };
    const double said = models::memory_of(objective->spec(), 2).at("activations").get<double>();
    const auto of_two = static_cast<double>(held(4) - held(2));
    EXPECT_NEAR(said / of_two, 1, 0.02);
  }
}

TEST(SilentRankBench, TheLargestModelIsComputedAtOnce) {
  StepBenchOptions options = small_model("FULL_SHARD");
  options.model = {};
  options.model.name = "vit_15b";
  options.workload = "vit";
  options.pretend_world = 1024;
  options.memory_only = true;
  const Json result = bench_syn_no_comm(options, c10::kCPU);
  // 14.7 billion parameters, 16 bytes each, over 1,024 ranks.
  EXPECT_NEAR(result.at("model_state_bytes").get<double>(), 14.72e9 * 16 / 1024, 0.02e9);
}

TEST(SilentRankBench, RefusesMoreBlocksThanTheModelHas) {
  StepBenchOptions options = small_model("FULL_SHARD");
  options.model.depth = 8;
  options.fewer_blocks = 4;
  EXPECT_THROW(bench_syn_no_comm(options, c10::kCPU), UsageError);
  options.fewer_blocks = 0;
  options.pretend_world = 0;
  EXPECT_THROW(bench_syn_no_comm(options, c10::kCPU), UsageError);
}

}  // namespace
}  // namespace swath::bench
