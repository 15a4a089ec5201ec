#include "data/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

Image floats(int64_t width, int64_t height, int64_t bands, const std::vector<float>& values) {
  Image image{
      .width = width, .height = height, .bands = bands, .type = PixelType::kFloat32, .pixels = {}};
  image.pixels.resize(values.size() * sizeof(float));
  std::copy(values.begin(), values.end(), image.as<float>());
  return image;
}

TEST(Statistics, HandWorked) {
  BandStatistics statistics;
  statistics.add(floats(2, 1, 2, {1, 10, 3, 30}), "a");
  statistics.add(floats(1, 2, 2, {5, 50, 7, -10}), "b");
  // Band 0: 1 3 5 7, mean 4, variance (9 + 1 + 1 + 9) / 4. Band 1: 10 30 50 -10, mean 20.
  EXPECT_EQ(statistics.images(), 2);
  EXPECT_EQ(statistics.pixels(), 4);
  EXPECT_DOUBLE_EQ(statistics.mean()[0], 4);
  EXPECT_DOUBLE_EQ(statistics.variance()[0], 5);
  EXPECT_DOUBLE_EQ(statistics.mean()[1], 20);
  EXPECT_DOUBLE_EQ(statistics.variance()[1], 500);
  EXPECT_EQ(statistics.minimum()[1], -10);
  EXPECT_EQ(statistics.maximum()[1], 50);
  EXPECT_DOUBLE_EQ(statistics.normalization().standard_deviation[0], std::sqrt(5.0));
}

// An image that must not be decoded whole: the numbers are those of its strips, merged.
TEST(Statistics, ImagesLargerThanTheMemoryLimit) {
  const auto pixels = test::random_pixels<uint16_t>(int64_t{37} * 11 * 2, 1);
  ImageSource source;
  source.name = "large";
  source.bytes = test::bytes_of(pixels);
  source.raw = ImageInfo{"RECORD", 11, 37, 2, PixelType::kUint16, std::nullopt};
  BandStatistics whole;
  whole.add(decode_image(source), "large");
  DecodeOptions options;
  options.memory_limit_bytes = int64_t{5} * 11 * 2 * 2;  // five rows; 37 leave a last strip of two
  EXPECT_THROW(decode_image(source, options), BadSample);
  ImageReader reader(source);
  Image strip;
  BandStatistics in_strips;
  in_strips.add(reader, options, "large", &strip);
  EXPECT_EQ(in_strips.images(), 1);
  EXPECT_EQ(in_strips.pixels(), 37 * 11);
  for (size_t band = 0; band < 2; ++band) {
    EXPECT_NEAR(in_strips.mean()[band], whole.mean()[band], 1e-12 * whole.mean()[band]);
    EXPECT_NEAR(in_strips.variance()[band], whole.variance()[band], 1e-11 * whole.variance()[band]);
    EXPECT_EQ(in_strips.minimum()[band], whole.minimum()[band]);
    EXPECT_EQ(in_strips.maximum()[band], whole.maximum()[band]);
  }
  options.bands = {1};
  EXPECT_THROW(in_strips.add(reader, options, "large", &strip), BadSample);
  EXPECT_EQ(in_strips.images(), 1);
  BandStatistics second;
  second.add(reader, options, "large", &strip);
  EXPECT_EQ(second.minimum()[0], whole.minimum()[1]);
}

TEST(Statistics, EveryPixelType) {
  for (const PixelType type : {PixelType::kUint8, PixelType::kUint16, PixelType::kInt16}) {
    Image image{.width = 2, .height = 1, .bands = 1, .type = type, .pixels = {}};
    image.pixels.resize(static_cast<size_t>(2 * pixel_bytes(type)));
    if (type == PixelType::kUint8) {
      image.as<uint8_t>()[0] = 200;
    } else if (type == PixelType::kUint16) {
      image.as<uint16_t>()[0] = 60000;
    } else {
      image.as<int16_t>()[0] = -30000;
    }
    BandStatistics statistics;
    statistics.add(image, "a");
    EXPECT_EQ(statistics.mean()[0], type == PixelType::kUint8    ? 100
                                    : type == PixelType::kUint16 ? 30000
                                                                 : -15000);
  }
}

// Values around 10^6 with deviation 1: the sum of squares alone would lose all digits in float32
// and half of them in double.
TEST(Statistics, MergingInAnyGroupingAgrees) {
  Random random(1, RandomPurpose::kTest);
  std::vector<Image> images;
  double sum = 0;
  std::vector<double> all;
  for (int i = 0; i < 9; ++i) {
    std::vector<float> values;
    for (int j = 0; j < 5 * (i + 1); ++j) {
      values.push_back(static_cast<float>(1e6 + random.normal()));
      all.push_back(static_cast<double>(values.back()));
      sum += all.back();
    }
    images.push_back(floats(5, i + 1, 1, values));
  }
  const double mean = sum / static_cast<double>(all.size());
  double squares = 0;
  for (const double value : all) squares += (value - mean) * (value - mean);
  const double variance = squares / static_cast<double>(all.size());

  for (const size_t group : {1, 2, 4, 9}) {
    BandStatistics total;
    for (size_t begin = 0; begin < images.size(); begin += group) {
      BandStatistics part;
      for (size_t i = begin; i < std::min(begin + group, images.size()); ++i) {
        part.add(images[i], "x");
      }
      total.merge(part);
    }
    total.merge(BandStatistics());
    EXPECT_NEAR(total.mean()[0], mean, 1e-14 * mean) << group;
    EXPECT_NEAR(total.variance()[0], variance, 1e-9 * variance) << group;
  }
}

TEST(Statistics, BadImagesAreRefusedAndAddNothing) {
  BandStatistics statistics;
  statistics.add(floats(1, 1, 2, {1, 2}), "good.tif");
  EXPECT_THROW(statistics.add(floats(1, 1, 1, {1}), "bad.tif"), BadSample);
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    try {
      statistics.add(floats(2, 1, 2, {1, 2, 3, value}), "bad.tif");
      ADD_FAILURE() << "accepted " << value;
    } catch (const BadSample& error) {
      EXPECT_NE(std::string(error.what()).find("bad.tif"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("band 1"), std::string::npos);
    }
  }
  EXPECT_EQ(statistics.images(), 1);
  EXPECT_EQ(statistics.mean()[0], 1);
  BandStatistics other;
  other.add(floats(1, 1, 1, {1}), "one.tif");
  EXPECT_THROW(statistics.merge(other), Error);
}

TEST(Statistics, AFileHoldsTheExactDoubles) {
  const auto path = std::filesystem::temp_directory_path() / "swath_statistics_test.json";
  BandStatistics statistics;
  statistics.add(floats(3, 1, 1, {0.1F, 1.0F / 3, -7e-5F}), "a");
  statistics.save(path);
  const BandStatistics back = BandStatistics::load(path);
  EXPECT_EQ(back.mean(), statistics.mean());
  EXPECT_EQ(back.variance(), statistics.variance());
  EXPECT_EQ(back.images(), 1);
  EXPECT_EQ(back.pixels(), 3);
  EXPECT_EQ(back.maximum(), statistics.maximum());
  write_file_atomically(path, "{\"mean\": [1]}");
  EXPECT_THROW(BandStatistics::load(path), Error);
  write_file_atomically(path, "no json");
  EXPECT_THROW(BandStatistics::load(path), Error);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace swath::data
