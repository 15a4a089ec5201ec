// Against Pillow (testdata/data/make_image_fixtures.py).
#include "data/resample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/random.h"
#include "core/safetensors.h"
#include "data/resample_passes.h"

namespace swath::data {
namespace {

Image image_of(const SafetensorsFile& file, const TensorEntry& entry) {
  Image image;
  image.height = entry.shape.at(0);
  image.width = entry.shape.at(1);
  image.bands = entry.shape.at(2);
  image.type = entry.dtype == "U8"    ? PixelType::kUint8
               : entry.dtype == "U16" ? PixelType::kUint16
               : entry.dtype == "I16" ? PixelType::kInt16
                                      : PixelType::kFloat32;
  const std::string_view bytes = file.bytes(entry);
  image.pixels.resize(bytes.size());
  std::memcpy(image.pixels.data(), bytes.data(), bytes.size());
  return image;
}

void expect_equal(const Image& found, const Image& expected, const std::string& name) {
  ASSERT_EQ(found.type, expected.type) << name;
  ASSERT_EQ(found.pixels.size(), expected.pixels.size()) << name;
  if (found.type == PixelType::kUint8) {
    EXPECT_TRUE(found.pixels == expected.pixels) << name;
    return;
  }
  // Pillow sums doubles too; a different order of the same sum may round the last bit of a float.
  double largest = 0;
  double worst = 0;
  for (int64_t i = 0; i < found.width * found.height * found.bands; ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected.as<float>()[i])));
    worst = std::max(worst, std::abs(static_cast<double>(found.as<float>()[i]) -
                                     static_cast<double>(expected.as<float>()[i])));
  }
  EXPECT_LE(worst, 1.2e-7 * largest) << name;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('.', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

TEST(Resample, EqualsPillow) {
  const SafetensorsFile file(std::string(SWATH_TESTDATA) + "/data/resample.safetensors");
  int cases = 0;
  for (const TensorEntry& entry : file.entries()) {
    const std::vector<std::string> parts = split(entry.name);
    if (parts[0] == "in") continue;
    const Image input = image_of(file, *file.find("in." + parts[2]));
    const Image expected = image_of(file, entry);
    ResampleGeometry geometry =
        ResampleGeometry::whole(input.width, input.height, expected.width, expected.height);
    if (parts[0] == "box") {
      geometry.box_left = 3.25;
      geometry.box_top = 2.5;
      geometry.box_right = parts[2] == "rgb" ? 30.75 : 18.75;
      geometry.box_bottom = 20.125;
    }
    const auto filter =
        parts[0] == "bilinear" ? ResampleFilter::kBilinear : ResampleFilter::kBicubic;
    Image found;
    resample(input, 0, 0, geometry, filter, &found);
    expect_equal(found, expected, entry.name);
    ++cases;
  }
  EXPECT_GT(cases, 40);
}

Image noise(int64_t width, int64_t height, int64_t bands, PixelType type) {
  Image image{.width = width, .height = height, .bands = bands, .type = type, .pixels = {}};
  image.pixels.resize(static_cast<size_t>(width * height * bands * pixel_bytes(type)));
  Random random(2, RandomPurpose::kTest);
  for (int64_t i = 0; i < width * height * bands; ++i) {
    if (type == PixelType::kUint8) {
      image.as<uint8_t>()[i] = static_cast<uint8_t>(random.below(256));
    } else {
      image.as<float>()[i] = static_cast<float>(random.normal());
    }
  }
  return image;
}

// A window computed from the needed part alone equals that part of the whole result.
TEST(Resample, AWindowNeedsOnlyItsPartOfTheInput) {
  for (const PixelType type : {PixelType::kUint8, PixelType::kFloat32}) {
    for (const int64_t bands : {1, 3, 13}) {
      const Image input = noise(70, 53, bands, type);
      // The last size takes the rows first.
      for (const auto& [width, height] :
           {std::pair{40, 31}, std::pair{155, 99}, std::pair{66, 30}}) {
        const Image whole = resize_image(input, width, height);
        ResampleGeometry geometry = ResampleGeometry::whole(70, 53, width, height);
        geometry.window = {11, 7, 20, 15};
        const Region needed = needed_input(geometry, ResampleFilter::kBicubic);
        ASSERT_LT(needed.width, 70);
        const int64_t pixel = bands * pixel_bytes(type);
        Image part{.width = needed.width,
                   .height = needed.height,
                   .bands = bands,
                   .type = type,
                   .pixels = {}};
        for (int64_t row = 0; row < needed.height; ++row) {
          const auto* from = input.pixels.data() + ((needed.top + row) * 70 + needed.left) * pixel;
          part.pixels.insert(part.pixels.end(), from, from + needed.width * pixel);
        }
        Image found;
        resample(part, needed.left, needed.top, geometry, ResampleFilter::kBicubic, &found);
        for (int64_t row = 0; row < 15; ++row) {
          const auto* expected = whole.pixels.data() + ((7 + row) * width + 11) * pixel;
          EXPECT_EQ(std::memcmp(expected, found.pixels.data() + row * 20 * pixel,
                                static_cast<size_t>(20 * pixel)),
                    0);
        }
        EXPECT_THROW(
            resample(part, needed.left + 1, needed.top, geometry, ResampleFilter::kBicubic, &found),
            Error);
      }
    }
  }
}

TEST(Resample, VectorAndPlainLoopsAgree) {
  for (const int64_t bands : {1, 3, 4}) {
    for (const auto& [width, height] : {std::pair{33, 47}, std::pair{9, 5}, std::pair{130, 71}}) {
      for (const PassOrder order : {PassOrder::kColumnsFirst, PassOrder::kRowsFirst}) {
        const Image bytes = noise(57, 41, bands, PixelType::kUint8);
        const Image floats = noise(57, 41, bands, PixelType::kFloat32);
        AxisWeights horizontal;
        AxisWeights vertical;
        compute_weights(57, 0, 57, width, 0, width, ResampleFilter::kBicubic, &horizontal);
        compute_weights(41, 0, 41, height, 0, height, ResampleFilter::kBicubic, &vertical);
        const auto size = static_cast<size_t>(int64_t{width} * height * bands);
        std::vector<uint8_t> byte_results[2] = {std::vector<uint8_t>(size),
                                                std::vector<uint8_t>(size)};
        std::vector<float> float_results[2] = {std::vector<float>(size), std::vector<float>(size)};
        const Instructions versions[2] = {Instructions::kBest, Instructions::kPlain};
        for (const int i : {0, 1}) {
          resample_bytes({bytes.as<uint8_t>(), int64_t{57} * 41 * bands, 57 * bands, bands, 0, 0},
                         horizontal, vertical, order, versions[i], byte_results[i].data());
          resample_floats<float>(
              {floats.as<float>(), int64_t{57} * 41 * bands, 57 * bands, bands, 0, 0}, horizontal,
              vertical, order, versions[i], float_results[i].data());
        }
        EXPECT_EQ(byte_results[0], byte_results[1]);
        EXPECT_EQ(float_results[0], float_results[1]);
      }
    }
  }
}

}  // namespace
}  // namespace swath::data
