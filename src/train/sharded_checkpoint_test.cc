// Checkpoints of many ranks, which are threads here.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/tensor/torch.h"
#include "train/checkpoint.h"

namespace swath::train {
namespace {
namespace fs = std::filesystem;

// all_agree of threads.
class Agreement {
 public:
  explicit Agreement(int64_t size) : barrier_(size, Completion{this}) {}
  bool operator()(bool is_well) {
    if (!is_well) all_are_well_ = false;
    barrier_.arrive_and_wait();
    return result_;
  }

 private:
  struct Completion {
    Agreement* agreement;
    void operator()() noexcept { agreement->result_ = agreement->all_are_well_.exchange(true); }
  };
  std::atomic<bool> all_are_well_ = true;
  bool result_ = true;
  std::barrier<Completion> barrier_;
};

// Runs `action` on so many ranks and returns what each threw, or "".
std::vector<std::string> run_ranks(int64_t size,
                                   const std::function<void(const CheckpointRanks&)>& action) {
  Agreement agreement(size);
  std::vector<std::string> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        action({rank, size, std::ref(agreement)});
      } catch (const std::exception& error) {
        errors[static_cast<size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

std::vector<std::string> no_errors(int64_t size) {
  return std::vector<std::string>(static_cast<size_t>(size));
}

NamedTensors state(float value) {
  return {{"model/weight", torch::arange(407, torch::kFloat).view({37, 11}) + value},
          {"model/mask", torch::tensor({true, false, true})},  // leaves what follows unaligned
          {"model/bias", torch::full({5}, value)},
          {"model/half", torch::arange(13).to(torch::kBFloat16) * value},
          {"optimizer/exp_avg/weight", torch::arange(407, torch::kDouble).view({37, 11}) / 7},
          {"optimizer/step", torch::full({}, value)}};
}

NamedTensors zeros_like(const NamedTensors& tensors) {
  NamedTensors zeros;
  for (const auto& [name, tensor] : tensors) zeros.emplace_back(name, torch::zeros_like(tensor));
  return zeros;
}

int64_t total_numel(const NamedTensors& tensors) {
  int64_t total = 0;
  for (const auto& [name, tensor] : tensors) total += tensor.numel();
  return total;
}

// Elements [begin, end) of all tensors one after the other; the rest by name only.
std::vector<TensorPiece> cut(const NamedTensors& tensors, int64_t begin, int64_t end) {
  std::vector<TensorPiece> pieces;
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const int64_t first = std::max(begin - offset, int64_t{0});
    const int64_t last = std::min(end - offset, tensor.numel());
    pieces.push_back({name, tensor.sizes().vec()});
    if (first < last) {
      pieces.back().start = first;
      pieces.back().values = tensor.view(-1).narrow(0, first, last - first);
    }
    offset += tensor.numel();
  }
  return pieces;
}

std::vector<TensorPiece> even_cut(const NamedTensors& tensors, const CheckpointRanks& ranks) {
  const int64_t total = total_numel(tensors);
  return cut(tensors, total * ranks.rank / ranks.size, total * (ranks.rank + 1) / ranks.size);
}

void expect_equal(const NamedTensors& found, const NamedTensors& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(at::equal(found[i].second, expected[i].second)) << expected[i].first;
  }
}

TEST(ShardedCheckpoint, NobodyGoesOnBeforeAllHaveLookedAtAFailure) {
  std::atomic<bool> has_looked = false;
  const auto errors = run_ranks(2, [&](const CheckpointRanks& ranks) {
    const auto fail = [&] {
      if (ranks.rank == 0) throw Error("rank 0 failed.");
    };
    const auto look = [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      has_looked = true;
      return "seen.";
    };
    try {
      ranks.together(fail, look);
    } catch (const Error& error) {
      throw Error(has_looked ? error.message() : "too early.");
    }
  });
  EXPECT_EQ(errors[0], "rank 0 failed.");
  EXPECT_EQ(errors[1].substr(0, 5), "seen.");
}

class ShardedCheckpointFiles : public testing::Test {
 protected:
  ShardedCheckpointFiles()
      : directory_(fs::temp_directory_path() /
                   ("swath_sharded_checkpoint_" + std::to_string(getpid()))) {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~ShardedCheckpointFiles() override { fs::remove_all(directory_); }

  // On four ranks in uneven parts, of which the third has nothing.
  fs::path save(int64_t step) {
    const NamedTensors tensors = state(static_cast<float>(step));
    const std::vector<int64_t> bounds = {0, 1, 300, 300, total_numel(tensors)};
    const auto errors = run_ranks(4, [&](const CheckpointRanks& ranks) {
      const auto rank = static_cast<size_t>(ranks.rank);
      save_checkpoint(directory_, step, cut(tensors, bounds[rank], bounds[rank + 1]),
                      {{"seed", step}}, "seed = 7\n", ranks);
    });
    EXPECT_EQ(errors, no_errors(4));
    return directory_ / step_directory_name(step);
  }
  // Only the older checkpoint of step 1 is there, and sound.
  void expect_untouched() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      names.push_back(entry.path().filename());
    }
    EXPECT_EQ(names, std::vector<std::string>{step_directory_name(1)});
    const std::optional<Checkpoint> found = newest_sound_checkpoint(directory_);
    ASSERT_TRUE(found.has_value());
    NamedTensors target = zeros_like(state(1));
    load_checkpoint(*found, pieces_of(target));
    expect_equal(target, state(1));
  }
  fs::path directory_;
};

void flip_last_byte(const fs::path& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const auto byte = static_cast<char>(file.get() ^ 1);
  file.seekp(-1, std::ios::end);
  file.put(byte);
}

TEST_F(ShardedCheckpointFiles, LoadsOnAnyNumberOfRanks) {
  const fs::path path = save(5);
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(path)) files.insert(entry.path().filename());
  EXPECT_EQ(files, (std::set<std::string>{"COMPLETE", "index.json", "rank_00000.safetensors",
                                          "rank_00001.safetensors", "rank_00003.safetensors"}));
  const NamedTensors expected = state(5);
  const Checkpoint checkpoint = open_checkpoint(path);
  EXPECT_EQ(checkpoint.state.at("seed"), 5);
  EXPECT_EQ(checkpoint.tensors.at("model/bias").pieces[0].key, "model/bias");
  EXPECT_EQ(checkpoint.tensors.at("model/weight").pieces[1].key, "model/weight[1:300]");
  for (const int64_t size : {1, 2, 3, 6}) {
    const NamedTensors target = zeros_like(expected);
    EXPECT_EQ(run_ranks(size,
                        [&](const CheckpointRanks& ranks) {
                          load_checkpoint(checkpoint, even_cut(target, ranks), "", ranks);
                        }),
              no_errors(size));
    expect_equal(target, expected);
  }
  for (const auto& [name, tensor] : expected) {
    EXPECT_TRUE(at::equal(read_checkpoint_tensor(checkpoint, name), tensor)) << name;
  }
}

