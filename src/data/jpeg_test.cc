// Against Pillow's pixels (testdata/data/make_image_fixtures.py), and regions against whole decodes
// of files made here with libjpeg.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>

#include <jpeglib.h>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/random.h"
#include "data/image.h"

namespace swath::data {
namespace {

using testing::HasSubstr;

struct JpegSettings {
  int width = 61;
  int height = 83;
  int components = 3;
  int horizontal_sampling = 2;  // of luma, to chroma's 1
  int vertical_sampling = 2;
  bool progressive = false;
  unsigned restart_interval = 0;
};

// A picture with detail in every channel, so that a shifted or smoothed pixel shows.
std::vector<std::byte> encode_jpeg(const JpegSettings& settings) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &buffer, &size);
  jpeg.image_width = static_cast<JDIMENSION>(settings.width);
  jpeg.image_height = static_cast<JDIMENSION>(settings.height);
  jpeg.input_components = settings.components;
  jpeg.in_color_space = settings.components == 1   ? JCS_GRAYSCALE
                        : settings.components == 3 ? JCS_RGB
                                                   : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 90, TRUE);
  jpeg.comp_info[0].h_samp_factor = settings.horizontal_sampling;
  jpeg.comp_info[0].v_samp_factor = settings.vertical_sampling;
  jpeg.restart_interval = settings.restart_interval;
  if (settings.progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  Random random(5, RandomPurpose::kTest);
  std::vector<JSAMPLE> row(static_cast<size_t>(settings.width * settings.components));
  for (int y = 0; y < settings.height; ++y) {
    for (int x = 0; x < settings.width; ++x) {
      for (int c = 0; c < settings.components; ++c) {
        const auto noise = static_cast<int>(random.below(90));
        row[static_cast<size_t>(int64_t{x} * settings.components + c)] =
            static_cast<JSAMPLE>((x * (3 + c) + y * (5 - c) + noise) % 256);
      }
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&jpeg, &pointer, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::vector<std::byte> bytes(size);
  std::memcpy(bytes.data(), buffer, size);
  free(buffer);
  return bytes;
}

ImageSource source_of(std::span<const std::byte> bytes) {
  ImageSource source;
  source.name = "memory.jpg";
  source.bytes = bytes;
  return source;
}

void expect_equal_part(const Image& whole, const Image& part, int64_t left, int64_t top,
                       const std::string& what) {
  for (int64_t row = 0; row < part.height; ++row) {
    const auto* expected = whole.as<uint8_t>() + ((top + row) * whole.width + left) * whole.bands;
    const auto* found = part.as<uint8_t>() + row * part.width * part.bands;
    const auto bytes = static_cast<size_t>(part.width * part.bands);
    ASSERT_EQ(std::memcmp(expected, found, bytes), 0) << what << ", row " << row;
  }
}

std::string message_of(const ImageSource& source, const DecodeOptions& options = {}) {
  try {
    decode_image(source, options);
  } catch (const BadSample& error) {
    return error.what();
  }
  return "no error";
}

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(SWATH_TESTDATA) / "data" / name;
}

TEST(Jpeg, PixelsEqualPillows) {
  const Json expected = Json::parse(read_file(fixture("image_pixels.json")));
  int files = 0;
  for (const auto& [name, entry] : expected.items()) {
    if (name == "versions") continue;
    const Image image = decode_image(ImageSource::from_file(fixture("ucm/" + name)));
    EXPECT_EQ(image.width, entry.at("width")) << name;
    EXPECT_EQ(image.height, entry.at("height")) << name;
    EXPECT_EQ(image.bands, 3);
    const std::string_view bytes(reinterpret_cast<const char*>(image.pixels.data()),
                                 image.pixels.size());
    EXPECT_EQ(sha256_hex(bytes), entry.at("sha256").get<std::string>()) << name;
    ++files;
  }
  EXPECT_EQ(files, 3);
}

TEST(Jpeg, RegionsEqualTheWholeDecode) {
  struct Sampling {
    int components, horizontal, vertical;
  };
  const Sampling samplings[] = {{3, 1, 1}, {3, 2, 1}, {3, 1, 2}, {3, 2, 2}, {3, 4, 1}, {1, 1, 1}};
  Random random(11, RandomPurpose::kTest);
  for (const Sampling& sampling : samplings) {
    for (const int variant : {0, 1, 2}) {
      JpegSettings settings;
      settings.components = sampling.components;
      settings.horizontal_sampling = sampling.horizontal;
      settings.vertical_sampling = sampling.vertical;
      settings.progressive = variant == 1;
      settings.restart_interval = variant == 2 ? 3 : 0;
      settings.width = 75 + variant * 11;
      settings.height = 90 + variant * 7;
      const std::vector<std::byte> bytes = encode_jpeg(settings);
      for (const int scale : {1, 2, 4, 8}) {
        DecodeOptions options;
        options.jpeg_scale = scale;
        const Image whole = decode_image(source_of(bytes), options);
        ASSERT_EQ(whole.width, (settings.width + scale - 1) / scale);
        for (int i = 0; i < 60; ++i) {
          Region region;
          region.left = static_cast<int64_t>(random.below(static_cast<uint64_t>(settings.width)));
          region.top = static_cast<int64_t>(random.below(static_cast<uint64_t>(settings.height)));
          region.width = 1 + static_cast<int64_t>(
                                 random.below(static_cast<uint64_t>(settings.width - region.left)));
          region.height = 1 + static_cast<int64_t>(random.below(
                                  static_cast<uint64_t>(settings.height - region.top)));
          options.region = region;
          const Image part = decode_image(source_of(bytes), options);
          const std::string what = testing::PrintToString(std::vector<int64_t>{
              sampling.components, sampling.horizontal, sampling.vertical, variant, scale,
              region.left, region.top, region.width, region.height});
          ASSERT_EQ(part.width,
                    (region.left + region.width + scale - 1) / scale - region.left / scale)
              << what;
          expect_equal_part(whole, part, region.left / scale, region.top / scale, what);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Jpeg, AReaderReadsTwice) {
  const std::vector<std::byte> bytes = encode_jpeg({});
  ImageReader reader(source_of(bytes));
  Image first;
  Image second;
  DecodeOptions part;
  part.region = Region{5, 6, 7, 8};
  reader.read(part, &first);
  reader.read({}, &second);
  expect_equal_part(second, first, 5, 6, "second read");
}

TEST(Jpeg, BandsAreSelected) {
  const std::vector<std::byte> bytes = encode_jpeg({});
  const Image whole = decode_image(source_of(bytes));
  DecodeOptions options;
  options.bands = {2, 0};
  const Image some = decode_image(source_of(bytes), options);
  ASSERT_EQ(some.bands, 2);
  for (int64_t i = 0; i < whole.width * whole.height; ++i) {
    ASSERT_EQ(some.as<uint8_t>()[2 * i], whole.as<uint8_t>()[3 * i + 2]);
    ASSERT_EQ(some.as<uint8_t>()[2 * i + 1], whole.as<uint8_t>()[3 * i]);
  }
}

TEST(Jpeg, ATruncatedFileIsAnErrorForEveryRegion) {
  for (const bool progressive : {false, true}) {
    JpegSettings settings;
    settings.progressive = progressive;
    const std::vector<std::byte> bytes = encode_jpeg(settings);
    DecodeOptions first_pixels;
    first_pixels.region = Region{0, 0, 4, 4};
    for (const double kept : {0.01, 0.1, 0.5, 0.9, 0.999}) {
      const auto size = static_cast<size_t>(kept * static_cast<double>(bytes.size()));
      const std::span<const std::byte> cut(bytes.data(), std::max<size_t>(size, 4));
      EXPECT_THAT(message_of(source_of(cut)), HasSubstr("memory.jpg")) << kept;
      EXPECT_THAT(message_of(source_of(cut), first_pixels), HasSubstr("JPEG")) << kept;
      EXPECT_THROW(read_image_info(source_of(cut)), BadSample) << kept;
    }
  }
}

// The end marker is there, but a piece of the data before it is not.
TEST(Jpeg, MissingDataIsAnErrorThoughTheEndIsThere) {
  std::vector<std::byte> bytes = encode_jpeg({});
  const auto middle = bytes.begin() + static_cast<int64_t>(bytes.size() / 2);
  bytes.erase(middle, bytes.end() - 2);
  EXPECT_THAT(message_of(source_of(bytes)), HasSubstr("truncated or damaged"));
}

TEST(Jpeg, DamagedBytesNeverEndTheProgram) {
  const std::vector<std::byte> good = encode_jpeg({});
  Random random(3, RandomPurpose::kTest);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::vector<std::byte> bytes = good;
    for (int change = 0; change < 4; ++change) {
      bytes[3 + random.below(bytes.size() - 3)] = static_cast<std::byte>(random.below(256));
    }
    refused += message_of(source_of(bytes)) != "no error" ? 1 : 0;
  }
  EXPECT_GT(refused, 20);
}

TEST(Jpeg, CmykIsRefused) {
  JpegSettings settings;
  settings.components = 4;
  settings.horizontal_sampling = 1;
  settings.vertical_sampling = 1;
  EXPECT_THAT(message_of(source_of(encode_jpeg(settings))), HasSubstr("CMYK"));
}

TEST(Jpeg, TheMemoryLimitIsNamed) {
  DecodeOptions options;
  options.memory_limit_bytes = 10000;
  JpegSettings settings;
  EXPECT_THAT(message_of(source_of(encode_jpeg(settings)), options), HasSubstr("limit"));
  options.region = Region{10, 10, 20, 20};
  EXPECT_EQ(decode_image(source_of(encode_jpeg(settings)), options).width, 20);
  settings.progressive = true;
  EXPECT_THAT(message_of(source_of(encode_jpeg(settings)), options), HasSubstr("progressive"));
}

}  // namespace
}  // namespace swath::data
