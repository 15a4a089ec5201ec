#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "data/image.h"

namespace swath::data {
namespace {

using testing::HasSubstr;

constexpr int kWidth = 19;
constexpr int kHeight = 13;

int value_at(int row, int column, int band) { return (row * 31 + column * 7 + band * 3) & 0xFF; }

struct PngSettings {
  int color = PNG_COLOR_TYPE_RGB;
  int bits = 8;
  bool interlaced = false;
  bool transparent_color = false;
};

void append(png_structp png, png_bytep bytes, size_t count) {
  auto* out = static_cast<std::vector<std::byte>*>(png_get_io_ptr(png));
  const auto* first = reinterpret_cast<const std::byte*>(bytes);
  out->insert(out->end(), first, first + count);
}

int channels_of(int color) {
  switch (color) {
    case PNG_COLOR_TYPE_RGB:
      return 3;
    case PNG_COLOR_TYPE_RGB_ALPHA:
      return 4;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
      return 2;
    default:
      return 1;
  }
}

// 16-bit values are value_at * 256 + 1; palette entry v is the colour (v, 255 - v, 7).
std::vector<std::byte> encode(const PngSettings& settings) {
  std::vector<std::byte> bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &bytes, append, nullptr);
  png_set_IHDR(png, info, kWidth, kHeight, settings.bits, settings.color,
               settings.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
  png_color palette[256];
  for (int i = 0; i < 256; ++i) {
    palette[i] = {static_cast<png_byte>(i), static_cast<png_byte>(255 - i), 7};
  }
  if (settings.color == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 256);
  if (settings.transparent_color) {
    png_byte alpha[2] = {0, 128};
    png_color_16 color{};
    png_set_tRNS(png, info, alpha, settings.color == PNG_COLOR_TYPE_PALETTE ? 2 : 0, &color);
  }
  png_write_info(png, info);
  const int channels = channels_of(settings.color);
  std::vector<std::vector<png_byte>> rows;
  std::vector<png_bytep> pointers;
  for (int row = 0; row < kHeight; ++row) {
    std::vector<png_byte> values;
    for (int column = 0; column < kWidth; ++column) {
      for (int band = 0; band < channels; ++band) {
        values.push_back(static_cast<png_byte>(value_at(row, column, band)));
        if (settings.bits == 16) values.push_back(1);
      }
    }
    if (settings.bits == 1) {
      std::vector<png_byte> packed((kWidth + 7) / 8, 0);
      for (size_t i = 0; i < values.size(); ++i) {
        if (values[i] & 1) packed[i / 8] |= static_cast<png_byte>(0x80 >> (i % 8));
      }
      values = packed;
    }
    rows.push_back(values);
  }
  for (auto& row : rows) pointers.push_back(row.data());
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

ImageSource source_of(std::span<const std::byte> bytes) {
  ImageSource source;
  source.name = "memory.png";
  source.bytes = bytes;
  return source;
}

TEST(Png, EveryColorTypeByRegion) {
  struct Case {
    int color, bits, bands;
    bool transparent_color;
  };
  const Case cases[] = {
      {PNG_COLOR_TYPE_GRAY, 8, 1, false},       {PNG_COLOR_TYPE_GRAY, 16, 1, false},
      {PNG_COLOR_TYPE_GRAY, 8, 1, true},        {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 2, false},
      {PNG_COLOR_TYPE_RGB, 8, 3, false},        {PNG_COLOR_TYPE_RGB, 16, 3, false},
      {PNG_COLOR_TYPE_RGB, 8, 3, true},         {PNG_COLOR_TYPE_RGB_ALPHA, 8, 4, false},
      {PNG_COLOR_TYPE_RGB_ALPHA, 16, 4, false}, {PNG_COLOR_TYPE_PALETTE, 8, 3, false},
      {PNG_COLOR_TYPE_PALETTE, 8, 3, true},     {PNG_COLOR_TYPE_GRAY, 1, 1, false},
  };
  for (const Case& test : cases) {
    for (const bool interlaced : {false, true}) {
      SCOPED_TRACE(testing::Message() << "color " << test.color << ", bits " << test.bits
                                      << ", interlaced " << interlaced);
      const auto bytes = encode({test.color, test.bits, interlaced, test.transparent_color});
      DecodeOptions options;
      options.region = Region{3, 2, 9, 8};
      const Image image = decode_image(source_of(bytes), options);
      ASSERT_EQ(image.bands, test.bands);
      ASSERT_EQ(image.type, test.bits == 16 ? PixelType::kUint16 : PixelType::kUint8);
      for (int row = 0; row < 8; ++row) {
        for (int column = 0; column < 9; ++column) {
          for (int band = 0; band < test.bands; ++band) {
            int expected = value_at(row + 2, column + 3, band);
            if (test.color == PNG_COLOR_TYPE_PALETTE) {
              const int entry = value_at(row + 2, column + 3, 0);
              expected = band == 0 ? entry : band == 1 ? 255 - entry : 7;
            }
            if (test.bits == 16) expected = expected * 256 + 1;
            if (test.bits == 1) expected = (expected & 1) * 255;
            const int64_t place = (row * 9 + column) * test.bands + band;
            const int found =
                test.bits == 16 ? image.as<uint16_t>()[place] : image.as<uint8_t>()[place];
            ASSERT_EQ(found, expected) << row << ", " << column << ", " << band;
          }
        }
      }
    }
  }
}

TEST(Png, ATruncatedOrDamagedFileIsAnError) {
  const auto bytes = encode({});
  for (const size_t size : {size_t{9}, size_t{30}, bytes.size() / 2, bytes.size() - 12}) {
    EXPECT_THROW(decode_image(source_of({bytes.data(), size})), BadSample) << size;
  }
  auto damaged = bytes;
  damaged[bytes.size() / 2] ^= std::byte{0x10};
  EXPECT_THROW(decode_image(source_of(damaged)), BadSample);
}

TEST(Png, AReaderReadsTwice) {
  const auto bytes = encode({});
  ImageReader reader(source_of(bytes));
  Image first;
  Image second;
  reader.read({}, &first);
  reader.read({}, &second);
  EXPECT_EQ(first.pixels, second.pixels);
}

TEST(Png, WhatIsWrittenIsReadBack) {
  const auto path = std::filesystem::temp_directory_path() / "swath_png_test.png";
  for (const int64_t bands : {1, 3, 4}) {
    Image image{.width = 7, .height = 5, .bands = bands, .type = PixelType::kUint8, .pixels = {}};
    for (int64_t i = 0; i < int64_t{7} * 5 * bands; ++i) {
      image.pixels.push_back(static_cast<std::byte>(i * 5));
    }
    write_png(path, image);
    const Image back = decode_image(ImageSource::from_file(path));
    EXPECT_EQ(back.bands, bands);
    EXPECT_EQ(back.pixels, image.pixels);
  }
  std::filesystem::remove(path);
  const Image two{.width = 1, .height = 1, .bands = 2, .pixels = {std::byte{1}, std::byte{2}}};
  EXPECT_THROW(encode_png(two), Error);
}

}  // namespace
}  // namespace swath::data
