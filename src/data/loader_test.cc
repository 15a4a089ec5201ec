#include "data/loader.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/hash.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

using test::message_of;

constexpr int64_t kSide = 6;

// Chips in memory whose pixels all have the value of their index; some unusable, decoding slowly.
class MemoryDataset : public Dataset {
 public:
  explicit MemoryDataset(int64_t size, std::set<int64_t> bad = {}, int slow_us = 0)
      : size_(size), bad_(std::move(bad)), slow_us_(slow_us) {
    for (int64_t i = 0; i < size; ++i) {
      pixels_.emplace_back(kSide * kSide * 2, static_cast<float>(i));
      // One corner differs, so that flips and turns show.
      pixels_.back()[0] = -1;
    }
  }
  int64_t size() const override { return size_; }
  Sample sample(int64_t index) const override {
    Sample sample;
    sample.name = "chip" + std::to_string(index);
    sample.id = xxh3(sample.name);
    sample.label = index % 3;
    return sample;
  }
  ImageSource source(int64_t index, std::vector<std::byte>*) const override {
    ++reads_;
    if (slow_us_ > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(slow_us_ * (index % 3)));
    }
    if (bad_.contains(index)) throw BadSample("chip" + std::to_string(index) + " is broken.");
    ImageSource source;
    source.name = "chip" + std::to_string(index);
    source.bytes = std::as_bytes(std::span(pixels_[static_cast<size_t>(index)]));
    ImageInfo info;
    info.format = "RECORD";
    info.width = info.height = kSide;
    info.bands = 2;
    info.type = PixelType::kFloat32;
    source.raw = info;
    return source;
  }
  const std::vector<std::string>& class_names() const override { return classes_; }
  std::string description() const override { return "memory"; }

  void remove_labels() { classes_.clear(); }
  int64_t reads() const { return reads_; }

 private:
  mutable std::atomic<int64_t> reads_{0};
  int64_t size_;
  std::set<int64_t> bad_;
  int slow_us_;
  std::vector<std::vector<float>> pixels_;
  std::vector<std::string> classes_ = {"a", "b", "c"};
};

Transform make_transform(bool augment) {
  TransformOptions options;
  options.kind = augment ? "random_resized_crop" : "none";
  options.size = augment ? 4 : kSide;
  options.horizontal_flip = augment;
  options.dihedral = augment;
  return Transform(options, {{0, 0}, {1, 1}});
}

// Which samples a batch holds, by their pixels (last value of each chip).
std::vector<int64_t> indices_of(const Batch& batch) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < batch.size(); ++i) {
    indices.push_back(batch.images_BCHW[i].flatten()[-1].item<int64_t>());
  }
  return indices;
}

Loader make_loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options,
                   bool augment = false, int64_t rank = 0, int64_t world_size = 1,
                   uint64_t seed = 5) {
  return Loader(std::move(dataset), make_transform(augment), options, seed, c10::Device("cpu"),
                rank, world_size);
}

TEST(Loader, OneEpochHoldsEverySampleOnceWithItsLabelAndId) {
  const auto dataset = std::make_shared<MemoryDataset>(24);
  Loader loader = make_loader(dataset, {.batch_size = 6, .workers = 3});
  EXPECT_EQ(loader.batches_per_epoch(), 4);
  std::vector<std::vector<int64_t>> orders(2);
  for (uint64_t epoch = 0; epoch < 2; ++epoch) {
    for (int b = 0; b < 4; ++b) {
      const Batch batch = loader.next();
      EXPECT_EQ(batch.epoch, epoch);
      ASSERT_EQ(batch.images_BCHW.sizes(), (std::vector<int64_t>{6, 2, kSide, kSide}));
      const auto indices = indices_of(batch);
      for (size_t i = 0; i < 6; ++i) {
        const Sample sample = dataset->sample(indices[i]);
        EXPECT_EQ(batch.sample_ids[i], sample.id);
        EXPECT_EQ(batch.labels_B[static_cast<int64_t>(i)].item<int64_t>(), sample.label);
        orders[epoch].push_back(indices[i]);
      }
    }
    EXPECT_EQ(std::set<int64_t>(orders[epoch].begin(), orders[epoch].end()).size(), 24u);
  }
  EXPECT_NE(orders[0], orders[1]);
}

TEST(Loader, NamesSamplesForMessages) {
  const auto dataset = std::make_shared<MemoryDataset>(20);
  const Loader loader = make_loader(dataset, {.batch_size = 4});
  EXPECT_EQ(loader.names_of({dataset->sample(7).id, dataset->sample(2).id, 5}),
            (std::vector<std::string>{"chip7", "chip2", "number 5"}));
}

