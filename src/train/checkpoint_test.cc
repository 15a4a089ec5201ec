#include "train/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "core/tensor/torch.h"

namespace swath::train {
namespace {
namespace fs = std::filesystem;

class CheckpointFiles : public testing::Test {
 protected:
  CheckpointFiles()
      : directory_(fs::temp_directory_path() / ("swath_checkpoint_" + std::to_string(getpid()))) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~CheckpointFiles() override { fs::remove_all(directory_); }

  static NamedTensors tensors(float value) {
    return {{"model/weight", torch::full({3, 4}, value)},
            {"model/bias", torch::full({4}, value + 1)},
            {"optimizer/step", torch::tensor(value)}};
  }
  fs::path save(int64_t step) {
    return save_checkpoint(directory_, step, pieces_of(tensors(static_cast<float>(step))),
                           {{"seed", 7}}, "seed = 7\n");
  }
  std::string error_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "(no error)";
  }
  fs::path directory_;
};

TEST_F(CheckpointFiles, LoadsWhatWasSaved) {
  const Checkpoint checkpoint = open_checkpoint(save(5));
  EXPECT_EQ(checkpoint.step, 5);
  EXPECT_EQ(checkpoint.state.at("seed"), 7);
  EXPECT_EQ(checkpoint.config, "seed = 7\n");
  const NamedTensors target = tensors(0);
  load_checkpoint(checkpoint, pieces_of(target));
  EXPECT_TRUE(at::equal(target[0].second, torch::full({3, 4}, 5.0F)));
  EXPECT_EQ(target[2].second.item<float>(), 5.0F);
}

TEST_F(CheckpointFiles, DirectoriesWithoutTheMarkAreNeverRead) {
  save(1);
  const fs::path killed = save(2);
  fs::remove(killed / "COMPLETE");
  fs::create_directories(directory_ / ".partial-step_00000003-1");
  EXPECT_EQ(find_checkpoint(directory_).step, 1);
  EXPECT_THROW(open_checkpoint(killed), Error);
}

TEST_F(CheckpointFiles, AFlippedByteIsFoundAndNothingIsLoaded) {
  const fs::path path = save(3);
  std::fstream file(path / "rank_00000.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x55');
  file.close();
  const NamedTensors target = tensors(0);
  const std::string error =
      error_of([&] { load_checkpoint(open_checkpoint(path), pieces_of(target)); });
  EXPECT_NE(error.find("optimizer/step"), std::string::npos) << error;
  EXPECT_NE(error.find("checksum"), std::string::npos) << error;
  EXPECT_EQ(target[0].second.max().item<float>(), 0.0F);
}

TEST_F(CheckpointFiles, AChangedIndexIsFound) {
  const fs::path path = save(3);
  std::string index = read_file(path / "index.json");
  index.replace(index.find("\"seed\": 7"), 9, "\"seed\": 8");
  write_file_atomically(path / "index.json", index);
  const std::string error = error_of([&] { open_checkpoint(path); });
  EXPECT_NE(error.find("index.json is damaged"), std::string::npos) << error;
}

TEST_F(CheckpointFiles, AnotherFormatIsRefusedByItsVersion) {
  const fs::path path = save(3);
  std::string index = read_file(path / "index.json");
  index.replace(index.find("\"format_version\": 2"), 19, "\"format_version\": 1");
  write_file_atomically(path / "index.json", index);
  const std::string error = error_of([&] { open_checkpoint(path); });
  EXPECT_NE(error.find("has format version 1, this program reads 2"), std::string::npos) << error;
}

TEST_F(CheckpointFiles, TargetsOfAnotherDtypeGetConvertedValues) {
  const Checkpoint checkpoint = open_checkpoint(save(5));
  NamedTensors target = tensors(0);
  target[0].second = torch::zeros({3, 4}, torch::kBFloat16);
  load_checkpoint(checkpoint, pieces_of(target));
  EXPECT_TRUE(at::equal(target[0].second, torch::full({3, 4}, 5.0F, torch::kBFloat16)));
  target[0].second = torch::zeros({4, 3}).t();
  const std::string error = error_of([&] { load_checkpoint(checkpoint, pieces_of(target)); });
  EXPECT_NE(error.find("model/weight are not contiguous"), std::string::npos) << error;
}

TEST_F(CheckpointFiles, ATruncatedShardIsFound) {
  const fs::path path = save(3);
  fs::resize_file(path / "rank_00000.safetensors",
                  fs::file_size(path / "rank_00000.safetensors") - 4);
  EXPECT_THROW(load_checkpoint(open_checkpoint(path), pieces_of(tensors(0))), Error);
}

TEST_F(CheckpointFiles, TheNewestSoundOneIsFoundBehindDamagedOnes) {
  save(1);
  const fs::path flipped = save(2);
  std::fstream file(flipped / "rank_00000.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x55');
  file.close();
  const fs::path cut = save(3);
  fs::resize_file(cut / "rank_00000.safetensors", 10);
  const fs::path lost = save(4);
  fs::remove(lost / "rank_00000.safetensors");
  const fs::path unreadable = save(5);
  fs::resize_file(unreadable / "index.json", 20);
  const std::optional<Checkpoint> found = newest_sound_checkpoint(directory_);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->step, 1);
  EXPECT_FALSE(newest_sound_checkpoint(directory_ / "none").has_value());
}

TEST_F(CheckpointFiles, RotationRemovesWhatAnInterruptedSaveLeft) {
  save(1);
  fs::create_directories(directory_ / ".partial-step_00000002-1");
  delete_old_checkpoints(directory_, 1, 2, 0);
  EXPECT_FALSE(fs::exists(directory_ / ".partial-step_00000002-1"));
}

TEST_F(CheckpointFiles, AnotherModelIsRefusedWithTheDifferences) {
  const Checkpoint checkpoint = open_checkpoint(save(3));
  const NamedTensors other = {{"model/weight", torch::zeros({3, 5})},
                              {"model/head", torch::zeros({1})},
                              {"optimizer/step", torch::zeros({})}};
  const std::string error = error_of([&] { load_checkpoint(checkpoint, pieces_of(other)); });
  for (const char* part : {"model/weight has shape [3, 4] there and [3, 5] here",
                           "model/head is missing", "model/bias is only in the checkpoint"}) {
    EXPECT_NE(error.find(part), std::string::npos) << error;
  }
}

TEST_F(CheckpointFiles, RotationKeepsTheNewestAndTheMilestones) {
  for (int64_t step = 1; step <= 6; ++step) save(step);
  delete_old_checkpoints(directory_, 6, 2, 3);
  std::vector<int64_t> steps;
  for (const Checkpoint& checkpoint : list_checkpoints(directory_))
    steps.push_back(checkpoint.step);
  EXPECT_EQ(steps, (std::vector<int64_t>{3, 5, 6}));
}

TEST_F(CheckpointFiles, RotationKeepsWhatWasJustWrittenAndWhatLiesAhead) {
  for (const int64_t step : {10, 20, 25, 12}) save(step);
  delete_old_checkpoints(directory_, 12, 1, 0);
  std::vector<int64_t> steps;
  for (const Checkpoint& checkpoint : list_checkpoints(directory_))
    steps.push_back(checkpoint.step);
  EXPECT_EQ(steps, (std::vector<int64_t>{12, 20, 25}));
}

TEST_F(CheckpointFiles, AFullDiskIsFoundBeforeAnythingIsWritten) {
  save(1);
  // One value seen 2^48 times: no disk holds them.
  const NamedTensors huge = {{"model/weight", torch::ones({1}).expand({int64_t{1} << 48})}};
  const std::string error =
      error_of([&] { save_checkpoint(directory_, 2, pieces_of(huge), Json::object(), ""); });
  for (const std::string& part :
       {directory_.string(), std::to_string((int64_t{4} << 48) + (1 << 20)), std::string("free")}) {
    EXPECT_NE(error.find(part), std::string::npos) << error;
  }
  ASSERT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1);
  load_checkpoint(find_checkpoint(directory_), pieces_of(tensors(0)));
}

TEST_F(CheckpointFiles, SavingTheSameStepAgainReplacesIt) {
  save(4);
  save_checkpoint(directory_, 4, pieces_of(tensors(9)), {}, "");
  EXPECT_EQ(read_checkpoint_tensor(find_checkpoint(directory_), "optimizer/step").item<float>(), 9);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace swath::train