TEST_F(ShardedCheckpointFiles, ReadsOnlyWhatIsNeeded) {
  const fs::path path = save(5);
  fs::remove(path / "rank_00003.safetensors");
  const NamedTensors target = zeros_like(state(5));
  load_checkpoint(open_checkpoint(path), cut(target, 0, 300));
  EXPECT_EQ(target[0].second.view(-1)[299].item<float>(), 304.0F);
  EXPECT_EQ(target[0].second.view(-1)[300].item<float>(), 0.0F);
  EXPECT_THROW(load_checkpoint(open_checkpoint(path), cut(target, 0, 301)), Error);
}

TEST_F(ShardedCheckpointFiles, HolesAndOverlapsAreRefused) {
  save(1);
  const NamedTensors tensors = state(2);
  struct Case {
    std::vector<std::pair<int64_t, int64_t>> cuts;  // of each rank
    std::string expected;
  };
  const int64_t total = total_numel(tensors);
  for (const Case& wrong : {Case{{{0, 100}, {110, total}},
                                 "no rank stored elements 100 to 110 of 407 of tensor model/"
                                 "weight"},
                            Case{{{0, 100}, {90, total}},
                                 "elements 90 to 100 of tensor model/weight are stored twice, "
                                 "in rank_00000.safetensors and rank_00001.safetensors"},
                            Case{{{0, 100}, {100, total - 2}},
                                 "no rank stored elements 406 to 407 of 407 of tensor "
                                 "optimizer/exp_avg/weight"},
                            Case{{{0, 100}, {100, total - 1}},
                                 "no rank stored elements 0 to 1 of 1 of tensor "
                                 "optimizer/step"}}) {
    const auto errors = run_ranks(2, [&](const CheckpointRanks& ranks) {
      const auto [begin, end] = wrong.cuts[static_cast<size_t>(ranks.rank)];
      save_checkpoint(directory_, 2, cut(tensors, begin, end), {}, "", ranks);
    });
    EXPECT_NE(errors[0].find(wrong.expected), std::string::npos) << errors[0];
    EXPECT_NE(errors[1].find("rank 0 could not complete it"), std::string::npos) << errors[1];
    expect_untouched();
  }
}

