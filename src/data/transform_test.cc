// Against torchvision (testdata/data/make_image_fixtures.py), and against the steps done one by
// one.
#include "data/transform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "data/crop.h"
#include "data/normalize.h"
#include "data/resample.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// MAE's constants, in pixel units.
const Normalization kImageNet{{0.485 * 255, 0.456 * 255, 0.406 * 255},
                              {0.229 * 255, 0.224 * 255, 0.225 * 255}};

ImageSource jpeg(const std::string& stem) {
  return ImageSource::from_file(fs::path(SWATH_TESTDATA) / "data/ucm" / (stem + ".jpg"));
}

Random random_of(uint64_t sample) { return Random(9, RandomPurpose::kAugment, 0, sample); }

std::vector<float> apply(const TransformOptions& options, const Normalization& normalization,
                         const ImageSource& source, uint64_t sample = 0) {
  const Transform transform(options, normalization);
  std::vector<float> out(static_cast<size_t>(transform.channels() * options.size * options.size),
                         std::numeric_limits<float>::quiet_NaN());
  Random random = random_of(sample);
  transform.apply(source, random, out.data());
  return out;
}

double worst_difference(const std::vector<float>& found, std::string_view expected) {
  if (expected.size() != found.size() * sizeof(float)) return 1e9;
  double worst = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    float value = 0;
    std::memcpy(&value, expected.data() + i * sizeof value, sizeof value);
    const double difference = std::abs(static_cast<double>(value) - static_cast<double>(found[i]));
    worst = std::max(worst, std::isnan(difference) ? 1e9 : difference);
  }
  return worst;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('.', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// The bytes before normalising are equal; torchvision then divides by 255 and normalises in
// float32.
constexpr double kTorchvisionRounding = 1e-6;

TEST(Transform, CenterCropEqualsTorchvision) {
  const SafetensorsFile file(fs::path(SWATH_TESTDATA) / "data/transform.safetensors");
  int cases = 0;
  for (const TensorEntry& entry : file.entries()) {
    const std::vector<std::string> parts = split(entry.name);
    if (parts[0] != "center") continue;
    TransformOptions options;
    options.kind = "center_crop";
    options.size = std::stoll(parts[1]);
    options.horizontal_flip = false;
    EXPECT_LE(worst_difference(apply(options, kImageNet, jpeg(parts[2])), file.bytes(entry)),
              kTorchvisionRounding)
        << entry.name;
    ++cases;
  }
  EXPECT_EQ(cases, 6);
}

TEST(Transform, CropsAndFlipsEqualTorchvision) {
  const SafetensorsFile file(fs::path(SWATH_TESTDATA) / "data/transform.safetensors");
  const Transform transform(TransformOptions(), kImageNet);
  std::vector<float> mean;
  std::vector<float> inverse;
  for (size_t band = 0; band < 3; ++band) {
    mean.push_back(static_cast<float>(kImageNet.mean[band]));
    inverse.push_back(static_cast<float>(1 / kImageNet.standard_deviation[band]));
  }
  int cases = 0;
  for (const TensorEntry& entry : file.entries()) {
    std::vector<std::string> parts = split(entry.name);
    if (parts[0] == "center") continue;
    const bool flipped = parts[0] == "flip";
    if (flipped) parts.erase(parts.begin());
    DecodeOptions options;
    options.region = Region{std::stoll(parts[1]), std::stoll(parts[2]), std::stoll(parts[3]),
                            std::stoll(parts[4])};
    const Image small = resize_image(decode_image(jpeg(parts[5]), options), 24, 24);
    std::vector<float> found(size_t{3} * 24 * 24);
    normalize_to_planes(small, {.mirror_columns = flipped}, mean, inverse, found.data());
    EXPECT_LE(worst_difference(found, file.bytes(entry)), kTorchvisionRounding) << entry.name;
    ++cases;
  }
  EXPECT_EQ(cases, 24);
}

// What apply() does with its random numbers, step by step on the whole image.
std::vector<float> step_by_step(const TransformOptions& options, const ImageSource& source,
                                uint64_t sample) {
  Random random = random_of(sample);
  const Image whole = decode_image(source);
  const CropRange range{options.scale_min, options.scale_max, options.ratio_min, options.ratio_max};
  const Region crop = options.kind == "probe_crop"
                          ? single_draw_crop(whole.width, whole.height, range, random)
                      : options.kind == "random_crop"
                          ? random_window(whole.width, whole.height, options.size, random)
                          : random_resized_crop(whole.width, whole.height, range, random);
  Image cut{.width = crop.width,
            .height = crop.height,
            .bands = whole.bands,
            .type = whole.type,
            .pixels = {}};
  const int64_t pixel = whole.bands * pixel_bytes(whole.type);
  for (int64_t row = 0; row < crop.height; ++row) {
    const auto* from = whole.pixels.data() + ((crop.top + row) * whole.width + crop.left) * pixel;
    cut.pixels.insert(cut.pixels.end(), from, from + crop.width * pixel);
  }
  const Image small = resize_image(cut, options.size, options.size);
  const bool flipped = random.uniform() < 0.5;
  std::vector<float> out;
  for (int64_t band = 0; band < 3; ++band) {
    const auto mean = static_cast<float>(kImageNet.mean[static_cast<size_t>(band)]);
    const auto factor =
        static_cast<float>(1 / kImageNet.standard_deviation[static_cast<size_t>(band)]);
    for (int64_t row = 0; row < options.size; ++row) {
      for (int64_t column = 0; column < options.size; ++column) {
        const int64_t from = flipped ? options.size - 1 - column : column;
        const uint8_t value = small.as<uint8_t>()[(row * options.size + from) * 3 + band];
        out.push_back((static_cast<float>(value) - mean) * factor);
      }
    }
  }
  return out;
}

TEST(Transform, TakesTheCropThatWasDrawn) {
  for (const char* kind : {"random_resized_crop", "probe_crop", "random_crop"}) {
    TransformOptions options;
    options.kind = kind;
    options.size = 53;  // no multiple of the vector width
    for (uint64_t sample = 0; sample < 20; ++sample) {
      EXPECT_EQ(apply(options, kImageNet, jpeg("river83"), sample),
                step_by_step(options, jpeg("river83"), sample))
          << kind << ", sample " << sample;
    }
  }
}

TEST(Transform, EverySampleLooksTheSameInAnyThread) {
  TransformOptions options;
  options.size = 32;
  const Transform transform(options, kImageNet);
  std::vector<std::vector<float>> found(16, std::vector<float>(size_t{3} * 32 * 32));
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (size_t sample = thread; sample < found.size(); sample += 4) {
        Random random = random_of(sample);
        transform.apply(jpeg("beach57"), random, found[sample].data());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t sample = 0; sample < found.size(); ++sample) {
    EXPECT_EQ(found[sample], apply(options, kImageNet, jpeg("beach57"), sample)) << sample;
  }
}

// An image of raw pixels that lives as long as the object.
struct RawImage {
  RawImage(int64_t width, int64_t height, int64_t bands, PixelType type) {
    image = {.width = width, .height = height, .bands = bands, .type = type, .pixels = {}};
    image.pixels.resize(static_cast<size_t>(width * height * bands * pixel_bytes(type)));
  }

  ImageSource source() const {
    ImageSource source;
    source.name = "record 12";
    source.bytes = image.pixels;
    source.raw = ImageInfo{.format = "RAW",
                           .width = image.width,
                           .height = image.height,
                           .bands = image.bands,
                           .type = image.type,
                           .georeference = {}};
    return source;
  }

  Image image;
};

RawImage float_noise(int64_t width, int64_t height, int64_t bands) {
  RawImage raw(width, height, bands, PixelType::kFloat32);
  Random random(4, RandomPurpose::kTest);
  for (int64_t i = 0; i < width * height * bands; ++i) {
    raw.image.as<float>()[i] = static_cast<float>(random.normal());
  }
  return raw;
}

Normalization unit(size_t channels) {
  return {std::vector<double>(channels, 0), std::vector<double>(channels, 1)};
}

TEST(Transform, DihedralReachesAllEightTurns) {
  const int64_t size = 11;
  const RawImage raw = float_noise(size, size, 2);
  TransformOptions options;
  options.kind = "none";
  options.size = size;
  options.horizontal_flip = false;
  const std::vector<float> plain = apply(options, unit(2), raw.source());
  const auto* pixels = raw.image.as<float>();
  for (int64_t i = 0; i < size * size; ++i) {
    ASSERT_EQ(plain[static_cast<size_t>(i)], pixels[2 * i]);
    ASSERT_EQ(plain[static_cast<size_t>(size * size + i)], pixels[2 * i + 1]);
  }
  // The eight results of applying quarter turns and a mirror.
  std::set<std::vector<float>> turns;
  std::vector<float> turned = plain;
  for (int mirror = 0; mirror < 2; ++mirror) {
    for (int quarter = 0; quarter < 4; ++quarter) {
      turns.insert(turned);
      std::vector<float> next(turned.size());
      for (int64_t band = 0; band < 2; ++band) {
        for (int64_t row = 0; row < size; ++row) {
          for (int64_t column = 0; column < size; ++column) {
            next[static_cast<size_t>((band * size + row) * size + column)] =
                turned[static_cast<size_t>((band * size + column) * size + size - 1 - row)];
          }
        }
      }
      turned = next;
    }
    for (int64_t line = 0; line < 2 * size; ++line) {
      std::reverse(turned.begin() + line * size, turned.begin() + (line + 1) * size);
    }
  }
  ASSERT_EQ(turns.size(), 8U);
  options.dihedral = true;
  std::set<std::vector<float>> found;
  for (uint64_t sample = 0; sample < 100; ++sample) {
    found.insert(apply(options, unit(2), raw.source(), sample));
  }
  EXPECT_EQ(found, turns);
}

TEST(Transform, SelectsBandsAndKeepsStoredUnits) {
  const RawImage raw = float_noise(8, 8, 13);
  TransformOptions options;
  options.kind = "none";
  options.size = 8;
  options.horizontal_flip = false;
  options.bands = {12, 3};
  const std::vector<float> found = apply(options, {{0.5, -1}, {2, 4}}, raw.source());
  EXPECT_FLOAT_EQ(found[0], (raw.image.as<float>()[12] - 0.5F) / 2);
  EXPECT_FLOAT_EQ(found[64 + 63], (raw.image.as<float>()[63 * 13 + 3] + 1) / 4);
}

TEST(Transform, ACropOverTheMemoryLimitIsMadeInStrips) {
  const RawImage raw = float_noise(900, 1000, 1);  // 3.6 MB
  for (const char* kind : {"random_resized_crop", "center_crop"}) {
    TransformOptions options;
    options.kind = kind;
    options.size = 60;
    options.scale_min = 0.9;
    const std::vector<float> expected = apply(options, unit(1), raw.source());
    options.memory_limit_mb = 1;
    EXPECT_EQ(apply(options, unit(1), raw.source()), expected) << kind;
  }
}

TEST(Transform, FastScaleIsNearTheFullDecodeAndOnlyOnDemand) {
  TransformOptions options;
  options.size = 32;
  options.scale_min = 0.6;  // crops of at least 150 pixels a side: scale 4
  const std::vector<float> expected = apply(options, kImageNet, jpeg("beach57"), 3);
  options.jpeg_fast_scale = true;
  const std::vector<float> fast = apply(options, kImageNet, jpeg("beach57"), 3);
  double difference = 0;
  double spread = 0;
  for (size_t i = 0; i < fast.size(); ++i) {
    difference += std::abs(static_cast<double>(fast[i] - expected[i]));
    spread += std::abs(static_cast<double>(expected[i] - expected[(i + 1) % fast.size()]));
  }
  EXPECT_GT(difference, 0);
  // A shift by one output pixel would give `spread`.
  EXPECT_LT(difference, 0.35 * spread);
  // Too small a crop for any fraction: nothing changes.
  options.size = 224;
  const std::vector<float> large = apply(options, kImageNet, jpeg("beach57"), 3);
  options.jpeg_fast_scale = false;
  EXPECT_EQ(apply(options, kImageNet, jpeg("beach57"), 3), large);
}

std::string message_of(const TransformOptions& options, const Normalization& normalization,
                       const ImageSource& source) {
  try {
    apply(options, normalization, source);
  } catch (const BadSample& error) {
    return error.what();
  }
  return "no error";
}

TEST(Transform, UnusableImagesAreNamed) {
  TransformOptions options;
  options.kind = "none";
  options.size = 8;
  RawImage raw = float_noise(8, 8, 2);
  EXPECT_THAT(message_of(options, unit(3), raw.source()),
              AllOf(HasSubstr("record 12"), HasSubstr("2 bands"), HasSubstr("3")));
  options.bands = {0, 5};
  EXPECT_THAT(message_of(options, unit(2), raw.source()), HasSubstr("band 5"));
  options.bands.clear();
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    raw.image.as<float>()[(3 * 8 + 5) * 2 + 1] = value;
    EXPECT_THAT(message_of(options, unit(2), raw.source()),
                AllOf(HasSubstr("record 12"), HasSubstr("band 1"), HasSubstr("column 5, row 3"),
                      HasSubstr("HINT")));
  }
  options.size = 9;
  EXPECT_THAT(message_of(options, unit(2), raw.source()), HasSubstr("9 x 9"));
  options.kind = "random_crop";
  EXPECT_THAT(message_of(options, unit(2), raw.source()), HasSubstr("too few"));

  const std::string whole = read_file(fs::path(SWATH_TESTDATA) / "data/ucm/beach57.jpg");
  ImageSource cut;
  cut.name = "cut.jpg";
  cut.bytes = std::as_bytes(std::span(whole.data(), whole.size() / 2));
  EXPECT_THAT(message_of(TransformOptions(), kImageNet, cut), HasSubstr("truncated"));
}

