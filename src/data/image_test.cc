// What holds for every format, the recognition of content, GDAL's formats, raw pixels.
#include "data/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "core/error.h"
#include "core/files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

fs::path fixture(const std::string& name) { return fs::path(SWATH_TESTDATA) / "data" / name; }

std::string message_of(const ImageSource& source, const DecodeOptions& options = {}) {
  try {
    decode_image(source, options);
  } catch (const BadSample& error) {
    return error.what();
  }
  return "no error";
}

class ImageFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() / (std::string("swath_image_") + info->name());
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  ImageSource file(const std::string& name, std::string_view content) {
    write_file_atomically(directory_ / name, content);
    return ImageSource::from_file(directory_ / name);
  }

  fs::path directory_;
};

using ImageContent = ImageFiles;

TEST_F(ImageContent, DecidesAndTheNameMustAgree) {
  const std::string jpeg = read_file(fixture("ucm/beach57.jpg"));
  for (const char* name : {"no_extension", "photo.JPG", "photo.jpeg", "jpg.d/photo.001"}) {
    fs::create_directories(directory_ / "jpg.d");
    EXPECT_EQ(read_image_info(file(name, jpeg)).format, "JPEG") << name;
  }
  for (const char* name : {"photo.png", "photo.TIF", "photo.npy", "photo.jp2"}) {
    const std::string extension = fs::path(name).extension();
    EXPECT_THAT(
        message_of(file(name, jpeg)),
        AllOf(HasSubstr(name), HasSubstr("holds JPEG data under the extension " + extension),
              HasSubstr("HINT: rename the file")));
    EXPECT_THROW(read_image_info(ImageSource::from_file(directory_ / name)), BadSample);
  }
  // In memory, the name is that of the archive's member.
  ImageSource member;
  member.name = "photo.png of archive.tar";
  member.bytes = std::as_bytes(std::span(jpeg));
  EXPECT_EQ(read_image_info(member).format, "JPEG");
  member.path = "photo.png";
  EXPECT_THAT(message_of(member), HasSubstr("photo.png of archive.tar: holds JPEG data"));
}

TEST_F(ImageContent, ThatIsNoImageIsNamed) {
  EXPECT_THAT(message_of(file("empty.jpg", "")),
              AllOf(HasSubstr("empty.jpg"), HasSubstr("0 bytes")));
  EXPECT_THAT(message_of(file("page.jpg", "<!DOCTYPE html><html>not found</html>")),
              HasSubstr("HTML"));
  EXPECT_THAT(message_of(file("notes.tif", "some notes\nsecond line")),
              AllOf(HasSubstr("text"), HasSubstr("some notes"), HasSubstr("HINT")));
  EXPECT_THAT(message_of(file("chips.npy", std::string("PK\x03\x04zip", 7))), HasSubstr("ZIP"));
  EXPECT_THAT(message_of(file("pointer.jpg", "version https://git-lfs.github.com/spec/v1\n")),
              HasSubstr("Git LFS"));
  EXPECT_THAT(message_of(file("noise.jpg", std::string("\x01\x02\xFE\xDC\x00zzz", 8))),
              AllOf(HasSubstr("noise.jpg"), HasSubstr("01 02 FE DC")));
  EXPECT_THAT(message_of(ImageSource::from_file(directory_)), HasSubstr("directory"));
  EXPECT_THAT(message_of(ImageSource::from_file(directory_ / "missing.jpg")),
              HasSubstr("missing.jpg"));
  ImageSource nothing;
  nothing.name = "shard 3, record 7";
  EXPECT_THAT(message_of(nothing), AllOf(HasSubstr("shard 3, record 7"), HasSubstr("empty")));
}

TEST(Image, ARegionOrBandOutsideIsAnError) {
  const ImageSource source = ImageSource::from_file(fixture("ucm/beach57.jpg"));
  DecodeOptions options;
  options.region = Region{200, 0, 60, 10};
  EXPECT_THAT(message_of(source, options), AllOf(HasSubstr("60 x 10"), HasSubstr("252 x 256")));
  options.region = Region{0, 0, 0, 10};
  EXPECT_NE(message_of(source, options), "no error");
  options.region.reset();
  options.bands = {0, 3};
  EXPECT_THAT(message_of(source, options), HasSubstr("band 3"));
}

TEST(Image, RawPixelsByRegion) {
  std::vector<uint16_t> pixels(size_t{6} * 4 * 2);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint16_t>(i * 100);
  ImageSource source;
  source.name = "record 0";
  source.bytes = std::as_bytes(std::span(pixels));
  source.raw = ImageInfo{.format = "RAW",
                         .width = 6,
                         .height = 4,
                         .bands = 2,
                         .type = PixelType::kUint16,
                         .georeference = {}};
  DecodeOptions options;
  options.region = Region{2, 1, 3, 2};
  options.bands = {1};
  const Image image = decode_image(source, options);
  ASSERT_EQ(image.bands, 1);
  EXPECT_EQ(image.as<uint16_t>()[0], ((1 * 6 + 2) * 2 + 1) * 100);
  EXPECT_EQ(image.as<uint16_t>()[5], ((2 * 6 + 4) * 2 + 1) * 100);
  source.bytes = source.bytes.first(10);
  EXPECT_THAT(message_of(source), AllOf(HasSubstr("96 bytes"), HasSubstr("found 10")));
}

TEST(Image, TwoReadersOfOneThreadDoNotShareABuffer) {
  ImageReader first(ImageSource::from_file(fixture("ucm/beach57.jpg")));
  ImageReader second(ImageSource::from_file(fixture("ucm/river83.jpg")));
  Image image;
  first.read({}, &image);
  EXPECT_EQ(image.pixels, decode_image(ImageSource::from_file(fixture("ucm/beach57.jpg"))).pixels);
}

