// Files written by NumPy itself (testdata/data/make_image_fixtures.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "data/image.h"

namespace swath::data {
namespace {

using testing::HasSubstr;

ImageSource fixture(const std::string& name) {
  return ImageSource::from_file(std::filesystem::path(SWATH_TESTDATA) / "data/npy" / name);
}

int64_t pattern(int64_t row, int64_t column, int64_t band) {
  return row * 31 + column * 7 + band * 3;
}

template <class T>
void expect_pattern(const std::string& name, int64_t height, int64_t width, int64_t bands,
                    PixelType type, double factor) {
  SCOPED_TRACE(name);
  const ImageInfo info = read_image_info(fixture(name));
  EXPECT_EQ(info.format, "NPY");
  EXPECT_EQ(info.height, height);
  EXPECT_EQ(info.width, width);
  ASSERT_EQ(info.bands, bands);
  ASSERT_EQ(info.type, type);
  DecodeOptions options;
  options.region = Region{1, 1, width - 2, height - 1};
  options.bands = {bands - 1, 0};
  const Image image = decode_image(fixture(name), options);
  for (int64_t row = 0; row < image.height; ++row) {
    for (int64_t column = 0; column < image.width; ++column) {
      for (int64_t i = 0; i < 2; ++i) {
        const int64_t band = options.bands[static_cast<size_t>(i)];
        EXPECT_EQ(image.as<T>()[(row * image.width + column) * 2 + i],
                  static_cast<T>(static_cast<double>(pattern(row + 1, column + 1, band)) * factor))
            << row << ", " << column << ", " << band;
      }
    }
  }
  const Image whole = decode_image(fixture(name));
  EXPECT_EQ(whole.as<T>()[bands - 1],
            static_cast<T>(static_cast<double>(pattern(0, 0, bands - 1)) * factor));
}

TEST(Npy, TypesVersionsAndPlaceOfTheBands) {
  expect_pattern<uint8_t>("last_uint8.npy", 5, 7, 3, PixelType::kUint8, 1);
  expect_pattern<uint16_t>("last_uint16_v2.npy", 6, 6, 12, PixelType::kUint16, 1);
  expect_pattern<int16_t>("first_int16.npy", 8, 8, 4, PixelType::kInt16, -1);
  expect_pattern<float>("plane_double_v3.npy", 4, 9, 1, PixelType::kFloat32, 0.25);
  expect_pattern<float>("last_float32.npy", 3, 4, 2, PixelType::kFloat32, 0.5);
}

std::string message_of(const ImageSource& source) {
  try {
    decode_image(source);
  } catch (const BadSample& error) {
    return error.what();
  }
  return "no error";
}

TEST(Npy, WhatCannotBeReadSaysSo) {
  EXPECT_THAT(message_of(fixture("fortran.npy")), HasSubstr("Fortran"));
  EXPECT_THAT(message_of(fixture("big_endian.npy")), HasSubstr(">u2"));
  EXPECT_THAT(message_of(fixture("int64.npy")), HasSubstr("<i8"));
  EXPECT_THAT(message_of(fixture("four_dimensions.npy")), HasSubstr("(2, 2, 2, 2)"));
}

TEST(Npy, ATruncatedFileIsAnError) {
  const std::string text =
      read_file(std::filesystem::path(SWATH_TESTDATA) / "data/npy/last_uint8.npy");
  ImageSource source;
  source.name = "cut.npy";
  for (const size_t size : {size_t{6}, size_t{9}, size_t{11}, size_t{60}, text.size() - 1}) {
    source.bytes = std::as_bytes(std::span(text.data(), size));
    EXPECT_THAT(message_of(source), HasSubstr("truncated")) << size;
  }
}

TEST(Npy, ADamagedHeaderIsAnError) {
  const std::string good =
      read_file(std::filesystem::path(SWATH_TESTDATA) / "data/npy/last_uint8.npy");
  ImageSource source;
  source.name = "bad.npy";
  for (const char* word : {"descr", "shape", "(5", "'|u1'", "fortran_order"}) {
    std::string text = good;
    text.replace(text.find(word), 1, "#");
    source.bytes = std::as_bytes(std::span(text.data(), text.size()));
    EXPECT_NE(message_of(source), "no error") << word;
  }
}

}  // namespace
}  // namespace swath::data