TEST(Loader, BatchesDoNotDependOnWorkersOrPrefetch) {
  const auto dataset = std::make_shared<MemoryDataset>(50, std::set<int64_t>{}, 200);
  std::vector<at::Tensor> expected;
  for (const int64_t workers : {1, 2, 8}) {
    for (const int64_t prefetch : {1, 4}) {
      Loader loader = make_loader(
          dataset, {.batch_size = 8, .workers = workers, .prefetch_batches = prefetch}, true);
      for (size_t b = 0; b < 15; ++b) {  // two and a half epochs
        const Batch batch = loader.next();
        if (workers == 1 && prefetch == 1) {
          expected.push_back(batch.images_BCHW.clone());
        } else {
          ASSERT_TRUE(at::equal(batch.images_BCHW, expected[b]));
        }
      }
    }
  }
}

TEST(Loader, AugmentationChangesWithEpochAndSeed) {
  const auto dataset = std::make_shared<MemoryDataset>(8);
  const auto by_id = [](const Batch& batch) {
    std::map<uint64_t, at::Tensor> images;
    for (size_t i = 0; i < batch.sample_ids.size(); ++i) {
      images[batch.sample_ids[i]] = batch.images_BCHW[static_cast<int64_t>(i)].clone();
    }
    return images;
  };
  Loader loader = make_loader(dataset, {.batch_size = 8}, true);
  const auto first = by_id(loader.next());
  const auto second = by_id(loader.next());
  Loader other = make_loader(dataset, {.batch_size = 8}, true, 0, 1, 6);
  const auto reseeded = by_id(other.next());
  int changed_by_epoch = 0;
  int changed_by_seed = 0;
  for (const auto& [id, image] : first) {
    changed_by_epoch += !at::equal(image, second.at(id));
    changed_by_seed += !at::equal(image, reseeded.at(id));
  }
  EXPECT_GT(changed_by_epoch, 0);
  EXPECT_GT(changed_by_seed, 0);
}

// The ranks' parts of a step, put together, are the step of one process with the global batch.
TEST(Loader, GlobalOrderDoesNotDependOnTheWorldSize) {
  const auto dataset = std::make_shared<MemoryDataset>(53);
  for (const bool drop_last : {true, false}) {
    Loader single = make_loader(dataset, {.batch_size = 12, .drop_last = drop_last}, true);
    for (const int64_t world_size : {2, 3, 4, 5, 7}) {  // 5 and 7 have unequal parts
      std::vector<std::unique_ptr<Loader>> ranks;
      for (int64_t rank = 0; rank < world_size; ++rank) {
        ranks.push_back(
            std::make_unique<Loader>(dataset, make_transform(true),
                                     LoaderOptions{.global_batch_size = 12, .drop_last = drop_last},
                                     5, c10::Device("cpu"), rank, world_size));
        EXPECT_EQ(ranks.back()->batches_per_epoch(), single.batches_per_epoch());
      }
      single.seek({0, 0});
      for (int b = 0; b < 11; ++b) {
        const Batch whole = single.next();
        std::vector<at::Tensor> images;
        std::vector<uint64_t> ids;
        for (const auto& rank : ranks) {
          const Batch part = rank->next();
          EXPECT_EQ(part.epoch, whole.epoch);
          if (drop_last) {
            EXPECT_LE(std::abs(part.size() * world_size - 12), world_size);
          }
          images.push_back(part.images_BCHW);
          ids.insert(ids.end(), part.sample_ids.begin(), part.sample_ids.end());
          EXPECT_EQ(rank->position(), single.position());
        }
        ASSERT_EQ(ids, whole.sample_ids);
        ASSERT_TRUE(at::equal(at::cat(images), whole.images_BCHW));
      }
    }
  }
}