TEST_F(ShardedCheckpointFiles, RanksThatDisagreeAboutATensorAreRefused) {
  save(1);
  const std::vector<TensorPiece> pieces = {{"a", {4}, 0, torch::zeros({2})},
                                           {"a", {5}, 2, torch::zeros({2})},
                                           {"a", {4}, 2, torch::zeros({2}, torch::kDouble)},
                                           {"a", {4}, 3, torch::zeros({2})}};
  const char* expected[] = {"tensor a is F32 [4] on one rank and F32 [5] on another",
                            "tensor a is F32 [4] on one rank and F64 [4] on another",
                            "rank could not begin"};
  for (size_t i = 1; i < pieces.size(); ++i) {
    const auto errors = run_ranks(2, [&](const CheckpointRanks& ranks) {
      save_checkpoint(directory_, 2, {pieces[ranks.rank == 0 ? 0 : i]}, {}, "", ranks);
    });
    EXPECT_NE(errors[0].find(expected[i - 1]), std::string::npos) << errors[0];
    EXPECT_NE(errors[1], "");
    expect_untouched();
  }
}

TEST_F(ShardedCheckpointFiles, OneRankThatFailsFailsAllAndHarmsNothing) {
  save(1);
  const NamedTensors tensors = state(2);
  const fs::path partial = directory_ / (kPartialPrefix + step_directory_name(2));
  // Values that cannot be read, then a file that cannot be written.
  for (const bool is_unreadable : {true, false}) {
    const auto errors = run_ranks(4, [&](CheckpointRanks ranks) {
      std::vector<TensorPiece> pieces = even_cut(tensors, ranks);
      if (ranks.rank == 2 && is_unreadable) {
        for (TensorPiece& piece : pieces) {
          if (piece.numel() > 0) piece.values = piece.values.to(torch::kMeta);
        }
      }
      if (ranks.rank == 2 && !is_unreadable) {
        const auto all_agree = ranks.all_agree;
        ranks.all_agree = [&partial, all_agree, is_first = true](bool is_well) mutable {
          const bool result = all_agree(is_well);
          if (std::exchange(is_first, false)) fs::create_directory(partial / rank_file_name(2));
          return result;
        };
      }
      save_checkpoint(directory_, 2, pieces, {}, "", ranks);
    });
    for (const size_t rank : {0, 1, 3}) {
      EXPECT_NE(errors[rank].find("rank 2 could not write its part"), std::string::npos)
          << errors[rank];
    }
    EXPECT_NE(errors[2].find(is_unreadable ? "meta" : "rank_00002.safetensors"), std::string::npos)
        << errors[2];
    expect_untouched();
  }
}

TEST_F(ShardedCheckpointFiles, ALostRankLeavesNothingOfTheSave) {
  save(1);
  const NamedTensors tensors = state(2);
  for (int lost_at = 0; lost_at < 3; ++lost_at) {
    int calls = 0;
    const CheckpointRanks ranks{0, 2, [&](bool is_well) {
                                  if (calls++ == lost_at) throw Error("rank 1 is gone.");
                                  return is_well;
                                }};
    try {
      save_checkpoint(directory_, 2, pieces_of(tensors), {}, "", ranks);
      FAIL() << "the loss of a rank went unnoticed";
    } catch (const Error& error) {
      // The part that rank 1 never wrote comes before the agreement in which it is missed.
      EXPECT_NE(error.message().find(lost_at < 2 ? "rank 1 is gone" : "rank_00001.json"),
                std::string::npos)
          << error.what();
    }
    expect_untouched();
  }
}

