#include "train/trainer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <functional>
#include <latch>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/interrupt.h"
#include "core/random.h"
#include "core/tensor/torch.h"
#include "sharding/forwarding_groups.h"
#include "sharding/thread_groups.h"
#include "train/line_objective.h"

namespace swath::train {
namespace {
namespace fs = std::filesystem;

// Before any other thread is started.
[[maybe_unused]] const bool kIsWatching = (watch_for_interrupts(), true);

// Images of one pixel and two bands.
class PixelDataset : public data::Dataset {
 public:
  explicit PixelDataset(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      Random random(1, RandomPurpose::kTest, 0, static_cast<uint64_t>(i));
      pixels_.push_back({std::byte(random.uniform(0, 255)), std::byte(random.uniform(0, 255))});
    }
  }
  int64_t size() const override { return std::ssize(pixels_); }
  data::Sample sample(int64_t index) const override {
    data::Sample sample;
    sample.id = static_cast<uint64_t>(index);
    sample.name = std::to_string(index);
    return sample;
  }
  data::ImageSource source(int64_t index, std::vector<std::byte>*) const override {
    data::ImageSource source;
    source.name = sample(index).name;
    source.bytes = pixels_[static_cast<size_t>(index)];
    data::ImageInfo info;
    info.width = info.height = 1;
    info.bands = 2;
    source.raw = info;
    return source;
  }
  const std::vector<std::string>& class_names() const override { return no_classes_; }
  std::string description() const override { return "pixels"; }

