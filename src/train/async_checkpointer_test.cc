#include "train/async_checkpointer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <latch>
#include <memory>

#include "core/error.h"
#include "core/tensor/torch.h"
#include "train/checkpoint.h"

namespace swath::train {
namespace {
namespace fs = std::filesystem;
using namespace std::chrono_literals;

class AsyncCheckpointerFiles : public testing::Test {
 protected:
  AsyncCheckpointerFiles()
      : directory_(fs::temp_directory_path() / ("swath_async_" + std::to_string(getpid()))) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    std::ofstream(directory_ / "file") << "no directory";
  }
  ~AsyncCheckpointerFiles() override { fs::remove_all(directory_); }

  fs::path saves() const { return directory_ / "checkpoints"; }
  // No checkpoint can be written below a file.
  fs::path impossible() const { return directory_ / "file" / "checkpoints"; }

  // One rank whose saves wait in their first agreement until the gate opens.
  static CheckpointRanks behind(std::latch& gate) {
    return {0, 1, [&gate](bool is_well) {
              gate.wait();
              return is_well;
            }};
  }
  fs::path directory_;
};

TEST_F(AsyncCheckpointerFiles, WritesWhatWasThereWhileTheCallerGoesOn) {
  std::latch gate(1);
  std::vector<int64_t> published;
  const at::Tensor values = torch::full({1000}, 3.0F);
  AsyncCheckpointer checkpointer(behind(gate), [&](int64_t step) { published.push_back(step); });
  const double stall = checkpointer.start(
      saves(), 7, {{"values", {1000}, 0, values}, {"none", {0}, 0, torch::zeros({0})}},
      {{"seed", 1}}, "seed = 1\n");
  values.fill_(4);
  EXPECT_TRUE(checkpointer.take_saved().empty());
  EXPECT_FALSE(fs::exists(saves() / "step_00000007"));
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(checkpointer.has_ended());
  gate.count_down();
  while (!checkpointer.has_ended()) std::this_thread::sleep_for(1ms);
  const std::vector<SavedCheckpoint> saved = checkpointer.take_saved();
  ASSERT_EQ(saved.size(), 1U);
  EXPECT_EQ(saved[0].step, 7);
  EXPECT_EQ(saved[0].stall_seconds, stall);
  EXPECT_GE(saved[0].write_seconds, 0.02);
  EXPECT_LT(stall, saved[0].write_seconds);
  EXPECT_EQ(saved[0].path, saves() / "step_00000007");
  EXPECT_EQ(published, std::vector<int64_t>{7});
  EXPECT_FALSE(checkpointer.has_ended());
  EXPECT_TRUE(checkpointer.take_saved().empty());
  const Checkpoint checkpoint = find_checkpoint(saves());
  EXPECT_EQ(checkpoint.state.at("seed"), 1);
  EXPECT_TRUE(at::equal(read_checkpoint_tensor(checkpoint, "values"), torch::full({1000}, 3.0F)));
}

TEST_F(AsyncCheckpointerFiles, ASaveWithoutACopyIsThereWhenItReturns) {
  std::vector<int64_t> published;
  const at::Tensor values = torch::full({1000}, 3.0F);
  const std::vector<TensorPiece> pieces = {{"values", {1000}, 0, values}};
  AsyncCheckpointer checkpointer({}, [&](int64_t step) { published.push_back(step); });
  checkpointer.start(saves(), 7, pieces, {}, "");
  values.fill_(4);
  const double stall = checkpointer.save(saves(), 8, pieces, {}, "", Clock::now() - 2s);
  EXPECT_EQ(find_checkpoint(saves()).step, 8);
  EXPECT_EQ(published, (std::vector<int64_t>{7, 8}));
  const std::vector<SavedCheckpoint> saved = checkpointer.take_saved();
  ASSERT_EQ(saved.size(), 2U);
  EXPECT_LE(saved[1].write_seconds + 2, saved[1].stall_seconds);
  EXPECT_LE(saved[1].stall_seconds, stall);
  for (const Checkpoint& checkpoint : list_checkpoints(saves())) {
    EXPECT_EQ(read_checkpoint_tensor(checkpoint, "values").max().item<float>(),
              checkpoint.step == 7 ? 3 : 4);
  }
  EXPECT_ANY_THROW(checkpointer.save(impossible(), 9, pieces, {}, ""));
  checkpointer.finish();
}

TEST_F(AsyncCheckpointerFiles, OnlyOneSaveIsUnderWay) {
  std::latch gate(1);
  std::atomic<int> publishing = 0;
  std::atomic<int> most = 0;
  const at::Tensor values = torch::full({10}, 1.0F);
  AsyncCheckpointer checkpointer(behind(gate), [&](int64_t) {
    most = std::max(most.load(), ++publishing);
    std::this_thread::sleep_for(20ms);
    --publishing;
  });
  checkpointer.start(saves(), 1, {{"values", {10}, 0, values}}, {}, "");
  values.fill_(2);
  std::future<double> second = std::async(std::launch::async, [&] {
    return checkpointer.start(saves(), 2, {{"values", {10}, 0, values}}, {}, "");
  });
  EXPECT_EQ(second.wait_for(50ms), std::future_status::timeout);
  gate.count_down();
  EXPECT_GE(second.get(), 0.05);  // waiting counts as stall
  checkpointer.finish();
  EXPECT_EQ(most, 1);
  const std::vector<Checkpoint> found = list_checkpoints(saves());
  ASSERT_EQ(found.size(), 2U);
  for (const Checkpoint& checkpoint : found) {
    EXPECT_EQ(read_checkpoint_tensor(checkpoint, "values").max().item<float>(),
              static_cast<float>(checkpoint.step));
  }
}

TEST_F(AsyncCheckpointerFiles, AFailedSaveIsAnErrorOfTheNextCallAndThenForgotten) {
  AsyncCheckpointer checkpointer;
  const std::vector<TensorPiece> pieces = {{"values", {10}, 0, torch::zeros({10})}};
  const auto fail = [&] { checkpointer.start(impossible(), 1, pieces, {}, ""); };
  fail();
  EXPECT_ANY_THROW(checkpointer.start(saves(), 2, pieces, {}, ""));
  EXPECT_FALSE(fs::exists(saves()));
  fail();
  EXPECT_ANY_THROW(checkpointer.finish());
  fail();
  EXPECT_ANY_THROW({
    for (int i = 0; i < 1000; ++i) {
      checkpointer.take_saved();
      std::this_thread::sleep_for(5ms);
    }
  });
  checkpointer.start(saves(), 2, pieces, {}, "");
  checkpointer.finish();
  EXPECT_EQ(find_checkpoint(saves()).step, 2);
}

TEST_F(AsyncCheckpointerFiles, TheEndWaitsAndLogsWhatNobodySaw) {
  const std::vector<TensorPiece> pieces = {{"values", {10}, 0, torch::zeros({10})}};
  {
    std::latch gate(1);
    auto checkpointer = std::make_unique<AsyncCheckpointer>(behind(gate));
    checkpointer->start(saves(), 3, pieces, {}, "");
    gate.count_down();
  }
  EXPECT_EQ(find_checkpoint(saves()).step, 3);
  testing::internal::CaptureStderr();
  {
    AsyncCheckpointer().start(impossible(), 1, pieces, {}, "");
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("a checkpoint was not written"), std::string::npos) << log;
}

TEST_F(AsyncCheckpointerFiles, BuffersFollowThePieces) {
  AsyncCheckpointer checkpointer;
  for (int64_t step = 1; step <= 3; ++step) {
    const at::Tensor values = torch::full({10 * step, 2}, static_cast<float>(step),
                                          step == 3 ? torch::kDouble : torch::kFloat);
    checkpointer.start(saves(), step, pieces_of({{"values", values}}), {}, "");
    checkpointer.finish();
    EXPECT_TRUE(at::equal(read_checkpoint_tensor(find_checkpoint(saves()), "values"), values));
  }
}

}  // namespace
}  // namespace swath::train