#ifdef SWATH_WITH_GDAL

int64_t pattern(int64_t row, int64_t column, int64_t band) {
  return row * 31 + column * 7 + band * 3;
}

template <class T>
void expect_tiff(const std::string& name, int64_t height, int64_t width, int64_t bands,
                 PixelType type, double factor) {
  SCOPED_TRACE(name);
  const std::string content = read_file(fixture("tiff/" + name));
  ImageSource in_memory;
  in_memory.name = name;
  in_memory.bytes = std::as_bytes(std::span(content.data(), content.size()));
  for (const ImageSource& source : {ImageSource::from_file(fixture("tiff/" + name)), in_memory}) {
    const ImageInfo info = read_image_info(source);
    EXPECT_EQ(info.format, "GTiff");
    EXPECT_EQ(info.height, height);
    EXPECT_EQ(info.width, width);
    ASSERT_EQ(info.bands, bands);
    ASSERT_EQ(info.type, type);
    DecodeOptions options;
    options.region = Region{2, 1, width - 2, height - 1};
    options.bands = {bands - 1, 0};
    const Image image = decode_image(source, options);
    for (int64_t row = 0; row < image.height; ++row) {
      for (int64_t column = 0; column < image.width; ++column) {
        for (int64_t i = 0; i < 2; ++i) {
          const int64_t band = options.bands[static_cast<size_t>(i)];
          const double value = static_cast<double>(pattern(row + 1, column + 2, band)) * factor;
          // Through int64_t: the pattern passes 255, and a double over the range is undefined.
          const T expected = type == PixelType::kFloat32
                                 ? static_cast<T>(value)
                                 : static_cast<T>(static_cast<int64_t>(value));
          ASSERT_EQ(image.as<T>()[(row * image.width + column) * 2 + i], expected)
              << row << ", " << column << ", " << band;
        }
      }
    }
  }
}

TEST(ImageTiff, AnyBandCountAndType) {
  expect_tiff<uint8_t>("rgb_uint8.tif", 9, 11, 3, PixelType::kUint8, 1);
  expect_tiff<uint16_t>("thirteen_uint16.tif", 6, 5, 13, PixelType::kUint16, 1);
  expect_tiff<int16_t>("two_int16.tif", 4, 7, 2, PixelType::kInt16, -1);
  expect_tiff<float>("one_float32.tif", 5, 6, 1, PixelType::kFloat32, 0.5);
}

TEST(ImageTiff, GeoreferenceIsRead) {
  const auto info = read_image_info(ImageSource::from_file(fixture("tiff/thirteen_uint16.tif")));
  ASSERT_TRUE(info.georeference.has_value());
  EXPECT_DOUBLE_EQ(info.georeference->origin_x, 10.0);
  EXPECT_DOUBLE_EQ(info.georeference->origin_y, 50.0);
  EXPECT_DOUBLE_EQ(info.georeference->step_x, 0.25);
  EXPECT_DOUBLE_EQ(info.georeference->step_y, -0.5);
  EXPECT_THAT(info.georeference->coordinate_system, HasSubstr("WGS 84"));
  EXPECT_FALSE(read_image_info(ImageSource::from_file(fixture("tiff/rgb_uint8.tif")))
                   .georeference.has_value());
}

TEST(ImageTiff, ATruncatedFileIsAnError) {
  const std::string content = read_file(fixture("tiff/thirteen_uint16.tif"));
  ImageSource source;
  source.name = "cut.tif";
  for (const size_t size : {size_t{8}, size_t{100}, content.size() / 2}) {
    source.bytes = std::as_bytes(std::span(content.data(), size));
    EXPECT_THAT(message_of(source), AllOf(HasSubstr("cut.tif"), HasSubstr("TIFF"))) << size;
  }
}

// The directory is whole, the pixels it points to are not.
TEST(ImageTiff, MissingPixelsAreAnError) {
  std::string content = read_file(fixture("tiff/thirteen_uint16.tif"));
  const size_t tag = content.find(std::string("\x11\x01\x04\x00", 4));  // StripOffsets
  ASSERT_NE(tag, content.npos);
  content[tag + 9] = 0x04;  // offset 8 becomes 1032: the strip passes the end of the file
  ImageSource source;
  source.name = "cut.tif";
  source.bytes = std::as_bytes(std::span(content.data(), content.size()));
  EXPECT_THAT(message_of(source), AllOf(HasSubstr("cut.tif"), HasSubstr("damaged")));
}

TEST(ImageTiff, ManyThreadsRead) {
  const ImageSource source = ImageSource::from_file(fixture("tiff/thirteen_uint16.tif"));
  const Image expected = decode_image(source);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& wrong_in_thread : wrong) {
    threads.emplace_back([&] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        if (decode_image(source).pixels != expected.pixels) ++wrong_in_thread;
        ImageSource cut = source;
        const std::string content = read_file(source.path).substr(0, 100);
        cut.bytes = std::as_bytes(std::span(content.data(), content.size()));
        if (message_of(cut) == "no error") ++wrong_in_thread;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

#else

TEST(ImageTiff, WithoutGdalTheRemedyIsNamed) {
  EXPECT_THAT(message_of(ImageSource::from_file(fixture("tiff/rgb_uint8.tif"))),
              AllOf(HasSubstr("TIFF"), HasSubstr("libgdal-dev")));
}

#endif

}  // namespace
}  // namespace swath::data
