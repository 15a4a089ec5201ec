#include "data/tar_dataset.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/hash.h"
#include "data/tar_archive.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TemporaryDirectory;

std::string chip(char value) {
  return npy_header(PixelType::kUint8, {2, 2, 3}) + std::string(12, value);
}

void write_tar(const fs::path& path,
               const std::vector<std::pair<std::string, std::string>>& members) {
  AtomicFileWriter writer(path);
  for (const auto& [name, contents] : members) append_tar_member(writer, name, contents);
  append_tar_end(writer);
  writer.publish();
}

int first_pixel(const Dataset& dataset, int64_t index) {
  return decode_image(dataset.source(index, nullptr)).as<uint8_t>()[0];
}

// Archives of Python's tarfile: testdata/data/make_tar_fixtures.py.
TEST(TarDataset, ReadsArchivesOfOtherTools) {
  for (const char* format : {"ustar", "gnu", "pax"}) {
    SCOPED_TRACE(format);
    const TarDataset dataset(fs::path(SWATH_TESTDATA) / "data/tar" /
                             (std::string(format) + ".tar"));
    ASSERT_EQ(dataset.size(), 3);
    EXPECT_EQ(dataset.sample(0).name, "chips/0001.npy");
    EXPECT_EQ(dataset.sample(0).id, xxh3("chips/0001.npy"));
    EXPECT_EQ(dataset.sample(0).label, 1);
    EXPECT_EQ(dataset.sample(1).name.size(), 109u);
    EXPECT_TRUE(dataset.sample(1).name.ends_with("/0002.npy"));
    EXPECT_EQ(dataset.sample(1).label, 0);
    EXPECT_EQ(dataset.sample(2).label, 1);
    EXPECT_EQ((*dataset.sample(2).longitude_latitude)[0], 7.5);
    EXPECT_EQ((*dataset.sample(2).longitude_latitude)[1], -2.25);
    EXPECT_FALSE(dataset.sample(0).longitude_latitude);
    EXPECT_EQ(dataset.class_names(), (std::vector<std::string>{"0", "river"}));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(first_pixel(dataset, i), i + 1);
  }
}

TEST(TarDataset, ReadsItsOwnLongNames) {
  TemporaryDirectory root;
  const std::string name = std::string(300, 'x') + "/1.npy";
  write_tar(root / "a.tar", {{name, chip(1)}, {"2.npy", chip(2)}});
  const TarDataset dataset(root / "a.tar");
  ASSERT_EQ(dataset.size(), 2);
  EXPECT_EQ(dataset.sample(0).name, name);
  EXPECT_EQ(first_pixel(dataset, 1), 2);
}

TEST(TarDataset, LabelsByName) {
  TemporaryDirectory root;
  write_tar(root / "a.tar", {{"1.npy", chip(1)},
                             {"1.cls", "river"},
                             {"2.cls", "city"},
                             {"2.npy", chip(2)},
                             {"3.npy", chip(3)}});
  const TarDataset dataset(root / "a.tar");
  EXPECT_EQ(dataset.class_names(), (std::vector<std::string>{"city", "river"}));
  EXPECT_EQ(dataset.sample(0).label, 1);
  EXPECT_EQ(dataset.sample(1).label, 0);
  EXPECT_EQ(dataset.sample(2).label, -1);
}

TEST(TarDataset, FolderOfArchives) {
  TemporaryDirectory root;
  write_tar(root / "b.tar", {{"3.npy", chip(3)}});
  write_tar(root / "a.tar", {{"1.npy", chip(1)}, {"2.txt", "no image"}, {"2.cls", "0"}});
  DatasetOptions options;
  options.root = root.path();
  const auto dataset = open_dataset(options);
  ASSERT_EQ(dataset->size(), 2);
  EXPECT_EQ(first_pixel(*dataset, 0), 1);
  EXPECT_EQ(first_pixel(*dataset, 1), 3);
}

TEST(TarDataset, DamagedArchivesAreNamed) {
  TemporaryDirectory root;
  write_tar(root / "a.tar", {{"1.npy", chip(1)}, {"2.npy", chip(2)}});
  const std::string good = read_file(root / "a.tar");
  test::write_text(root / "cut.tar", good.substr(0, 2 * 512 + 600));
  EXPECT_CONTAINS(message_of<Error>([&] { TarDataset(root / "cut.tar"); }),
                  "cut.tar is truncated: member 2.npy");
  test::write_text(root / "cut.tar", good.substr(0, size_t{2} * 1024));
  EXPECT_CONTAINS(message_of<Error>([&] { TarDataset(root / "cut.tar"); }), "no end mark");
  test::flip_byte(root / "a.tar", 1024 + 3);
  EXPECT_CONTAINS(message_of<Error>([&] { TarDataset(root / "a.tar"); }),
                  "damaged header at byte 1024");
  test::write_text(root / "text.tar", std::string(2000, 'x'));
  EXPECT_CONTAINS(message_of<Error>([&] { TarDataset(root / "text.tar"); }), "not a tar archive");
  write_tar(root / "empty.tar", {{"notes.txt", "x"}});
  EXPECT_CONTAINS(message_of<UsageError>([&] { TarDataset(root / "empty.tar"); }), "no image");
}

TEST(TarDataset, BadLabelsAreNamed) {
  TemporaryDirectory root;
  write_tar(root / "a.tar", {{"1.npy", chip(1)}, {"1.json", "{broken"}});
  EXPECT_CONTAINS(message_of<Error>([&] { TarDataset(root / "a.tar"); }), "1.json");
  // 2^32 + 1 is 1 in 32 bits.
  for (const char* label : {"4294967297", "1000001", "-1"}) {
    write_tar(root / "c.tar",
              {{"1.npy", chip(1)}, {"1.json", fmt::format("{{\"label\": {}}}", label)}});
    const std::string message = message_of<Error>([&] { TarDataset(root / "c.tar"); });
    EXPECT_CONTAINS(message, "1.json");
    EXPECT_CONTAINS(message, label);
  }
  write_tar(root / "b.tar",
            {{"1.npy", chip(1)}, {"1.cls", "3"}, {"2.npy", chip(1)}, {"2.cls", "x"}});
  EXPECT_CONTAINS(message_of<Error>([&] { TarDataset(root / "b.tar"); }), "by index and others by");
}

TEST(TarDataset, MislabelledExtensionsAreBadSamples) {
  TemporaryDirectory root;
  write_tar(root / "set.tar", {{"x/good.npy", chip(1)}, {"x/liar.png", chip(2)}});
  const TarDataset dataset(root / "set.tar");
  ASSERT_EQ(dataset.size(), 2);
  EXPECT_EQ(decode_image(dataset.source(0, nullptr)).bands, 3);
  const std::string message =
      message_of<BadSample>([&] { decode_image(dataset.source(1, nullptr)); });
  EXPECT_CONTAINS(message, "x/liar.png of ");
  EXPECT_CONTAINS(message, "holds NPY data under the extension .png");
}

TEST(TarDataset, EmptyImagesAreBadSamples) {
  TemporaryDirectory root;
  write_tar(root / "a.tar", {{"1.npy", ""}});
  const TarDataset dataset(root / "a.tar");
  EXPECT_CONTAINS(message_of<BadSample>([&] { dataset.source(0, nullptr); }), "1.npy");
}

}  // namespace
}  // namespace swath::data
