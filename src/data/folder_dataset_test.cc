#include "data/folder_dataset.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/hash.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

using test::message_of;
using test::TemporaryDirectory;
using test::write_chip;

std::vector<std::string> names(const Dataset& dataset) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < dataset.size(); ++i) names.push_back(dataset.sample(i).name);
  return names;
}

TEST(FolderDataset, ClassFoldersAreSortedByBytes) {
  TemporaryDirectory root;
  for (const char* name : {"river/b.npy", "river/a.NPY", "Forest/x.npy", "forest/deep/er/y.npy"}) {
    write_chip(root / name, 1);
  }
  test::write_text(root / "river/readme.txt", "not an image");
  write_chip(root / "river/.hidden.npy", 1);
  write_chip(root / ".cache/z.npy", 1);
  const FolderDataset dataset(root.path(), FolderLabels::kTop);
  // Capitals come first and folders of one class stay together, whatever the locale says.
  EXPECT_EQ(names(dataset), (std::vector<std::string>{"Forest/x.npy", "forest/deep/er/y.npy",
                                                      "river/a.NPY", "river/b.npy"}));
  EXPECT_EQ(dataset.class_names(), (std::vector<std::string>{"Forest", "forest", "river"}));
  EXPECT_EQ(dataset.sample(1).label, 1);
  EXPECT_EQ(dataset.sample(3).label, 2);
}

TEST(FolderDataset, IdsAreTheHashOfTheRelativeName) {
  TemporaryDirectory one;
  TemporaryDirectory other;
  for (const auto* root : {&one, &other}) write_chip(*root / "river/a.npy", 1);
  write_chip(other / "city/a.npy", 1);
  const FolderDataset first(one.path(), FolderLabels::kTop);
  const FolderDataset second(other.path(), FolderLabels::kTop);
  EXPECT_EQ(first.sample(0).id, second.sample(1).id);
  EXPECT_NE(second.sample(0).id, second.sample(1).id);
  // XXH3-64 of "river/a.npy", so that no later change moves every run's augmentation.
  EXPECT_EQ(first.sample(0).id, xxh3("river/a.npy"));
}

TEST(FolderDataset, FlatFolderHasNoLabels) {
  TemporaryDirectory root;
  write_chip(root / "b.npy", 1);
  write_chip(root / "a.npy", 2);
  const FolderDataset dataset(root.path(), FolderLabels::kTop);
  EXPECT_EQ(names(dataset), (std::vector<std::string>{"a.npy", "b.npy"}));
  EXPECT_TRUE(dataset.class_names().empty());
  EXPECT_EQ(dataset.sample(0).label, -1);
}

TEST(FolderDataset, LeafFoldersOfOneNameAreOneClass) {
  TemporaryDirectory root;
  write_chip(root / "train/river/a.npy", 1);
  write_chip(root / "test/river/b.npy", 2);
  write_chip(root / "test/city/c.npy", 3);
  const FolderDataset dataset(root.path(), FolderLabels::kLeaf);
  EXPECT_EQ(dataset.class_names(), (std::vector<std::string>{"city", "river"}));
  EXPECT_EQ(dataset.sample(0).name, "test/city/c.npy");
  EXPECT_EQ(dataset.sample(0).label, 0);
  EXPECT_EQ(dataset.sample(1).label, 1);
  EXPECT_EQ(dataset.sample(2).label, 1);
}

TEST(FolderDataset, SplitFoldersAreNotTakenForClasses) {
  TemporaryDirectory root;
  write_chip(root / "train/river/a.npy", 1);
  write_chip(root / "test/river/b.npy", 2);
  const std::string message =
      message_of<UsageError>([&] { FolderDataset(root.path(), FolderLabels::kTop); });
  EXPECT_CONTAINS(message, "parts of a split");
  EXPECT_CONTAINS(message, "HINT");
  EXPECT_EQ(FolderDataset(root.path(), FolderLabels::kNone).size(), 2);
}

TEST(FolderDataset, EmptyFolder) {
  TemporaryDirectory root;
  EXPECT_CONTAINS(message_of<UsageError>([&] { FolderDataset(root.path(), FolderLabels::kTop); }),
                  "is empty");
}