TEST_F(ShardedCheckpointFiles, ADirectoryThatIsNotSharedIsNamed) {
  save(1);
  const NamedTensors tensors = state(2);
  const auto errors = run_ranks(2, [&](const CheckpointRanks& ranks) {
    save_checkpoint(ranks.rank == 0 ? directory_ : directory_ / "of_another_host", 2,
                    even_cut(tensors, ranks), {}, "", ranks);
  });
  EXPECT_NE(errors[1].find("rank 1 of 2 does not see"), std::string::npos) << errors[1];
  EXPECT_NE(errors[1].find("file system that all ranks share"), std::string::npos) << errors[1];
  EXPECT_NE(errors[0].find("rank 1 could not write its part"), std::string::npos) << errors[0];
  expect_untouched();
}

TEST_F(ShardedCheckpointFiles, DamageInOneFileIsFoundByAllRanksAndNothingIsLoaded) {
  const std::vector<std::pair<std::string, std::function<void(const fs::path&)>>> damages = {
      {"checksum", flip_last_byte},
      {"rank_00001", [](const fs::path& path) { fs::resize_file(path, fs::file_size(path) - 4); }},
      {"rank_00001", [](const fs::path& path) { fs::remove(path); }}};
  for (const auto& [expected, damage] : damages) {
    save(1);
    const fs::path path = save(2);
    damage(path / rank_file_name(1));
    const NamedTensors target = zeros_like(state(2));
    const auto errors = run_ranks(3, [&](const CheckpointRanks& ranks) {
      load_checkpoint(open_checkpoint(path), even_cut(target, ranks), "", ranks);
    });
    EXPECT_NE(errors[0].find(expected), std::string::npos) << errors[0];
    EXPECT_NE(errors[2].find("another rank could not load it"), std::string::npos) << errors[2];
    expect_equal(target, zeros_like(target));
    EXPECT_EQ(run_ranks(3,
                        [&](const CheckpointRanks& ranks) {
                          const auto found = newest_sound_checkpoint(directory_, ranks);
                          if (!found || found->step != 1) throw Error("not the one before.");
                        }),
              no_errors(3));
    EXPECT_THROW(verify_checkpoint(open_checkpoint(path)), Error);
    fs::remove_all(directory_);
  }
}

TEST_F(ShardedCheckpointFiles, ReplicasWriteEachValueOnceInEqualParts) {
  // Large and small ones in turn: a deal one by one would give one replica all the large ones.
  NamedTensors tensors;
  for (int i = 0; i < 16; ++i) {
    tensors.emplace_back("large" + std::to_string(i), torch::full({1000}, float(i)));
    tensors.emplace_back("small" + std::to_string(i), torch::full({2}, float(i)));
  }
  const auto errors = run_ranks(4, [&](const CheckpointRanks& ranks) {
    const std::vector<TensorPiece> share =
        share_of_replica(pieces_of(tensors), ranks.rank, ranks.size);
    int64_t bytes = 0;
    for (const TensorPiece& piece : share) bytes += piece.bytes();
    if (std::abs(bytes - 16 * 4008 / 4) > 4000) throw Error(std::to_string(bytes) + " bytes");
    save_checkpoint(directory_, 1, share, {}, "", ranks);
  });
  EXPECT_EQ(errors, no_errors(4));
  const NamedTensors target = zeros_like(tensors);
  load_checkpoint(find_checkpoint(directory_), pieces_of(target));
  expect_equal(target, tensors);
}

