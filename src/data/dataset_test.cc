#include "data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/hash.h"
#include "data/shard_set.h"
#include "data/subset_dataset.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

using test::message_of;
using test::TemporaryDirectory;
using test::write_chip;
using test::write_class_folders;

DatasetOptions options_for(const std::filesystem::path& root) {
  DatasetOptions options;
  options.root = root.string();
  return options;
}

TEST(Dataset, WrongRootsAreNamed) {
  message_of<UsageError>([] { open_dataset({}); });
  EXPECT_CONTAINS(message_of<UsageError>([] { open_dataset(options_for("/no/such/folder")); }),
                  "/no/such/folder does not exist");
  TemporaryDirectory root;
  test::write_text(root / "notes.txt", "x");
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_dataset(options_for(root / "notes.txt")); }),
                  "no known kind");
}

TEST(Dataset, ListGivesOrderLabelsAndClasses) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 3);
  test::write_text(root / "list.txt", "b/chip2.npy river 1\na/chip0.npy city 0\n");
  DatasetOptions options = options_for(root / "images");
  options.list = root / "list.txt";
  const auto dataset = open_dataset(options);
  ASSERT_EQ(dataset->size(), 2);
  EXPECT_EQ(dataset->sample(0).name, "b/chip2.npy");
  EXPECT_EQ(dataset->sample(0).label, 1);
  EXPECT_EQ(dataset->class_names(), (std::vector<std::string>{"city", "river"}));
  // The same image has the same id with and without a list.
  const auto whole = open_dataset(options_for(root / "images"));
  EXPECT_EQ(dataset->sample(1).id, whole->sample(0).id);
}

TEST(Dataset, LimitsAreTheSameSamplesEachTime) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 10);
  DatasetOptions options = options_for(root / "images");
  const auto whole = open_dataset(options);
  const auto names_of = [&](int64_t limit) {
    options.limit = limit;
    const auto dataset = open_dataset(options);
    std::vector<std::string> names;
    for (int64_t i = 0; i < dataset->size(); ++i) names.push_back(dataset->sample(i).name);
    return names;
  };
  const std::vector<std::string> seven = names_of(7);
  EXPECT_EQ(seven.size(), 7U);
  EXPECT_TRUE(std::is_sorted(seven.begin(), seven.end()));
  std::vector<std::string> first = names_of(0);
  first.resize(7);
  EXPECT_NE(seven, first);
  // More are those and others.
  const std::vector<std::string> twelve = names_of(12);
  EXPECT_TRUE(std::includes(twelve.begin(), twelve.end(), seven.begin(), seven.end()));
  EXPECT_EQ(std::ssize(names_of(100)), whole->size());
}

TEST(Dataset, ListNamesWithoutTheirFolder) {
  TemporaryDirectory root;
  write_chip(root / "city/x.npy", 1);
  write_chip(root / "all_img/y.npy", 2);
  test::write_text(root / "list.txt", "x.npy city 0\ny.npy river 1\n");
  DatasetOptions options = options_for(root.path());
  options.list = root / "list.txt";
  const auto dataset = open_dataset(options);
  EXPECT_EQ(dataset->sample(0).name, "city/x.npy");
  EXPECT_EQ(dataset->sample(1).name, "all_img/y.npy");
}

TEST(Dataset, ListOfMissingFiles) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 1, 2);
  test::write_text(root / "list.txt", "a/chip0.npy a 0\na/gone.npy a 0\na/lost.npy a 0\n");
  DatasetOptions options = options_for(root / "images");
  options.list = root / "list.txt";
  const std::string message = message_of<UsageError>([&] { open_dataset(options); });
  EXPECT_CONTAINS(message, "names 2 files that are not in");
  EXPECT_CONTAINS(message, "a/gone.npy, a/lost.npy");
  EXPECT_CONTAINS(message, "--skip-bad");
  options.skip_bad = true;
  EXPECT_EQ(open_dataset(options)->size(), 1);
}

TEST(Dataset, ExcludeList) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 3);
  test::write_text(root / "out.txt", "a/chip1.npy\nchip2.npy\n");
  DatasetOptions options = options_for(root / "images");
  options.exclude_list = root / "out.txt";
  options.exclude_list_sha256 = std::string(64, '0');
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_dataset(options); }), "no longer the list");
  options.exclude_list_sha256 = sha256_hex_of_file(options.exclude_list);
  const auto dataset = open_dataset(options);
  options.exclude_list_sha256.clear();
  // a/chip1 by its path; chip2 of both folders by its file name.
  ASSERT_EQ(dataset->size(), 3);
  EXPECT_EQ(dataset->sample(0).name, "a/chip0.npy");
  EXPECT_EQ(dataset->sample(1).name, "b/chip0.npy");
  EXPECT_EQ(dataset->sample(2).name, "b/chip1.npy");
  EXPECT_EQ(dataset->sample(2).label, 1);

  test::write_text(root / "out.txt", "other.npy\n");
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_dataset(options); }), "excludes nothing");
}

TEST(Dataset, ListOverShards) {
  TemporaryDirectory root;
  RecordLayout layout;
  layout.height = layout.width = 4;
  layout.bands = 1;
  layout.class_names = {"old"};
  {
    ShardSetWriter writer(root / "shards", layout, {});
    for (int i = 0; i < 5; ++i) {
      const auto pixels = test::random_pixels<uint8_t>(16, static_cast<uint64_t>(i));
      Record record;
      record.name = "r" + std::to_string(i);
      record.label = 0;
      record.bytes = test::bytes_of(pixels);
      writer.add(record);
    }
    writer.finish();
  }
  test::write_text(root / "list.txt", "r3 river 1\nr1 city 0\n");
  DatasetOptions options = options_for(root / "shards");
  options.list = root / "list.txt";
  const auto dataset = open_dataset(options);
  ASSERT_EQ(dataset->size(), 2);
  EXPECT_EQ(dataset->sample(0).name, "r3");
  EXPECT_EQ(dataset->sample(0).label, 1);
  EXPECT_EQ(dataset->class_names().size(), 2u);
  std::vector<std::byte> scratch;
  const Image image = decode_image(dataset->source(0, &scratch));
  EXPECT_EQ(image.as<uint8_t>()[5], test::random_pixels<uint8_t>(16, 3)[5]);
}

TEST(Dataset, SubsetChecksItsIndices) {
  TemporaryDirectory root;
  write_class_folders(root.path(), 1, 3);
  std::shared_ptr<const Dataset> whole = open_dataset(options_for(root.path()));
  const SubsetDataset subset(whole, {2, 0});
  EXPECT_EQ(subset.sample(0).name, "a/chip2.npy");
  message_of<UsageError>([&] { SubsetDataset(whole, {3}); });
}

TEST(Dataset, FieldsOfTheOptions) {
  DatasetOptions options;
  FieldTable table = make_field_table(options);
  table.apply_setting("labels=leaf");
  EXPECT_EQ(options.labels, "leaf");
  message_of<UsageError>([&] { table.apply_setting("labels=bottom"); });
}

}  // namespace
}  // namespace swath::data
