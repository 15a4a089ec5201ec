#include "data/normalization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "data/test_files.h"

namespace swath::data {
namespace {

using test::message_of;
using test::TemporaryDirectory;

std::unique_ptr<Dataset> open(const std::filesystem::path& root) {
  DatasetOptions options;
  options.root = root.string();
  return open_dataset(options);
}

TEST(Normalization, MeanAndDeviationOfEveryPixel) {
  TemporaryDirectory root;
  std::vector<double> sum(2), squares(2);
  for (uint64_t i = 0; i < 150; ++i) {  // more than two groups of 64
    const auto pixels = test::random_pixels<uint16_t>(int64_t{4} * 4 * 2, i, 60000);
    test::write_npy(root / ("c" + std::to_string(i) + ".npy"), pixels, 4, 4, 2);
    for (size_t p = 0; p < pixels.size(); ++p) {
      sum[p % 2] += pixels[p];
      squares[p % 2] += static_cast<double>(pixels[p]) * pixels[p];
    }
  }
  const auto dataset = open(root.path());
  NormalizationOptions options;
  options.workers = 1;
  const BandNormalization one = compute_normalization(*dataset, options);
  const double count = 150 * 16;
  for (size_t b = 0; b < 2; ++b) {
    const double mean = sum[b] / count;
    EXPECT_NEAR(one.normalization().mean[b], mean, 1e-9 * mean);
    EXPECT_NEAR(one.normalization().standard_deviation[b],
                std::sqrt(squares[b] / count - mean * mean), 1e-6 * mean);
  }
  EXPECT_EQ(one.band_names, (std::vector<std::string>{"band_0", "band_1"}));
  // Bit for bit the same for any number of threads.
  options.workers = 4;
  EXPECT_EQ(to_json(compute_normalization(*dataset, options)), to_json(one));

  options.bands = {1};
  const BandNormalization second = compute_normalization(*dataset, options);
  ASSERT_EQ(second.normalization().mean.size(), 1u);
  EXPECT_EQ(second.normalization().mean[0], one.normalization().mean[1]);
  EXPECT_EQ(second.band_names, (std::vector<std::string>{"band_1"}));
}

TEST(Normalization, LooksAtASeededPart) {
  TemporaryDirectory root;
  for (uint64_t i = 0; i < 40; ++i) test::write_chip(root / ("c" + std::to_string(i) + ".npy"), i);
  NormalizationOptions options;
  options.most_samples = 10;
  const auto dataset = open(root.path());
  const BandNormalization part = compute_normalization(*dataset, options);
  EXPECT_EQ(part.statistics.images(), 10);
  EXPECT_EQ(to_json(part), to_json(compute_normalization(*dataset, options)));
  options.seed = 1;
  EXPECT_NE(to_json(part), to_json(compute_normalization(*dataset, options)));
}

TEST(Normalization, RoundTripAndDamage) {
  TemporaryDirectory root;
  test::write_class_folders(root / "images", 1, 3);
  const BandNormalization normalization = compute_normalization(*open(root / "images"), {});
  save_normalization(normalization, root / "normalization.json");
  EXPECT_EQ(to_json(load_normalization(root / "normalization.json")), to_json(normalization));
  test::write_text(root / "bad.json", "{\"bands\": [1]");
  EXPECT_CONTAINS(message_of<Error>([&] { load_normalization(root / "bad.json"); }), "bad.json");
}

TEST(Normalization, BadSamples) {
  TemporaryDirectory root;
  std::vector<float> pixels(size_t{4} * 4, 1.0f);
  pixels[5] = std::numeric_limits<float>::quiet_NaN();
  test::write_npy(root / "nan.npy", pixels, 4, 4, 1);
  pixels[5] = 3.0f;
  test::write_npy(root / "good.npy", pixels, 4, 4, 1);
  test::write_text(root / "empty.npy", "");
  const auto dataset = open(root.path());
  NormalizationOptions options;
  message_of<BadSample>([&] { compute_normalization(*dataset, options); });
  options.skip_bad = true;
  EXPECT_EQ(compute_normalization(*dataset, options).statistics.images(), 1);
  std::filesystem::remove(root / "good.npy");
  message_of<Error>([&] { compute_normalization(*open(root.path()), options); });
}

}  // namespace
}  // namespace swath::data
