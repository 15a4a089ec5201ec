// Every kind of unusable file on its way into training and evaluation: an error that names the file
// and the remedy, or with skip_bad counted, listed and left out.
#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "core/hash.h"
#include "data/loader.h"
#include "data/normalization.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TemporaryDirectory;
using test::write_chip;

constexpr int64_t kSide = 8;
constexpr int64_t kBands = 3;

struct BadInput {
  const char* name;
  const char* file;
  const char* reason;
  void (*write)(const fs::path& path);
  bool has_pixels = false;  // whose statistics can be computed all the same
};

void write_floats(const fs::path& path, float value) {
  std::vector<float> pixels(kSide * kSide * kBands, 1.0F);
  pixels[7] = value;
  test::write_npy(path, pixels, kSide, kSide, kBands);
}

// "a/..." comes first in the order, so nothing may be learned from the first file alone.
const BadInput kInputs[] = {
    {"Empty", "a/0bad.npy", "is empty (0 bytes)",
     [](const fs::path& path) { test::write_text(path, ""); }},
    {"Truncated", "a/0bad.npy", "truncated",
     [](const fs::path& path) {
       write_chip(path, 1);
       test::truncate_file(path, fs::file_size(path) / 2);
     }},
    {"NoImage", "a/0bad.npy", "found an HTML page",
     [](const fs::path& path) { test::write_text(path, "<!DOCTYPE html><html></html>"); }},
    {"MislabelledExtension", "a/0bad.jpg", "holds NPY data under the extension .jpg",
     [](const fs::path& path) { write_chip(path, 1); }},
    {"WrongBandCount", "a/0bad.npy", "has 4 bands",
     [](const fs::path& path) { write_chip(path, 1, kSide, 4); }},
    {"WrongSize", "a/0bad.npy", "has 9 x 9 pixels",
     [](const fs::path& path) { write_chip(path, 1, 9); }, true},
    {"NaNPixel", "a/0bad.npy", "nan",
     [](const fs::path& path) { write_floats(path, std::numeric_limits<float>::quiet_NaN()); }},
    {"InfinitePixel", "a/0bad.npy", "inf",
     [](const fs::path& path) { write_floats(path, std::numeric_limits<float>::infinity()); }},
};

class BadInputs : public testing::TestWithParam<BadInput> {
 protected:
  BadInputs() {
    test::write_class_folders(root_ / "images", 2, 40, kSide, kBands);
    GetParam().write(bad_file());
    DatasetOptions options;
    options.root = (root_ / "images").string();
    dataset_ = open_dataset(options);
  }
  fs::path bad_file() const { return root_ / (std::string("images/") + GetParam().file); }

  Loader loader(bool shuffle, bool skip_bad, std::shared_ptr<SkippedList> skipped = {}) const {
    TransformOptions transform;
    transform.kind = "none";
    transform.size = kSide;
    transform.horizontal_flip = false;
    LoaderOptions options;
    options.batch_size = 9;
    options.workers = 2;
    options.shuffle = shuffle;
    options.drop_last = false;
    options.skip_bad = skip_bad;
    options.skipped = std::move(skipped);
    const Normalization unit{std::vector<double>(kBands, 0), std::vector<double>(kBands, 1)};
    return {dataset_, Transform(transform, unit), options, 1, c10::Device("cpu")};
  }

  void expect_names_file_and_remedy(const std::string& message) const {
    EXPECT_CONTAINS(message, bad_file().string());
    EXPECT_CONTAINS(message, GetParam().reason);
    EXPECT_CONTAINS(message, "HINT: ");
  }

  TemporaryDirectory root_;
  std::shared_ptr<const Dataset> dataset_;
};

TEST_P(BadInputs, StopTrainingAndEvaluation) {
  for (const bool shuffle : {true, false}) {
    Loader batches = loader(shuffle, false);
    expect_names_file_and_remedy(message_of<BadSample>([&] {
      for (int i = 0; i < 9; ++i) batches.next();
    }));
  }
}

TEST_P(BadInputs, AreCountedListedAndLeftOut) {
  for (const bool shuffle : {true, false}) {
    const fs::path file = root_ / (shuffle ? "training.txt" : "evaluation.txt");
    Loader batches = loader(shuffle, true, std::make_shared<SkippedList>(file));
    std::multiset<uint64_t> seen;
    for (int i = 0; i < 9; ++i) {
      const Batch batch = batches.next();
      EXPECT_TRUE(at::isfinite(batch.images_BCHW).all().item<bool>());
      seen.insert(batch.sample_ids.begin(), batch.sample_ids.end());
    }
    EXPECT_FALSE(seen.contains(xxh3(GetParam().file)));
    EXPECT_EQ(std::set<uint64_t>(seen.begin(), seen.end()).size(), 80u);
    EXPECT_EQ(seen.size(), shuffle ? 81u : 80u);  // in training another takes the place
    EXPECT_EQ(batches.skipped_samples(), 1);
    const std::string line = read_file(file);
    EXPECT_TRUE(line.starts_with(GetParam().file + std::string("\t"))) << line;
    EXPECT_CONTAINS(line, GetParam().reason);
  }
}

TEST_P(BadInputs, StayOutOfTheStatistics) {
  NormalizationOptions options;
  if (GetParam().has_pixels) {
    EXPECT_EQ(compute_normalization(*dataset_, options).statistics.images(), 81);
    return;
  }
  const std::string message =
      message_of<BadSample>([&] { compute_normalization(*dataset_, options); });
  EXPECT_CONTAINS(message, bad_file().string());
  EXPECT_CONTAINS(message, "HINT: ");
  options.skip_bad = true;
  options.skipped = std::make_shared<SkippedList>();
  const BandStatistics statistics = compute_normalization(*dataset_, options).statistics;
  EXPECT_EQ(statistics.images(), 80);
  EXPECT_EQ(statistics.bands(), kBands);
  EXPECT_EQ(options.skipped->size(), 1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, BadInputs, testing::ValuesIn(kInputs),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace swath::data
