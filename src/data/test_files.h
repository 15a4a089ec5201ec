// For tests of this room: a directory that goes away, and small images in it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "data/image.h"
#include "data/npy_header.h"

namespace swath::data::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    static std::atomic<int> next{0};
    path_ = std::filesystem::temp_directory_path() /
            ("swath-test-" + std::to_string(getpid()) + "-" + std::to_string(next++));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// An image of random values, the same for the same seed.
template <class Value>
std::vector<Value> random_pixels(int64_t count, uint64_t seed, uint32_t below = 251) {
  Random random(seed, RandomPurpose::kTest);
  std::vector<Value> pixels(static_cast<size_t>(count));
  for (Value& pixel : pixels) pixel = static_cast<Value>(random.below(below));
  return pixels;
}

template <class Value>
PixelType pixel_type_of() {
  if constexpr (std::is_same_v<Value, uint8_t>) return PixelType::kUint8;
  if constexpr (std::is_same_v<Value, uint16_t>) return PixelType::kUint16;
  if constexpr (std::is_same_v<Value, int16_t>) return PixelType::kInt16;
  return PixelType::kFloat32;
}

template <class Value>
std::span<const std::byte> bytes_of(const std::vector<Value>& values) {
  return std::as_bytes(std::span<const Value>(values));
}

// Not flushed to the disk, unlike write_file_atomically: a hundred tests write thousands of files.
inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

template <class Value>
void write_npy(const std::filesystem::path& path, const std::vector<Value>& pixels, int64_t height,
               int64_t width, int64_t bands) {
  const std::string body(reinterpret_cast<const char*>(pixels.data()),
                         pixels.size() * sizeof(Value));
  write_text(path, npy_header(pixel_type_of<Value>(), {height, width, bands}) + body);
}

// A random uint8 chip of `side` x `side` x `bands`.
inline void write_chip(const std::filesystem::path& path, uint64_t seed, int64_t side = 8,
                       int64_t bands = 3) {
  write_npy(path, random_pixels<uint8_t>(side * side * bands, seed), side, side, bands);
}

// `per_class` chips in each of the folders a, b, c ...
inline void write_class_folders(const std::filesystem::path& root, int classes, int per_class,
                                int64_t side = 8, int64_t bands = 3) {
  for (int c = 0; c < classes; ++c) {
    for (int i = 0; i < per_class; ++i) {
      write_chip(
          root / std::string(1, static_cast<char>('a' + c)) / ("chip" + std::to_string(i) + ".npy"),
          static_cast<uint64_t>(c) * 1000 + static_cast<uint64_t>(i), side, bands);
    }
  }
}

inline void flip_byte(const std::filesystem::path& path, uint64_t offset) {
  std::string text = read_file(path);
  ASSERT_LT(offset, text.size());
  text[offset] = static_cast<char>(text[offset] ^ 0x10);
  write_text(path, text);
}

inline void truncate_file(const std::filesystem::path& path, uint64_t size) {
  std::filesystem::resize_file(path, size);
}

// The message of the Failure that `call` throws; a test failure when it throws nothing or another.
template <class Failure, class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Failure& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
    return "";
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

#define EXPECT_CONTAINS(text, part) \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << "in: " << (text)

}  // namespace swath::data::test
