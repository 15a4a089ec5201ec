#include "core/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "core/error.h"

namespace swath {
namespace {
namespace fs = std::filesystem;

class Safetensors : public testing::Test {
 protected:
  Safetensors()
      : path_(fs::temp_directory_path() / ("swath_" + std::to_string(getpid()) + ".safetensors")) {}
  ~Safetensors() override { fs::remove(path_); }

  void write_two() {
    write_safetensors(path_, {{"a", "F32", {2, 2}, 0, 0}, {"b", "U8", {3}, 0, 0}}, {{"k", "v"}},
                      [&](const TensorEntry& entry) {
                        return entry.name == "a" ? std::string_view("0123456789abcdef")
                                                 : std::string_view("xyz");
                      });
  }
  std::string contents() const { return read_file(path_); }
  void replace(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }

  fs::path path_;
};

TEST_F(Safetensors, ReadsBackWhatWasWritten) {
  write_two();
  const SafetensorsFile file(path_);
  ASSERT_EQ(file.entries().size(), 2u);
  EXPECT_EQ(file.metadata().at("k"), "v");
  EXPECT_EQ(file.bytes(*file.find("a")), "0123456789abcdef");
  EXPECT_EQ(file.bytes(*file.find("b")), "xyz");
  EXPECT_EQ(file.find("a")->shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST_F(Safetensors, DataStartsOnAMultipleOfEight) {
  write_two();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, contents().data(), 8);
  EXPECT_EQ(header_bytes % 8, 0u);
}

TEST_F(Safetensors, DamageIsFound) {
  write_two();
  const std::string good = contents();
  const std::string truncated = good.substr(0, good.size() - 1);
  const std::string too_long = good + "z";
  std::string huge_header = good;
  huge_header[6] = '\x7f';
  std::string wrong_shape = good;
  wrong_shape.replace(wrong_shape.find("[2,2]"), 5, "[2,3]");
  std::string unknown_dtype = good;
  unknown_dtype.replace(unknown_dtype.find("F32"), 3, "Q32");
  std::string not_json = good;
  not_json[8] = 'x';
  for (const std::string& bytes : {truncated, too_long, huge_header, wrong_shape, unknown_dtype,
                                   not_json, std::string("abc"), std::string()}) {
    replace(bytes);
    EXPECT_THROW(SafetensorsFile{path_}, Error);
  }
  replace(good);
  EXPECT_NO_THROW(SafetensorsFile{path_});
}

}  // namespace
}  // namespace swath