TEST(FolderDataset, FolderWithoutImages) {
  TemporaryDirectory root;
  test::write_text(root / "notes.txt", "x");
  const std::string message =
      message_of<UsageError>([&] { FolderDataset(root.path(), FolderLabels::kTop); });
  EXPECT_CONTAINS(message, "no image");
  EXPECT_CONTAINS(message, root.path().string());
}

TEST(FolderDataset, FilesOfOtherExtensionsAreCounted) {
  TemporaryDirectory root;
  write_chip(root / "river/a.npy", 1);
  test::write_text(root / "river/b.bmp", "x");
  test::write_text(root / "river/deep/c.bmp", "x");
  test::write_text(root / "README", "x");
  testing::internal::CaptureStderr();
  EXPECT_EQ(FolderDataset(root.path(), FolderLabels::kTop).size(), 1);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_CONTAINS(log, "1 (none), 2 .bmp (such as README)");
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1);
}

TEST(FolderDataset, AClassFolderWithoutImages) {
  TemporaryDirectory root;
  write_chip(root / "train/river/a.npy", 1);
  write_chip(root / "train/city/a.npy", 1);
  test::write_text(root / "train/readme.txt", "not in a class folder");
  const auto open = [&](const char* below, FolderLabels labels) {
    return FolderDataset(root / below, labels);
  };
  EXPECT_EQ(open("train", FolderLabels::kTop).size(), 2);
  EXPECT_EQ(open("", FolderLabels::kLeaf).size(), 2);
  test::write_text(root / "train/forest/deep/b.bmp", "x");
  const std::string message = message_of<UsageError>([&] { open("train", FolderLabels::kTop); });
  EXPECT_CONTAINS(message, "train/forest holds no image");
  EXPECT_CONTAINS(message, "HINT");
  EXPECT_CONTAINS(message_of<UsageError>([&] { open("", FolderLabels::kLeaf); }),
                  "train/forest/deep holds no image");
  EXPECT_EQ(open("train", FolderLabels::kNone).size(), 2);
}

TEST(FolderDataset, AnEmptyClassFolder) {
  TemporaryDirectory root;
  write_chip(root / "river/a.npy", 1);
  std::filesystem::create_directories(root / "river/notes");
  EXPECT_EQ(FolderDataset(root.path(), FolderLabels::kTop).size(), 1);
  std::filesystem::create_directories(root / "city");
  const std::string message =
      message_of<UsageError>([&] { FolderDataset(root.path(), FolderLabels::kTop); });
  EXPECT_CONTAINS(message, "/city holds no image");
  EXPECT_CONTAINS(message, "HINT");
  EXPECT_EQ(FolderDataset(root.path(), FolderLabels::kNone).size(), 1);
}

TEST(FolderDataset, ImagesBesideClassFolders) {
  TemporaryDirectory root;
  write_chip(root / "a.npy", 1);
  write_chip(root / "river/b.npy", 2);
  EXPECT_CONTAINS(message_of<UsageError>([&] { FolderDataset(root.path(), FolderLabels::kTop); }),
                  "beside its class folders: a.npy and river/b.npy");
  EXPECT_EQ(FolderDataset(root.path(), FolderLabels::kNone).size(), 2);
}

TEST(FolderDataset, MislabelledExtensionNamesFileAndContent) {
  TemporaryDirectory root;
  test::write_text(root / "photo.jpg", "<!DOCTYPE html><html>not found</html>");
  const FolderDataset dataset(root.path(), FolderLabels::kTop);
  const std::string message =
      message_of<BadSample>([&] { decode_image(dataset.source(0, nullptr)); });
  EXPECT_CONTAINS(message, "photo.jpg");
  EXPECT_CONTAINS(message, "HTML");
}

TEST(FolderDataset, FollowsLinksAndStopsAtLoops) {
  TemporaryDirectory root;
  TemporaryDirectory elsewhere;
  write_chip(elsewhere / "a.npy", 1);
  std::filesystem::create_directories(root.path());
  std::filesystem::create_directory_symlink(elsewhere.path(), root / "river");
  EXPECT_EQ(FolderDataset(root.path(), FolderLabels::kTop).size(), 1);
  std::filesystem::create_directory_symlink(root.path(), root / "loop");
  message_of<Error>([&] { FolderDataset(root.path(), FolderLabels::kTop); });
}

}  // namespace
}  // namespace swath::data