 private:
  std::vector<std::array<std::byte, 2>> pixels_;
  std::vector<std::string> no_classes_;
};

// Sums wait for a gate.
class GatedCommunicator : public sharding::ForwardingCommunicator {
 public:
  GatedCommunicator(std::unique_ptr<sharding::Communicator> real, std::latch& gate)
      : ForwardingCommunicator(std::move(real)), gate_(gate) {}
  void all_reduce(const at::Tensor& values, const std::string& label) override {
    for (int i = 0; i < 3000 && !gate_.try_wait(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (!gate_.try_wait()) throw Error("training did not go on while a save was under way.");
    ForwardingCommunicator::all_reduce(values, label);
  }

 private:
  std::latch& gate_;
};

struct Training {
  explicit Training(const fs::path& directory, TrainOptions options, int64_t samples = 40,
                    sharding::ProcessGroups* groups = nullptr)
      : loader(std::make_shared<PixelDataset>(samples), transform(),
               loader_options(options, groups), 5, at::kCPU, groups ? groups->rank() : 0,
               groups ? groups->world_size() : 1),
        trainer(objective, loader, std::move(options), optim(), 5, at::kCPU, directory, {},
                groups) {}

  static data::Transform transform() {
    data::TransformOptions options;
    options.kind = "none";
    options.size = 1;
    return data::Transform(options, {{128, 128}, {64, 64}});
  }
  static data::LoaderOptions loader_options(const TrainOptions& options,
                                            const sharding::ProcessGroups* groups) {
    data::LoaderOptions result;
    const int64_t size = options.batch_size / options.accumulation;
    (groups ? result.global_batch_size : result.batch_size) = size;
    return result;
  }
  static OptimOptions optim() {
    OptimOptions options;
    options.schedule.lr = 1e-1;
    options.schedule.warmup_epochs = 1;
    return options;
  }

  LineObjective objective;
  data::Loader loader;
  Trainer trainer;
};

class TrainerRuns : public testing::Test {
 protected:
  TrainerRuns()
      : directory_(fs::temp_directory_path() / ("swath_trainer_" + std::to_string(getpid()))) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~TrainerRuns() override {
    clear_interrupt();
    fs::remove_all(directory_);
  }
  static TrainOptions quick_options() {
    TrainOptions options;
    options.batch_size = 8;
    options.epochs = 4;
    options.log_every = 1;
    return options;
  }
  std::vector<Json> lines(const std::string& kind) const {
    std::vector<Json> found;
    std::istringstream text(read_file(directory_ / "log.jsonl"));
    for (std::string line; std::getline(text, line);) {
      const Json entry = Json::parse(line);
      if (entry.at("kind").get<std::string>() == kind) found.push_back(entry);
    }
    return found;
  }
  static void expect_same_checkpoints(const fs::path& a, const fs::path& b, size_t count) {
    const std::vector<Checkpoint> found_a = list_checkpoints(a / "checkpoints");
    const std::vector<Checkpoint> found_b = list_checkpoints(b / "checkpoints");
    ASSERT_EQ(found_a.size(), count);
    ASSERT_EQ(found_b.size(), count);
    for (size_t i = 0; i < count; ++i) {
      verify_checkpoint(found_b[i]);
      EXPECT_EQ(found_a[i].step, found_b[i].step);
      EXPECT_EQ(found_a[i].tensors, found_b[i].tensors) << found_a[i].step;
      EXPECT_EQ(found_a[i].state, found_b[i].state) << found_a[i].step;
    }
  }
  // From here on no checkpoint can be written; those of before are in `kept`. Not while one is
  // being written: its own error would come first.
  static bool put_a_file_in_the_way(const fs::path& directory) {
    const fs::path checkpoints = directory / "checkpoints";
    if (read_file(directory / "log.jsonl").find(R"("kind":"checkpoint")") == std::string::npos) {
      return false;
    }
    fs::rename(checkpoints, directory / "kept");
    std::ofstream(checkpoints) << "no directory";
    return true;
  }
  // Event files that tell TensorBoard to forget steps: SessionLog.START, field 7 of an event.
  static int64_t restarts_in(const fs::path& directory) {
    int64_t count = 0;
    for (const auto& entry : fs::directory_iterator(directory)) {
      const std::string name = entry.path().filename();
      if (!name.starts_with("events.out.tfevents")) continue;
      if (read_file(entry.path()).find("\x3a\x02\x08\x01") != std::string::npos) ++count;
    }
    return count;
  }
  fs::path directory_;
};

TEST_F(TrainerRuns, ReachesTheEndOfTheScheduleAndLogsEveryStep) {
  Training run(directory_, quick_options());
  const TrainSummary summary = run.trainer.run("a = 1\n", {{"command", "test"}});
  EXPECT_EQ(summary.steps, 20);  // 40 samples, 8 a step, 4 epochs
  EXPECT_EQ(summary.reason, "epochs");
  EXPECT_EQ(find_checkpoint(directory_).step, 20);
  EXPECT_EQ(find_checkpoint(directory_).config, "a = 1\n");
  const std::vector<Json> steps = lines("step");
  ASSERT_EQ(steps.size(), 20U);
  EXPECT_EQ(steps[0].at("lr"), 0);
  EXPECT_NEAR(steps[3].at("lr"), 6e-2, 1e-12);  // 3 of the 5 steps of warm-up
  const auto epoch_loss = [&](size_t first) {
    double sum = 0;
    for (size_t i = first; i < first + 5; ++i) sum += steps[i].at("loss").get<double>();
    return sum;
  };
  EXPECT_LT(epoch_loss(15), 0.7 * epoch_loss(0));
  EXPECT_EQ(lines("run").size(), 1U);
  EXPECT_EQ(lines("end").front().at("reason"), "epochs");
}

TEST_F(TrainerRuns, StepLinesHaveEveryField) {
  TrainOptions options = quick_options();
  options.max_steps = 2;
  Training run(directory_, options);
  run.trainer.run("", {{"command", "test"}});
  for (const Json& line : lines("step")) {
    for (const char* field :
         {"time", "step", "epoch", "loss", "lr", "grad_norm", "images_per_second", "step_seconds",
          "data_wait", "mfu", "allocated_bytes", "peak_bytes", "largest"}) {
      EXPECT_TRUE(line.contains(field) && line.at(field).is_number()) << field;
    }
    EXPECT_GE(line.at("data_wait"), 0);
    EXPECT_LE(line.at("data_wait"), 1);
  }
  EXPECT_GT(lines("run").front().at("peak_flops"), 0);
  for (const char* field : {"step", "path", "stall_seconds", "write_seconds"}) {
    EXPECT_TRUE(lines("checkpoint").front().contains(field)) << field;
  }
  for (const char* field : {"steps", "loss", "seconds", "images_per_second", "data_wait",
                            "peak_memory_bytes", "skipped_steps", "skipped_samples", "reason",
                            "checkpoint_stall_seconds", "checkpoint_write_seconds"}) {
    EXPECT_TRUE(lines("end").front().contains(field)) << field;
  }
}

// Parameters without a gradient move by weight decay alone.
TEST_F(TrainerRuns, WeightDecayGoesByName) {
  LineObjective objective;
  torch::nn::Module& module = objective.module();
  const at::Tensor token = module.register_parameter("cls_token", torch::ones({1, 1, 2}));
  const auto odd = module.register_module("odd", std::make_shared<torch::nn::Module>());
  const at::Tensor bias = odd->register_parameter("bias", torch::ones({1, 2}));
  const at::Tensor norm = module.register_parameter("norm_weight", torch::ones({2}));
  data::Loader loader(std::make_shared<PixelDataset>(40), Training::transform(),
                      data::LoaderOptions{.batch_size = 8}, 5, at::kCPU);
  Trainer trainer(objective, loader, quick_options(), Training::optim(), 5, at::kCPU, directory_);
  trainer.run("", Json::object());
  EXPECT_LT(token.max().item<float>(), 1);
  EXPECT_EQ(bias.min().item<float>(), 1);
  EXPECT_EQ(norm.min().item<float>(), 1);
}

// The rule counts the images of a step, however many micro-batches they come in.
TEST_F(TrainerRuns, TheLearningRateFollowsTheBatchOfAStep) {
  for (const int64_t accumulation : {1, 2}) {
    TrainOptions options = quick_options();
    options.accumulation = accumulation;
    options.max_steps = 6;
    OptimOptions optim = Training::optim();
    optim.schedule.lr = 0;
    optim.schedule.base_lr = 0.5;
    optim.schedule.base_batch = 16;
    LineObjective objective;
    data::Loader loader(std::make_shared<PixelDataset>(40), Training::transform(),
                        data::LoaderOptions{.batch_size = 8 / accumulation}, 5, at::kCPU);
    Trainer trainer(objective, loader, options, optim, 5, at::kCPU,
                    directory_ / std::to_string(accumulation));
    trainer.run("", Json::object());
    const fs::path log = directory_ / std::to_string(accumulation) / "log.jsonl";
    EXPECT_NE(read_file(log).find("\"lr\":0.25"), std::string::npos);  // step 6, warm-up is over
  }
}

TEST_F(TrainerRuns, ActivationCheckpointingReachesTheModel) {
  for (const bool is_asked : {false, true}) {
    TrainOptions options = quick_options();
    options.max_steps = 1;
    options.activation_checkpointing = is_asked;
    Training run(directory_ / (is_asked ? "recomputed" : "kept"), options);
    run.trainer.run("", Json::object());
    EXPECT_EQ(run.objective.is_checkpointing, is_asked);
  }
}

TEST_F(TrainerRuns, WeightsThatOverflowAreNeverPublished) {
  TrainOptions options = quick_options();
  options.max_steps = 1;
  OptimOptions optim = Training::optim();
  optim.schedule.lr = 1e300;
  optim.schedule.warmup_epochs = 0;
  LineObjective objective;
  data::Loader loader(std::make_shared<PixelDataset>(40), Training::transform(),
                      data::LoaderOptions{.batch_size = 8}, 5, at::kCPU);
  Trainer trainer(objective, loader, options, optim, 5, at::kCPU, directory_);
  try {
    trainer.run("", Json::object());
    FAIL() << "weights that are not finite were saved";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("step 1: the weight weight"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(list_checkpoints(directory_ / "checkpoints").empty());
}

TEST_F(TrainerRuns, GoesOnInTheMiddleOfAnEpochBitByBit) {
  for (const int64_t accumulation : {1, 2}) {
    TrainOptions options = quick_options();
    options.accumulation = accumulation;
    options.ema_decay = 0.9;
    Training whole(directory_ / "whole", options);
    whole.trainer.run("", Json::object());
    options.max_steps = 7;
    Training first(directory_ / "parts", options);
    EXPECT_EQ(first.trainer.run("", Json::object()).reason, "max_steps");
    options.max_steps = 0;
    Training second(directory_ / "parts", options);
    second.trainer.resume(find_checkpoint(directory_ / "parts"));
    EXPECT_EQ(second.trainer.run("", Json::object()).steps, 20);
    EXPECT_TRUE(at::equal(whole.objective.weight(), second.objective.weight()));
    const Checkpoint a = find_checkpoint(directory_ / "whole");
    const Checkpoint b = find_checkpoint(directory_ / "parts");
    EXPECT_EQ(a.tensors, b.tensors);  // names and checksums: weights, moments and averages
    EXPECT_EQ(a.state, b.state);
    EXPECT_EQ(restarts_in(directory_ / "whole"), 0);
    EXPECT_EQ(restarts_in(directory_ / "parts"), 1);
    fs::remove_all(directory_ / "whole");
    fs::remove_all(directory_ / "parts");
  }
}

TEST_F(TrainerRuns, StopsAtANonFiniteLossBeforeItReachesTheWeights) {
  TrainOptions options = quick_options();
  options.checkpoint_steps = 1;
  options.max_steps = 2;
  Training good(directory_ / "good", options);
  good.trainer.run("", Json::object());

  options.max_steps = 0;
  Training bad(directory_, options);
  bad.objective.first_bad_call = 2;
  bad.objective.end_of_bad_calls = 3;
  try {
    bad.trainer.run("", Json::object());
    FAIL() << "the run went on";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("step 3: the loss is not finite"), std::string::npos) << message;
    const uint64_t epoch = 0;
    const Permutation order(40, 5, epoch);
    EXPECT_NE(message.find(std::to_string(order(16))), std::string::npos) << message;
  }
  EXPECT_TRUE(at::equal(bad.objective.weight(), good.objective.weight()));
  EXPECT_EQ(find_checkpoint(directory_).step, 2);
  EXPECT_EQ(lines("event").size(), 1U);
}

TEST_F(TrainerRuns, SkipsNonFiniteStepsUpToALimit) {
  TrainOptions options = quick_options();
  options.non_finite = "skip";
  options.max_skipped_steps = 2;
  Training run(directory_, options);
  run.objective.first_bad_call = 5;
  run.objective.end_of_bad_calls = 7;
  const TrainSummary summary = run.trainer.run("", Json::object());
  EXPECT_EQ(summary.skipped_steps, 2);
  EXPECT_EQ(summary.steps, 20);
  EXPECT_EQ(lines("step").size(), 18U);
  EXPECT_TRUE(run.objective.weight().isfinite().all().item<bool>());

  // The count goes on where the checkpoint left it.
  options.max_steps = 6;
  Training first(directory_ / "counted", options);
  first.objective.first_bad_call = 3;
  first.objective.end_of_bad_calls = 5;
  EXPECT_EQ(first.trainer.run("", Json::object()).skipped_steps, 2);
  options.max_steps = 0;
  Training second(directory_ / "counted", options);
  second.trainer.resume(find_checkpoint(directory_ / "counted"));
  second.objective.first_bad_call = 0;
  second.objective.end_of_bad_calls = 1;
  EXPECT_THROW(second.trainer.run("", Json::object()), Error);

  Training worse(directory_ / "worse", options);
  worse.objective.first_bad_call = 5;
  worse.objective.end_of_bad_calls = 8;
  EXPECT_THROW(worse.trainer.run("", Json::object()), Error);
}

TEST_F(TrainerRuns, ASignalEndsTheRunWithACheckpoint) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    clear_interrupt();
    const fs::path directory = directory_ / std::to_string(signal);
    Training run(directory, quick_options());
    send_interrupt(signal);
    const TrainSummary summary = run.trainer.run("", Json::object());
    EXPECT_EQ(summary.signal, signal);
    EXPECT_EQ(summary.steps, 0);
    EXPECT_EQ(find_checkpoint(directory).step, 0);
  }
}

TEST_F(TrainerRuns, TimeBudgetAndRotation) {
  TrainOptions options = quick_options();
  options.max_minutes = 1e-9;
  Training run(directory_, options);
  EXPECT_EQ(run.trainer.run("", Json::object()).reason, "max_minutes");

  // In the middle of a run: the checkpoint of the step it came to, then the test.
  options.max_minutes = 0.3 / 60;
  Training longer(directory_ / "longer", options);
  longer.objective.before_call = [](int64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  };
  data::Loader test(std::make_shared<PixelDataset>(8), Training::transform(),
                    data::LoaderOptions{.batch_size = 8, .shuffle = false}, 5, at::kCPU);
  longer.trainer.measure_on(test);
  const TrainSummary summary = longer.trainer.run("", Json::object());
  EXPECT_EQ(summary.reason, "max_minutes");
  EXPECT_GE(summary.steps, 2);
  EXPECT_LT(summary.steps, 15);
  EXPECT_EQ(find_checkpoint(directory_ / "longer").step, summary.steps);
  ASSERT_TRUE(summary.test_loss);
  EXPECT_GT(*summary.test_loss, 0);
  const std::string log = read_file(directory_ / "longer/log.jsonl");
  EXPECT_LT(log.find("\"kind\":\"checkpoint\""), log.rfind("\"test_loss\""));

  options.max_minutes = 0;
  options.checkpoint_steps = 3;
  options.keep_last = 2;
  options.keep_every = 9;
  Training rotating(directory_ / "rotating", options);
  rotating.trainer.run("", Json::object());
  std::vector<int64_t> steps;
  for (const Checkpoint& checkpoint : list_checkpoints(directory_ / "rotating/checkpoints")) {
    steps.push_back(checkpoint.step);
  }
  EXPECT_EQ(steps, (std::vector<int64_t>{9, 18, 20}));
}

// Training goes on while a checkpoint is written: its bytes are those of its step all the same.
TEST_F(TrainerRuns, SavesBesideTheTrainingAreTheSameBytes) {
  TrainOptions options = quick_options();
  options.checkpoint_steps = 4;
  options.keep_last = 100;
  for (const bool is_beside : {false, true}) {
    options.async_checkpoint = is_beside;
    LineObjective objective;
    // Weight decay moves it in every step, and writing it takes longer than a step.
    objective.module().register_parameter("large", torch::ones({1024, 1024}));
    data::Loader loader(std::make_shared<PixelDataset>(40), Training::transform(),
                        data::LoaderOptions{.batch_size = 8}, 5, at::kCPU);
    Trainer trainer(objective, loader, options, Training::optim(), 5, at::kCPU,
                    directory_ / (is_beside ? "beside" : "waiting"));
    trainer.run("", Json::object());
  }
  expect_same_checkpoints(directory_ / "waiting", directory_ / "beside", 5);
}

// The first save of every rank is held back until training has made two more steps.
TEST_F(TrainerRuns, SavesOfRanksBesideTheTrainingAreTheSameBytes) {
  TrainOptions options = quick_options();
  options.checkpoint_steps = 5;
  options.keep_last = 100;
  for (const bool is_beside : {false, true}) {
    options.async_checkpoint = is_beside;
    const fs::path directory = directory_ / (is_beside ? "beside" : "waiting");
    sharding::ThreadHub hub(2);
    sharding::run_ranks(hub, [&](sharding::ProcessGroups& real) {
      std::latch gate(1);
      // Those of the writing thread alone.
      sharding::ForwardingGroups groups(
          real,
          [&](std::unique_ptr<sharding::Communicator> group,
              const std::string& name) -> std::unique_ptr<sharding::Communicator> {
            if (name != "checkpoints") return group;
            return std::make_unique<GatedCommunicator>(std::move(group), gate);
          });
      Training run(directory, options, 40, &groups);
      run.objective.before_call = [&](int64_t call) {
        if (call == 7) gate.count_down();
      };
      run.trainer.run("", Json::object());
      EXPECT_EQ(gate.try_wait(), true);
    });
  }
  expect_same_checkpoints(directory_ / "waiting", directory_ / "beside", 4);
  std::vector<int64_t> steps_before;  // logged before each checkpoint
  int64_t newest = 0;
  std::istringstream text(read_file(directory_ / "beside/log.jsonl"));
  for (std::string line; std::getline(text, line);) {
    const Json entry = Json::parse(line);
    if (entry.at("kind") == "step") newest = entry.at("step");
    if (entry.at("kind") == "checkpoint") steps_before.push_back(newest);
  }
  ASSERT_EQ(steps_before.size(), 4U);
  EXPECT_GE(steps_before[0], 7);
  EXPECT_EQ(steps_before[3], 20);
}

TEST_F(TrainerRuns, ASaveThatFailsEndsTheRunOnAllRanksAtOneStep) {
  TrainOptions options = quick_options();
  options.checkpoint_steps = 5;
  for (const bool is_beside : {false, true}) {
    options.async_checkpoint = is_beside;
    for (const int64_t num_ranks : {1, 2}) {
      const fs::path directory =
          directory_ / fmt::format("{}_ranks_{}", num_ranks, is_beside ? "beside" : "waiting");
      std::vector<std::string> errors(static_cast<size_t>(num_ranks));
      std::vector<int64_t> calls(static_cast<size_t>(num_ranks));
      bool is_in_the_way = false;
      const auto train = [&](int64_t rank, sharding::ProcessGroups* groups) {
        Training run(directory, options, 40, groups);
        run.objective.before_call = [&, rank](int64_t call) {
          calls[static_cast<size_t>(rank)] = call;
          // The save of step 5 is noted between two steps once it is written.
          if (rank != 0 || call < 7 || call > 10 || is_in_the_way) return;
          is_in_the_way = put_a_file_in_the_way(directory);
          if (!is_in_the_way) std::this_thread::sleep_for(std::chrono::milliseconds(300));
        };
        try {
          run.trainer.run("", Json::object());
        } catch (const std::exception& error) {
          errors[static_cast<size_t>(rank)] = error.what();
        }
      };
      if (num_ranks == 1) {
        train(0, nullptr);
      } else {
        sharding::ThreadHub hub(num_ranks);
        sharding::run_ranks(
            hub, [&](sharding::ProcessGroups& groups) { train(groups.rank(), &groups); });
      }
      EXPECT_TRUE(is_in_the_way) << directory;
      EXPECT_NE(errors[0].find("checkpoints"), std::string::npos) << directory << errors[0];
      EXPECT_NE(errors.back().find(num_ranks == 1 ? "checkpoints" : "another rank could not begin"),
                std::string::npos)
          << directory << errors.back();
      EXPECT_LE(calls[0], 14);  // at the latest when the next save is due
      EXPECT_EQ(calls[0], calls.back());
      EXPECT_EQ(find_checkpoint(directory / "kept").step, 5);
    }
  }
}

TEST_F(TrainerRuns, AnErrorOfTheTrainingWaitsForTheSaveUnderWay) {
  TrainOptions options = quick_options();
  options.checkpoint_steps = 5;
  Training run(directory_, options);
  run.objective.first_bad_call = 5;
  run.objective.end_of_bad_calls = 6;
  EXPECT_THROW(run.trainer.run("", Json::object()), Error);
  ASSERT_EQ(lines("checkpoint").size(), 1U);
  EXPECT_EQ(lines("checkpoint").front().at("step"), 5);
  EXPECT_EQ(find_checkpoint(directory_).step, 5);
}

TEST_F(TrainerRuns, TheLastStepsAreLoggedWhereverTheRunEnds) {
  TrainOptions options = quick_options();
  options.log_every = 6;
  options.max_steps = 9;
  Training run(directory_, options);
  run.trainer.run("", Json::object());
  std::vector<int64_t> steps;
  for (const Json& line : lines("step")) steps.push_back(line.at("step"));
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 6, 9}));
}