TEST(Loader, SeekContinuesExactly) {
  const auto dataset = std::make_shared<MemoryDataset>(30);
  Loader whole = make_loader(dataset, {.batch_size = 4, .workers = 2}, true);
  std::vector<Batch> batches;
  std::vector<DataPosition> positions;
  for (int b = 0; b < 20; ++b) {
    positions.push_back(whole.position());
    batches.push_back(whole.next());
    batches.back().images_BCHW = batches.back().images_BCHW.clone();
  }
  EXPECT_EQ(positions[0], (DataPosition{0, 0}));
  EXPECT_EQ(positions[7], (DataPosition{1, 0}));  // 7 full batches per epoch
  EXPECT_EQ(positions[9], (DataPosition{1, 8}));
  Loader resumed = make_loader(dataset, {.batch_size = 4, .workers = 3}, true);
  for (const size_t start : {9u, 3u, 6u, 7u, 13u}) {  // also backwards, and with batches under way
    resumed.seek(positions[start]);
    EXPECT_EQ(resumed.position(), positions[start]);
    for (size_t b = start; b < start + 6; ++b) {
      const Batch batch = resumed.next();
      ASSERT_EQ(batch.sample_ids, batches[b].sample_ids);
      ASSERT_EQ(batch.epoch, batches[b].epoch);
      ASSERT_TRUE(at::equal(batch.images_BCHW, batches[b].images_BCHW));
    }
  }
  // Another global batch goes on with the same next sample.
  Loader larger = make_loader(dataset, {.batch_size = 8}, true);
  larger.seek(positions[9]);
  const Batch batch = larger.next();
  std::vector<uint64_t> ids = batches[9].sample_ids;
  ids.insert(ids.end(), batches[10].sample_ids.begin(), batches[10].sample_ids.end());
  EXPECT_EQ(batch.sample_ids, ids);
  message_of<UsageError>([&] { larger.seek({0, 31}); });
  message_of<UsageError>([&] { larger.seek({0, -1}); });
}

TEST(Loader, SeekToTheEndOfAnEpoch) {
  const auto dataset = std::make_shared<MemoryDataset>(10);
  Loader loader = make_loader(dataset, {.batch_size = 4, .drop_last = false});
  loader.seek({2, 10});
  EXPECT_EQ(loader.position(), (DataPosition{3, 0}));
  EXPECT_EQ(loader.next().epoch, 3u);
}

TEST(Loader, EvaluationReadsInOrderAndKeepsTheLastBatch) {
  const auto dataset = std::make_shared<MemoryDataset>(11);
  Loader loader =
      make_loader(dataset, {.batch_size = 4, .workers = 2, .shuffle = false, .drop_last = false});
  ASSERT_EQ(loader.batches_per_epoch(), 3);
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> order;
    for (int b = 0; b < 3; ++b) {
      const Batch batch = loader.next();
      EXPECT_EQ(batch.size(), b == 2 ? 3 : 4);
      EXPECT_EQ(batch.labels_B.size(0), batch.size());
      for (const int64_t index : indices_of(batch)) order.push_back(index);
    }
    std::vector<int64_t> expected(11);
    for (int64_t i = 0; i < 11; ++i) expected[static_cast<size_t>(i)] = i;
    EXPECT_EQ(order, expected);
  }
}

TEST(Loader, EvaluationDecodesNoMoreThanItsEpoch) {
  const auto dataset = std::make_shared<MemoryDataset>(40);
  Loader loader = make_loader(
      dataset,
      {.batch_size = 4, .workers = 2, .prefetch_batches = 4, .shuffle = false, .drop_last = false});
  for (int64_t b = 0; b < loader.batches_per_epoch(); ++b) loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(dataset->reads(), 40);
}

// Fewer samples in the last step than ranks: some ranks get an empty batch, none hangs or repeats.
TEST(Loader, LastStepIsSharedOut) {
  const auto dataset = std::make_shared<MemoryDataset>(9);
  std::multiset<int64_t> seen;
  for (int64_t rank = 0; rank < 4; ++rank) {
    Loader loader = make_loader(dataset, {.batch_size = 2, .shuffle = false, .drop_last = false},
                                false, rank, 4);
    ASSERT_EQ(loader.batches_per_epoch(), 2);
    for (int b = 0; b < 2; ++b) {
      const Batch batch = loader.next();
      for (const int64_t index : indices_of(batch)) seen.insert(index);
    }
  }
  EXPECT_EQ(seen.size(), 9u);
  EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), 9u);
}

TEST(Loader, UnlabelledDataHasNoLabels) {
  const auto dataset = std::make_shared<MemoryDataset>(4);
  dataset->remove_labels();
  Loader loader = make_loader(dataset, {.batch_size = 2});
  EXPECT_FALSE(loader.next().labels_B.defined());
}