TEST_F(ShardedCheckpointFiles, PartsOfAViewKeepTheirPlaceInTheParameter) {
  ParamView view;
  view.local = torch::arange(6, torch::kFloat);
  view.segments = {{"a", {2, 4}, 0, 3, true, 1, 5}, {"b", {9}, 3, 2, true, 1, 0}};
  std::vector<TensorPiece> pieces;
  append_pieces("model/", view, view.local, &pieces);
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(pieces[0].name, "model/a");
  EXPECT_EQ(pieces[0].shape, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(pieces[0].start, 5);
  EXPECT_TRUE(at::equal(pieces[0].values, torch::tensor({0.0F, 1.0F, 2.0F})));
  EXPECT_EQ(pieces[1].start, 0);
  EXPECT_TRUE(at::equal(pieces[1].values, torch::tensor({3.0F, 4.0F})));
}

// --- SIGKILL ---

constexpr const char* kKillDirectory = "SWATH_TEST_KILL_DIRECTORY";
constexpr int64_t kKillRanks = 3;
constexpr int64_t kKillNumel = 300'000;  // of each rank

// Saves the next step and the next, and says through the pipe which are published. Plain loops: a
// forked process must not meet its parent's thread pools.
[[noreturn]] void save_until_killed(const fs::path& directory, int64_t step, int pipe_end) {
  const at::Tensor values = at::empty({kKillRanks * kKillNumel});
  for (;; ++step) {
    std::fill_n(values.mutable_data_ptr<float>(), values.numel(), static_cast<float>(step));
    const auto errors = run_ranks(kKillRanks, [&](const CheckpointRanks& ranks) {
      save_checkpoint(directory, step, even_cut({{"values", values}}, ranks), {}, "", ranks);
      if (ranks.rank == 0) delete_old_checkpoints(directory, step, 2, 0);
    });
    if (errors != no_errors(kKillRanks)) _exit(1);
    if (write(pipe_end, &step, sizeof step) != sizeof step) _exit(1);
  }
}

struct Killed {
  int64_t published = 0;  // the last step that the process had published, as it said
  std::chrono::microseconds first_save{};
};

// Kills after `delay`, or, without one, once the first step is published.
Killed kill_while_saving(const fs::path& directory, int64_t first_step,
                         std::optional<std::chrono::microseconds> delay) {
  int ends[2];
  if (pipe(ends) != 0) throw Error("no pipe.");
  const auto start = std::chrono::steady_clock::now();
  const pid_t process = fork();
  if (process == 0) {
    close(ends[0]);
    save_until_killed(directory, first_step, ends[1]);
  }
  close(ends[1]);
  Killed killed;
  if (delay) {
    std::this_thread::sleep_for(*delay);
  } else if (read(ends[0], &killed.published, sizeof first_step) == sizeof first_step) {
    killed.first_save = std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::steady_clock::now() - start);
  }
  kill(process, SIGKILL);
  int status = 0;
  waitpid(process, &status, 0);
  if (!WIFSIGNALED(status)) throw Error("the process could not save.");
  for (int64_t step = 0; read(ends[0], &step, sizeof step) == sizeof step;) killed.published = step;
  close(ends[0]);
  return killed;
}

void kill_many_times(const fs::path& directory) {
  std::mt19937 random(std::random_device{}());
  const Killed first = kill_while_saving(directory, 1, std::nullopt);
  int64_t step = first.published;
  ASSERT_GE(step, 1);
  int interrupted = 0;
  for (int round = 0; round < 15; ++round) {
    const std::chrono::microseconds delay(
        std::uniform_int_distribution<int64_t>(0, 3 * first.first_save.count())(random));
    const Killed killed = kill_while_saving(directory, step + 1, delay);
    const std::optional<Checkpoint> found = newest_sound_checkpoint(directory);
    ASSERT_TRUE(found.has_value());
    // The one after may have got its name before the process could say so.
    const int64_t published = std::max(step, killed.published);
    ASSERT_GE(found->step, published) << "killed after " << delay.count() << " us";
    ASSERT_LE(found->step, published + 1);
    step = found->step;
    if (fs::exists(directory / (kPartialPrefix + step_directory_name(step + 1)))) ++interrupted;
    const at::Tensor values = read_checkpoint_tensor(*found, "values");
    const float* begin = values.const_data_ptr<float>();
    ASSERT_EQ(std::count(begin, begin + values.numel(), static_cast<float>(step)), values.numel());
  }
  EXPECT_GT(interrupted, 0) << "no save was interrupted: nothing was tried.";
}

// Runs itself anew: who forks must not have threads.
TEST_F(ShardedCheckpointFiles, KilledAtRandomMomentsTheNewestIsTheOneBeforeOrTheNewOne) {
  if (const char* directory = std::getenv(kKillDirectory)) {
    kill_many_times(directory);
    return;
  }
  const fs::path saves = directory_ / "saves";
  fs::create_directories(saves);
  const std::string filter =
      std::string("--gtest_filter=") +
      testing::UnitTest::GetInstance()->current_test_info()->test_suite_name() + "." +
      testing::UnitTest::GetInstance()->current_test_info()->name();
  const pid_t process = fork();
  if (process == 0) {
    setenv(kKillDirectory, saves.c_str(), 1);
    execl("/proc/self/exe", "swath_train_test", filter.c_str(), "--gtest_brief=1", nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(process, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

}  // namespace
}  // namespace swath::train