TEST_F(TrainerRuns, DataThatGrewSinceTheCheckpointIsRefused) {
  TrainOptions options = quick_options();
  options.max_steps = 3;
  Training first(directory_, options);
  first.trainer.run("", Json::object());
  Training second(directory_, options, 41);
  try {
    second.trainer.resume(find_checkpoint(directory_));
    FAIL() << "41 samples were taken for 40";
  } catch (const UsageError& error) {
    EXPECT_NE(error.message().find("over 40 samples, the data has 41"), std::string::npos)
        << error.what();
  }
}

TEST_F(TrainerRuns, AFinishedRunIsLeftAsItIs) {
  Training run(directory_, quick_options());
  const TrainSummary first = run.trainer.run("", Json::object());
  const std::string log = read_file(directory_ / "log.jsonl");
  Training again(directory_, quick_options());
  again.trainer.resume(find_checkpoint(directory_));
  const TrainSummary second = again.trainer.run("", Json::object());
  EXPECT_EQ(second.steps, 20);
  EXPECT_EQ(second.loss, first.loss);
  EXPECT_EQ(second.checkpoint, first.checkpoint);
  EXPECT_EQ(read_file(directory_ / "log.jsonl"), log);
}

// Slower to read than any training here.
class SlowDataset : public PixelDataset {
 public:
  using PixelDataset::PixelDataset;
  data::ImageSource source(int64_t index, std::vector<std::byte>* bytes) const override {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return PixelDataset::source(index, bytes);
  }
};