TEST(Loader, ErrorsOfWorkersArriveInNext) {
  const auto dataset = std::make_shared<MemoryDataset>(40, std::set<int64_t>{17, 18, 25}, 300);
  for (int repeat = 0; repeat < 5; ++repeat) {
    Loader loader = make_loader(dataset, {.batch_size = 8, .workers = 4, .shuffle = false});
    loader.next();
    loader.next();
    // The first bad row of the batch, whichever worker was faster; and again.
    EXPECT_CONTAINS(message_of<BadSample>([&] { loader.next(); }), "chip17 is broken");
    EXPECT_CONTAINS(message_of<BadSample>([&] { loader.next(); }), "chip17 is broken");
    EXPECT_EQ(loader.position(), (DataPosition{0, 16}));
    loader.seek({0, 32});
    EXPECT_EQ(indices_of(loader.next())[0], 32);
  }
}

TEST(Loader, SkipBadTakesTheNextUsableSampleOfTheOrder) {
  const std::set<int64_t> bad = {3, 4, 11, 20};
  const auto broken = std::make_shared<MemoryDataset>(24, bad, 100);
  const auto whole = std::make_shared<MemoryDataset>(24);
  Loader reference = make_loader(whole, {.batch_size = 24});
  const std::vector<int64_t> order = indices_of(reference.next());
  for (const int64_t workers : {1, 4}) {
    Loader loader = make_loader(broken, {.batch_size = 6, .workers = workers, .skip_bad = true});
    for (size_t b = 0; b < 4; ++b) {
      const auto found = indices_of(loader.next());
      for (size_t i = 0; i < 6; ++i) {
        size_t place = b * 6 + i;
        while (bad.contains(order[place % 24])) ++place;
        EXPECT_EQ(found[i], order[place % 24]);
      }
    }
    EXPECT_EQ(loader.skipped_samples(), 4);
    EXPECT_CONTAINS(loader.skipped_names()[0], "chip11: chip11 is broken");
  }
}

TEST(Loader, SkipBadLeavesOutInEvaluation) {
  const auto dataset = std::make_shared<MemoryDataset>(10, std::set<int64_t>{1, 9});
  Loader loader = make_loader(
      dataset, {.batch_size = 5, .shuffle = false, .drop_last = false, .skip_bad = true});
  const Batch first = loader.next();
  EXPECT_EQ(indices_of(first), (std::vector<int64_t>{0, 2, 3, 4}));
  EXPECT_EQ(first.sample_ids.size(), 4u);
  EXPECT_EQ(first.labels_B.size(0), 4);
  EXPECT_EQ(first.labels_B[1].item<int64_t>(), 2);
  EXPECT_EQ(indices_of(loader.next()), (std::vector<int64_t>{5, 6, 7, 8}));
  EXPECT_EQ(loader.skipped_samples(), 2);
}

TEST(Loader, NothingUsableIsAnError) {
  const auto dataset = std::make_shared<MemoryDataset>(4, std::set<int64_t>{0, 1, 2, 3});
  Loader loader = make_loader(dataset, {.batch_size = 2, .skip_bad = true});
  EXPECT_CONTAINS(message_of<Error>([&] { loader.next(); }), "no usable sample");
}

TEST(Loader, ZeroStepsAreRefused) {
  const auto dataset = std::make_shared<MemoryDataset>(10);
  EXPECT_CONTAINS(message_of<UsageError>([&] { make_loader(dataset, {.batch_size = 16}); }),
                  "10 samples make no step of 16");
  Loader loader = make_loader(dataset, {.batch_size = 16, .drop_last = false});
  EXPECT_EQ(loader.next().size(), 10);
  message_of<UsageError>([&] { make_loader(dataset, {.batch_size = 0}); });
  message_of<UsageError>([&] { make_loader(std::make_shared<MemoryDataset>(0), {}); });
}

TEST(Loader, BuffersAreUsedAgainOnceDropped) {
  const auto dataset = std::make_shared<MemoryDataset>(64);
  Loader loader = make_loader(dataset, {.batch_size = 8, .workers = 2, .prefetch_batches = 2});
  std::set<const void*> addresses;
  for (int b = 0; b < 40; ++b) addresses.insert(loader.next().images_BCHW.const_data_ptr());
  EXPECT_LE(addresses.size(), 4u);
  // Labels collected over many batches do not hold the images' buffers.
  std::vector<at::Tensor> labels;
  addresses.clear();
  for (int b = 0; b < 40; ++b) {
    const Batch batch = loader.next();
    labels.push_back(batch.labels_B);
    addresses.insert(batch.images_BCHW.const_data_ptr());
  }
  EXPECT_LE(addresses.size(), 4u);
  // What the caller keeps, even as a view, is not written to.
  std::vector<at::Tensor> kept;
  std::vector<at::Tensor> copies;
  for (int b = 0; b < 12; ++b) {
    const Batch batch = loader.next();
    kept.push_back(batch.images_BCHW.select(1, 0));
    copies.push_back(kept.back().clone());
  }
  for (int b = 0; b < 12; ++b) loader.next();
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(at::equal(kept[i], copies[i]));
}

