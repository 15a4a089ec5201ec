#include "core/hash.h"

#include <gtest/gtest.h>

#include <span>

namespace swath {
namespace {

TEST(Hash, Sha256MatchesFips180) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Hash, Xxh3InPiecesEqualsXxh3AtOnce) {
  const std::string text(100'000, 'q');
  Xxh3Stream stream;
  const auto bytes = std::as_bytes(std::span(text));
  stream.update(bytes.first(17));
  stream.update(bytes.subspan(17));
  EXPECT_EQ(stream.digest(), xxh3(text));
  // The published value of the empty input.
  EXPECT_EQ(xxh3(std::string_view()), 0x2D06800538D394C2ULL);
}

}  // namespace
}  // namespace swath