// A device that draws 250 W and is busy half of the time.
class SteadySource final : public TelemetrySource {
 public:
  std::string description() const override { return "steady"; }
  TelemetryReading read() override { return {250.0, 0.5, {}, {}}; }
};

TEST_F(TrainerRuns, TheDevicesReadingsStandInTheLog) {
  Training run(directory_, quick_options());
  DeviceTelemetry telemetry(std::make_unique<SteadySource>(), directory_ / "telemetry.csv",
                            std::chrono::milliseconds(1));
  run.objective.before_call = [](int64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  run.trainer.record(telemetry);
  const TrainSummary summary = run.trainer.run("", Json::object());
  const std::vector<Json> steps = lines("step");
  EXPECT_EQ(steps.back().at("watts"), 250);
  EXPECT_EQ(steps.back().at("utilisation"), 0.5);
  EXPECT_EQ(summary.telemetry.at("source"), "steady");
  EXPECT_EQ(lines("end").front().at("telemetry"), summary.telemetry);
  EXPECT_TRUE(std::filesystem::exists(directory_ / "telemetry.csv"));
}

// A test set changes nothing of the training, and its loss does not depend on the ranks.
TEST_F(TrainerRuns, TheTestLossIsMeasuredBesideTheTraining) {
  TrainOptions options = quick_options();
  options.test_epochs = 2;
  options.max_steps = 17;  // 5 steps an epoch: two tests on the way, one at the end
  Training plain(directory_ / "plain", options);
  plain.trainer.run("", Json::object());
  const auto test_loader = [](sharding::ProcessGroups* groups) {
    data::LoaderOptions loader;
    loader.global_batch_size = 6;
    loader.shuffle = false;
    loader.workers = 1;
    return data::Loader(std::make_shared<SlowDataset>(18), Training::transform(), loader, 5,
                        at::kCPU, groups ? groups->rank() : 0, groups ? groups->world_size() : 1);
  };
  double test_loss = 0;
  {
    data::Loader test = test_loader(nullptr);
    Training run(directory_, options);
    run.trainer.measure_on(test);
    test_loss = run.trainer.run("", Json::object()).test_loss.value();
    EXPECT_TRUE(at::equal(run.objective.weight(), plain.objective.weight()));
    at::Tensor sum = at::zeros({});
    test.seek({});
    for (int64_t i = 0; i < 3; ++i) {
      const at::Tensor x = test.next().images_BCHW.flatten(1);
      sum += (torch::mm(x, run.objective.weight().detach().t()).squeeze(1) - 1).square().sum();
    }
    EXPECT_NEAR(test_loss, sum.item<double>() / 18, 1e-6);
  }
  const std::vector<Json> epochs = lines("epoch");
  ASSERT_EQ(epochs.size(), 4U);
  for (const size_t i : {0, 1, 2}) {
    EXPECT_EQ(epochs[i].at("step"), 5 * (i + 1));
    EXPECT_EQ(epochs[i].at("epoch"), i + 1);
    // A test takes 0.9 s.
    EXPECT_LT(epochs[i].at("seconds"), 0.6);
    EXPECT_EQ(epochs[i].contains("test_loss"), i == 1);
  }
  EXPECT_EQ(epochs[3].at("step"), 17);
  EXPECT_EQ(epochs[3].at("test_loss"), test_loss);
  EXPECT_EQ(lines("end").front().at("test_loss"), test_loss);

  sharding::ThreadHub hub(2);
  sharding::run_ranks(hub, [&](sharding::ProcessGroups& groups) {
    data::Loader test = test_loader(&groups);
    Training run(directory_ / "ranks", options, 40, &groups);
    run.trainer.measure_on(test);
    EXPECT_NEAR(run.trainer.run("", Json::object()).test_loss.value(), test_loss, 1e-5);
  });
}

TEST_F(TrainerRuns, SettingsThatCannotWorkAreRefused) {
  TrainOptions options = quick_options();
  options.batch_size = 64;  // of 40 images
  EXPECT_THROW(Training(directory_, options), UsageError);
  options.batch_size = 8;
  options.accumulation = 3;
  EXPECT_THROW(Training(directory_, options), UsageError);
  options.accumulation = 1;
  options.epochs = 1;  // all of it warm-up
  Training warming(directory_, options);
  EXPECT_THROW(warming.trainer.run("", Json::object()), UsageError);
}

}  // namespace
}  // namespace swath::train
