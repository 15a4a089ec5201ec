// Content hashes: SHA-256 for what people compare, XXH3 for what programs check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace swath {

// Lower-case hexadecimal SHA-256.
std::string sha256_hex(std::string_view bytes);
std::string sha256_hex_of_file(const std::filesystem::path& path);

// 64-bit XXH3: the checksum of records and checkpoint tensors.
uint64_t xxh3(std::span<const std::byte> bytes);
uint64_t xxh3(std::string_view bytes);
// The same hash of data that arrives in pieces.
class Xxh3Stream {
 public:
  Xxh3Stream();
  ~Xxh3Stream();
  Xxh3Stream(const Xxh3Stream&) = delete;
  Xxh3Stream& operator=(const Xxh3Stream&) = delete;
  void update(std::span<const std::byte> bytes);
  uint64_t digest() const;

 private:
  void* state_;
};

}  // namespace swath