TEST(Loader, EndsCleanlyAtAnyMoment) {
  const auto dataset = std::make_shared<MemoryDataset>(100, std::set<int64_t>{}, 50);
  for (int batches = 0; batches < 30; ++batches) {
    Loader loader = make_loader(dataset, {.batch_size = 3, .workers = 4, .prefetch_batches = 2});
    for (int b = 0; b < batches % 5; ++b) loader.next();
    if (batches % 3 == 0) loader.seek({1, 30});
  }
  EXPECT_GE(make_loader(dataset, {}).wait_seconds(), 0);
}

TEST(Loader, CountsTheTimeItWaits) {
  const auto dataset = std::make_shared<MemoryDataset>(12, std::set<int64_t>{}, 20000);
  Loader loader = make_loader(dataset, {.batch_size = 6, .workers = 1});
  loader.next();
  // Six samples, slept for 0, 20 or 40 ms each; at least some of it was waited for.
  EXPECT_GT(loader.wait_seconds(), 0.01);
  EXPECT_LT(loader.wait_seconds(), 10);
}

// Chips of counts: chip i is i everywhere, but for one count that is a code.
class CountDataset : public MemoryDataset {
 public:
  explicit CountDataset(int64_t size, std::set<int64_t> bad = {})
      : MemoryDataset(size, bad), bad_(std::move(bad)) {
    auto calibration = std::make_shared<Calibration>();
    calibration->bands.resize(2);
    calibration_ = calibration;
    for (int64_t i = 0; i < size; ++i) {
      counts_.emplace_back(kSide * kSide * 2, static_cast<uint16_t>(i));
      counts_.back()[static_cast<size_t>(2 * (i % 36) + 1)] = 65533;
    }
  }
  ImageSource source(int64_t index, std::vector<std::byte>*) const override {
    if (bad_.contains(index)) throw BadSample("chip" + std::to_string(index) + " is broken.");
    ImageSource source;
    source.name = "chip" + std::to_string(index);
    source.bytes = std::as_bytes(std::span(counts_[static_cast<size_t>(index)]));
    ImageInfo info;
    info.format = "RECORD";
    info.width = info.height = kSide;
    info.bands = 2;
    info.type = PixelType::kUint16;
    source.raw = info;
    source.calibration = calibration_;
    return source;
  }
  bool has_missing() const override { return true; }

 private:
  std::set<int64_t> bad_;
  std::shared_ptr<const Calibration> calibration_;
  std::vector<std::vector<uint16_t>> counts_;
};

TEST(Loader, BatchesSayWhatWasMeasured) {
  EXPECT_FALSE(
      make_loader(std::make_shared<MemoryDataset>(6), {.batch_size = 6}).next().valid.defined());
  const auto dataset = std::make_shared<CountDataset>(40, std::set<int64_t>{13});
  Loader loader = make_loader(
      dataset,
      {.batch_size = 8, .workers = 3, .shuffle = false, .drop_last = false, .skip_bad = true});
  std::vector<Batch> kept;  // buffers are not used again while somebody holds their masks alone
  for (int64_t b = 0; b < 5; ++b) {
    kept.push_back(loader.next());
    kept.back().images_BCHW = kept.back().images_BCHW.clone();
  }
  int64_t index = 0;
  for (const Batch& batch : kept) {
    ASSERT_EQ(batch.valid.sizes(), batch.images_BCHW.sizes());
    ASSERT_EQ(batch.valid.scalar_type(), at::kBool);
    for (int64_t i = 0; i < batch.size(); ++i, ++index) {
      if (index == 13) ++index;  // left out
      EXPECT_EQ(batch.valid[i].sum().item<int64_t>(), 2 * kSide * kSide - 1);
      const int64_t place = index % 36;
      EXPECT_FALSE(batch.valid[i][1][place / kSide][place % kSide].item<bool>());
      EXPECT_EQ(batch.images_BCHW[i][1][place / kSide][place % kSide].item<float>(), 0.0F);
      EXPECT_EQ(batch.images_BCHW[i].sum().item<int64_t>(), index * (2 * kSide * kSide - 1));
    }
  }
  EXPECT_EQ(index, 40);
}

}  // namespace
}  // namespace swath::data