TEST(Transform, ContradictingOptionsAreRefused) {
  TransformOptions options;
  EXPECT_THROW(Transform(options, Normalization()), UsageError);
  EXPECT_THROW(Transform(options, {{1, 2}, {1}}), UsageError);
  EXPECT_THROW(Transform(options, {{1, 2}, {1, 0}}), UsageError);
  options.bands = {0, 1};
  EXPECT_THROW(Transform(options, unit(3)), UsageError);
  options.bands.clear();
  options.scale_min = 0.9;
  options.scale_max = 0.5;
  EXPECT_THROW(Transform(options, unit(3)), UsageError);
  options.scale_max = 1;
  options.kind = "cropp";
  EXPECT_THROW(Transform(options, unit(3)), UsageError);
}

TEST(Transform, RealThirteenBandChips) {
  const char* root = std::getenv("SWATH_DATA");
  if (root == nullptr) GTEST_SKIP() << "SWATH_DATA is not set";
#ifndef SWATH_WITH_GDAL
  GTEST_SKIP() << "built without GDAL";
#endif
  TransformOptions options;
  options.size = 64;
  int files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(root) / "eurosat_ms/test/River")) {
    const std::vector<float> found =
        apply(options, {std::vector<double>(13, 1500), std::vector<double>(13, 1000)},
              ImageSource::from_file(entry.path()));
    for (const float value : found) ASSERT_TRUE(std::abs(value) < 70);
    ++files;
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace swath::data
