#include "data/split.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "core/hash.h"
#include "data/list_file.h"
#include "data/pack.h"
#include "data/shard_set.h"
#include "data/test_files.h"

namespace swath::data {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TemporaryDirectory;
using test::write_chip;
using test::write_class_folders;

SplitOptions options_for(const TemporaryDirectory& root) {
  SplitOptions options;
  options.data.root = (root / "images").string();
  options.output = (root / "split").string();
  options.repeats = 2;
  return options;
}

std::vector<std::string> names_in(const fs::path& list) {
  const ListFile file = read_list_file(list);
  std::vector<std::string> names;
  for (int64_t i = 0; i < file.names.size(); ++i) names.emplace_back(file.names.name(i));
  return names;
}

// The rule written down a second time, in the plainest way.
std::set<std::string> expected_train(int seed, char letter, int count, int train) {
  std::vector<std::pair<std::string, std::string>> ranked;
  for (int i = 0; i < count; ++i) {
    const std::string name = std::string(1, letter) + "/chip" + std::to_string(i) + ".npy";
    ranked.emplace_back(sha256_hex(std::to_string(seed) + ":" + name), name);
  }
  std::sort(ranked.begin(), ranked.end());
  std::set<std::string> names;
  for (int i = 0; i < train; ++i) names.insert(ranked[static_cast<size_t>(i)].second);
  return names;
}

TEST(Split, FollowsTheRule) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 3, 10);
  SplitOptions options = options_for(root);
  options.train_ratio = 0.2;
  const Json split = make_split(options);
  EXPECT_EQ(split["train"], 6);
  EXPECT_EQ(split["test"], 24);
  for (int seed = 0; seed < 2; ++seed) {
    std::set<std::string> expected;
    for (const char letter : {'a', 'b', 'c'}) expected.merge(expected_train(seed, letter, 10, 2));
    const auto train = names_in(root / ("split/train_labels_28_" + std::to_string(seed) + ".txt"));
    EXPECT_EQ(std::set<std::string>(train.begin(), train.end()), expected);
    const auto test = names_in(root / ("split/valid_labels_28_" + std::to_string(seed) + ".txt"));
    EXPECT_EQ(test.size(), 24u);
    for (const std::string& name : test) EXPECT_FALSE(expected.contains(name));
  }
  // Lines as RVSA writes them.
  const std::string text = read_file(root / "split/train_labels_28_0.txt");
  EXPECT_TRUE(text.starts_with("a/chip")) << text;
  EXPECT_CONTAINS(text, ".npy b 1\n");
}

// Computed with sha256sum: the ranking must never change, or published lists would no longer be
// ours.
TEST(Split, GoldenHashes) {
  EXPECT_EQ(sha256_hex("0:river/river00.jpg"),
            "2acf3fde0d4376117ea8ac3022ce5ea43c972012ce11db159a1771eee17a59c8");
  TemporaryDirectory root;
  for (int i = 0; i < 6; ++i) {
    write_chip(root / ("images/river/river0" + std::to_string(i) + ".jpg"),
               static_cast<uint64_t>(i));
    write_chip(root / ("images/city/city0" + std::to_string(i) + ".jpg"),
               static_cast<uint64_t>(i) + 10);
  }
  SplitOptions options = options_for(root);
  options.train_per_class = 2;
  make_split(options);
  EXPECT_EQ(names_in(root / "split/train_labels_2_0.txt"),
            (std::vector<std::string>{"city/city02.jpg", "city/city05.jpg", "river/river00.jpg",
                                      "river/river02.jpg"}));
  EXPECT_EQ(names_in(root / "split/train_labels_2_1.txt"),
            (std::vector<std::string>{"city/city01.jpg", "city/city05.jpg", "river/river00.jpg",
                                      "river/river01.jpg"}));
}

TEST(Split, Presets) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 20);
  SplitOptions options = options_for(root);
  const auto train_of = [&](const char* preset) {
    options.preset = preset;
    options.overwrite = true;
    return make_split(options)["train"].get<int>();
  };
  EXPECT_EQ(train_of("ucm"), 20);
  EXPECT_TRUE(fs::exists(root / "split/train_labels_55_0.txt"));
  EXPECT_EQ(train_of("aid"), 8);
  EXPECT_TRUE(fs::exists(root / "split/train_labels_28_1.txt"));
  EXPECT_EQ(train_of("nwpu"), 4);
  EXPECT_TRUE(fs::exists(root / "split/valid_labels_19_1.txt"));
  options.preset = "millionaid";
  const std::string message = message_of<UsageError>([&] { make_split(options); });
  EXPECT_CONTAINS(message, "10000 labelled images");
  EXPECT_CONTAINS(message, "--train_total 1000");
  options.preset = "";
  options.train_total = 1000;
  EXPECT_CONTAINS(message_of<UsageError>([&] { make_split(options); }),
                  "1000 training images of 40");
  options.train_total = 7;
  EXPECT_EQ(make_split(options)["train"], 7);
  EXPECT_EQ(names_in(root / "split/train_labels_7_0.txt").size(), 7u);
  options.train_total = 0;
  options.train_ratio = 0.25;
  make_split(options);
  EXPECT_TRUE(fs::exists(root / "split/train_labels_25p_0.txt"));
}

TEST(Split, PresetsRefuseOtherNumbers) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 20);
  const auto problem = [&](auto change) {
    SplitOptions options = options_for(root);
    options.preset = "aid";
    change(options);
    return message_of<UsageError>([&] { make_split(options); });
  };
  EXPECT_CONTAINS(problem([](SplitOptions& options) { options.train_ratio = 0.3; }), "preset aid");
  EXPECT_CONTAINS(problem([](SplitOptions& options) { options.train_per_class = 5; }),
                  "preset aid");
  EXPECT_CONTAINS(problem([](SplitOptions& options) { options.train_total = 5; }), "preset aid");
  EXPECT_FALSE(fs::exists(root / "split"));
}

TEST(Split, MillionAidListsItsProbeImages) {
  TemporaryDirectory root;
  RecordLayout layout;
  layout.height = layout.width = 2;
  layout.bands = 1;
  layout.class_names = {"city", "river"};
  ShardSetWriter writer(root / "images", layout, {});
  for (int i = 0; i < 10'000; ++i) {
    const auto pixels = test::random_pixels<uint8_t>(4, static_cast<uint64_t>(i), 256);
    Record record;
    record.name = fmt::format("{}/{:05}.jpg", layout.class_names[static_cast<size_t>(i % 2)], i);
    record.label = i % 2;
    record.bytes = test::bytes_of(pixels);
    writer.add(record);
  }
  writer.finish();
  SplitOptions options = options_for(root);
  options.preset = "millionaid";
  const Json split = make_split(options);
  EXPECT_EQ(split["train"], 1000);
  EXPECT_EQ(split["test"], 9000);
  const fs::path list = root / "split/probe_images.txt";
  EXPECT_EQ(split["probe_images"]["file"], "probe_images.txt");
  EXPECT_EQ(split["probe_images"]["sha256"].get<std::string>(), sha256_hex_of_file(list));
  const auto names = names_in(list);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 10'000u);
  EXPECT_TRUE(read_file(list).starts_with("city/00000.jpg\n"));
  check_split(root / "split", *open_dataset(options.data));

  // A set to pretrain on that holds two of them.
  write_chip(root / "million/city/00004.jpg", 1);
  write_chip(root / "million/river/00007.jpg", 2);
  write_chip(root / "million/river/other.jpg", 3);
  DatasetOptions data;
  data.root = root / "million";
  data.exclude_list = list;
  const auto dataset = open_dataset(data);
  ASSERT_EQ(dataset->size(), 1);
  EXPECT_EQ(dataset->sample(0).name, "river/other.jpg");

  test::write_text(list, read_file(list).substr(15));
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_dataset(data); }), "was changed");
  EXPECT_CONTAINS(
      message_of<UsageError>([&] { check_split(root / "split", *open_dataset(options.data)); }),
      "probe_images.txt was changed");
  // Other presets write none.
  options.preset = "ucm";
  options.output = root / "half";
  EXPECT_FALSE(make_split(options).contains("probe_images"));
  EXPECT_FALSE(fs::exists(root / "half/probe_images.txt"));
}

TEST(Split, IsTheSameForListsShardsAndLeafFolders) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 8);
  SplitOptions options = options_for(root);
  make_split(options);
  const auto expected = names_in(root / "split/train_labels_55_0.txt");
  // All images in one folder, with a list, as RVSA does it.
  std::string list;
  for (const char letter : {'a', 'b'}) {
    for (int i = 0; i < 8; ++i) {
      const std::string name = std::string("chip") + std::to_string(i) + ".npy";
      list +=
          std::string(1, letter) + "/" + name + " " + letter + (letter == 'a' ? " 0\n" : " 1\n");
    }
  }
  test::write_text(root / "all.txt", list);
  options.data.list = root / "all.txt";
  options.output = root / "from_list";
  make_split(options);
  EXPECT_EQ(names_in(root / "from_list/train_labels_55_0.txt"), expected);
}

TEST(Split, AClassWithTooFewImages) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 6);
  write_chip(root / "images/lonely/one.npy", 77);
  const std::string message = message_of<UsageError>([&] { make_split(options_for(root)); });
  EXPECT_CONTAINS(message, "class lonely has 1 images, too few");
  EXPECT_CONTAINS(message, "HINT");
  SplitOptions options = options_for(root);
  options.train_per_class = 6;
  EXPECT_CONTAINS(message_of<UsageError>([&] { make_split(options); }),
                  "class a has 6 images, too few: 6 would be for training and 0");
  EXPECT_FALSE(fs::exists(root / "split"));
}

TEST(Split, NeedsClassesAndNamesWithoutSpaces) {
  TemporaryDirectory root;
  write_chip(root / "images/x.npy", 1);
  write_chip(root / "images/y.npy", 2);
  EXPECT_CONTAINS(message_of<UsageError>([&] { make_split(options_for(root)); }), "has no classes");
  TemporaryDirectory other;
  write_class_folders(other / "images", 1, 3);
  write_chip(other / "images/a/with space.npy", 1);
  EXPECT_CONTAINS(message_of<UsageError>([&] { make_split(options_for(other)); }), "white space");
}

TEST(Split, RefusesToOverwrite) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 2, 4);
  make_split(options_for(root));
  EXPECT_CONTAINS(message_of<UsageError>([&] { make_split(options_for(root)); }), "--overwrite");
}

TEST(Split, ExactDuplicatesAcrossTheSplit) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 1, 12);
  for (int i = 0; i < 12; ++i) {  // every image twice: some pair must come apart
    fs::copy_file(root / ("images/a/chip" + std::to_string(i) + ".npy"),
                  root / ("images/a/copy" + std::to_string(i) + ".npy"));
  }
  SplitOptions options = options_for(root);
  options.duplicates = "refuse";
  const std::string message = message_of<UsageError>([&] { make_split(options); });
  EXPECT_CONTAINS(message, "have the same bytes");
  EXPECT_CONTAINS(message, "--duplicates=report");
  options.duplicates = "report";
  const Json split = make_split(options);
  EXPECT_EQ(split["duplicate_groups"], 12);
  EXPECT_EQ(split["duplicate_names"][0], (Json{"a/chip0.npy", "a/copy0.npy"}));
  EXPECT_EQ(split["repeats_with_duplicates_across"], 2);
  const auto dataset = open_dataset(options.data);
  EXPECT_EQ(check_split(root / "split", *dataset)["repeats_with_duplicates_across"], 2);
}

class SplitCheck : public ::testing::Test {
 protected:
  SplitCheck() {
    write_class_folders(root_ / "images", 2, 8);
    options_ = options_for(root_);
    make_split(options_);
  }
  std::string problem() {
    return message_of<UsageError>(
        [&] { check_split(root_ / "split", *open_dataset(options_.data)); });
  }
  // Changes a list and its stored hash, as somebody would who edits by hand and means it.
  void rewrite_list(const std::string& file, const std::string& text) {
    test::write_text(root_ / "split" / file, text);
    Json split = Json::parse(read_file(root_ / "split/split.json"));
    for (Json& list : split["lists"]) {
      if (list["file"].get<std::string>() == file) list["sha256"] = sha256_hex(text);
    }
    test::write_text(root_ / "split/split.json", split.dump());
  }

  TemporaryDirectory root_;
  SplitOptions options_;
};

TEST_F(SplitCheck, AcceptsWhatItMade) {
  const Json report = check_split(root_ / "split", *open_dataset(options_.data));
  EXPECT_EQ(report["images"], 16);
  EXPECT_EQ(report["lists"], 4);
  // A file added later is in no list and does no harm.
  write_chip(root_ / "images/a/new.npy", 5);
  EXPECT_EQ(check_split(root_ / "split", *open_dataset(options_.data))["images"], 17);
}

TEST_F(SplitCheck, AChangedFileUnderAStoredSplit) {
  write_chip(root_ / "images/b/chip3.npy", 999);
  const std::string message = problem();
  EXPECT_CONTAINS(message, "b/chip3.npy was changed after the split");
  EXPECT_CONTAINS(message, "HINT");
}

// Lists given directly are checked as the whole split is.
TEST_F(SplitCheck, AChangedFileOfAListThatIsOpened) {
  const auto open_list = [&](const std::string& file, bool skip_bad = false) {
    DatasetOptions data = options_.data;
    data.list = root_ / ("split/" + file);
    data.skip_bad = skip_bad;
    return open_dataset(data)->size();
  };
  const std::vector<std::string> train = names_in(root_ / "split/train_labels_55_0.txt");
  EXPECT_EQ(open_list("train_labels_55_0.txt"), 8);
  write_chip(root_ / ("images/" + train[5]), 999);
  for (const bool skip_bad : {false, true}) {
    const std::string message =
        message_of<UsageError>([&] { open_list("train_labels_55_0.txt", skip_bad); });
    EXPECT_CONTAINS(message, train[5] + " was changed after the split");
    EXPECT_CONTAINS(message, "HINT: restore the file");
  }
  // It is no sample of the other list, and a list beside the split that is not of it is free.
  EXPECT_EQ(open_list("valid_labels_55_0.txt"), 8);
  test::write_text(root_ / "split/mine.txt", train[5] + " a 0\n");
  EXPECT_EQ(open_list("mine.txt"), 1);
  // Samples that are left out as missing do not shift the others.
  fs::remove(root_ / ("images/" + train[1]));
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_list("train_labels_55_0.txt", true); }),
                  train[5] + " was changed");
  fs::remove(root_ / ("images/" + train[5]));
  EXPECT_EQ(open_list("train_labels_55_0.txt", true), 6);
  test::write_text(root_ / "split/contents.sha256", "");
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_list("valid_labels_55_0.txt"); }),
                  "contents.sha256 was changed");
}

TEST_F(SplitCheck, AListOfShardsAndOfFilesBelowAnotherFolder) {
  PackOptions pack;
  pack.data.root = options_.data.root;
  pack.output = root_ / "shards";
  pack.encoding = "file";  // the same bytes
  pack_dataset(pack);
  DatasetOptions data;
  data.root = pack.output;
  data.list = root_ / "split/train_labels_55_0.txt";
  EXPECT_EQ(open_dataset(data)->size(), 8);
  // The layout of RVSA: all images below all_img.
  fs::create_directories(root_ / "moved");
  fs::rename(root_ / "images", root_ / "moved/all_img");
  data.root = root_ / "moved";
  EXPECT_EQ(open_dataset(data)->size(), 8);
  const std::string name = names_in(data.list)[2];
  write_chip(root_ / ("moved/all_img/" + name), 999);
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_dataset(data); }),
                  "all_img/" + name + " was changed");
}

TEST_F(SplitCheck, AMissingFile) {
  fs::remove(root_ / "images/b/chip3.npy");
  EXPECT_CONTAINS(problem(), "names b/chip3.npy, which is not in");
}

TEST_F(SplitCheck, AChangedList) {
  const fs::path list = root_ / "split/valid_labels_55_1.txt";
  write_file_atomically(list, read_file(list) + "a/other.npy a 0\n");
  EXPECT_CONTAINS(problem(), "valid_labels_55_1.txt was changed after the split");
  // Opening such a list says so as well.
  DatasetOptions data = options_.data;
  data.list = list;
  EXPECT_CONTAINS(message_of<UsageError>([&] { open_dataset(data); }), "was changed");
}

TEST_F(SplitCheck, AChangedContentList) {
  const fs::path contents = root_ / "split/contents.sha256";
  std::string text = read_file(contents);
  text[0] = text[0] == '0' ? '1' : '0';
  write_file_atomically(contents, text);
  EXPECT_CONTAINS(problem(), "contents.sha256 was changed");
}

TEST_F(SplitCheck, TrainAndTestOverlap) {
  const std::string train = read_file(root_ / "split/train_labels_55_0.txt");
  const std::string line = train.substr(0, train.find('\n') + 1);
  rewrite_list("valid_labels_55_0.txt", read_file(root_ / "split/valid_labels_55_0.txt") + line);
  // Also the counts differ; either finding names the list or the file.
  EXPECT_CONTAINS(problem(), "valid_labels_55_0.txt");
  Json split = Json::parse(read_file(root_ / "split/split.json"));
  for (Json& list : split["lists"]) {
    if (list["file"] == "valid_labels_55_0.txt") list["per_class"]["a"] = 5;
  }
  test::write_text(root_ / "split/split.json", split.dump());
  EXPECT_CONTAINS(problem(), "is in the train and in the test list of seed 0");
}

TEST_F(SplitCheck, NoSplitAtAll) {
  fs::remove(root_ / "split/split.json");
  EXPECT_CONTAINS(problem(), "has no split.json");
}

TEST(Split, ByLocation) {
  TemporaryDirectory root;
  RecordLayout layout;
  layout.height = layout.width = 2;
  layout.bands = 1;
  layout.class_names = {"land"};
  {
    ShardSetWriter writer(root / "images", layout, {});
    for (int row = 0; row < 30; ++row) {
      for (int column = 0; column < 30; ++column) {
        const auto pixels =
            test::random_pixels<uint8_t>(4, static_cast<uint64_t>(int64_t{row} * 30 + column), 256);
        Record record;
        record.name = std::to_string(row) + "_" + std::to_string(column);
        record.label = 0;
        record.longitude_latitude = {{column + 0.5, row + 0.5}};
        record.bytes = test::bytes_of(pixels);
        writer.add(record);
      }
    }
    writer.finish();
  }
  SplitOptions options = options_for(root);
  options.by = "location";
  options.duplicates = "report";
  options.train_ratio = 0.7;
  options.margin_degrees = 1;
  const Json split = make_split(options);
  const auto train = names_in(root / "split/train_labels_location_0.txt");
  const auto test = names_in(root / "split/valid_labels_location_0.txt");
  EXPECT_GT(test.size(), 200u);
  EXPECT_LT(test.size(), 550u);
  EXPECT_GT(split["lists"][0]["left_out_in_margin"], 0);
  EXPECT_LT(train.size() + test.size(), 900u);
  // Chips one degree wide: no train chip may overlap a test chip.
  const auto place = [](const std::string& name) {
    return std::pair{std::stoi(name), std::stoi(name.substr(name.find('_') + 1))};
  };
  for (const std::string& a : train) {
    for (const std::string& b : test) {
      const auto [row_a, column_a] = place(a);
      const auto [row_b, column_b] = place(b);
      ASSERT_GE(std::max(std::abs(row_a - row_b), std::abs(column_a - column_b)), 1);
    }
  }
  // Other seeds, other blocks.
  EXPECT_NE(test, names_in(root / "split/valid_labels_location_1.txt"));

  write_class_folders(root / "plain", 1, 3);
  options.data.root = root / "plain";
  options.output = root / "none";
  EXPECT_CONTAINS(message_of<UsageError>([&] { make_split(options); }), "has no coordinates");
}

TEST(Split, RankClassIsNested) {
  TemporaryDirectory root;
  write_class_folders(root / "images", 1, 10);
  SplitOptions options = options_for(root);
  const auto dataset = open_dataset(options.data);
  std::vector<int64_t> all(10);
  for (int64_t i = 0; i < 10; ++i) all[static_cast<size_t>(i)] = i;
  const auto order = rank_class(*dataset, all, "e3");
  std::set<int64_t> seen(order.begin(), order.end());
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_NE(order, rank_class(*dataset, all, "e4"));
  EXPECT_EQ(sha256_hex("e3:" + dataset->sample(order[0]).name), [&] {
    std::string smallest = "g";
    for (int64_t i = 0; i < 10; ++i) {
      smallest = std::min(smallest, sha256_hex("e3:" + dataset->sample(i).name));
    }
    return smallest;
  }());
}

// The real images, where they are: the paper's split of UCM.
TEST(Split, UcMercedHalfAndHalf) {
  const char* root = std::getenv("SWATH_DATA");
  if (root == nullptr || !fs::exists(fs::path(root) / "ucm")) {
    GTEST_SKIP() << "SWATH_DATA/ucm is not there";
  }
  TemporaryDirectory output;
  SplitOptions options;
  options.data.root = fs::path(root) / "ucm";
  options.preset = "ucm";
  options.output = output / "split";
  const Json split = make_split(options);
  EXPECT_EQ(split["train"], 1050);
  EXPECT_EQ(split["test"], 1050);
  for (const auto& [name, count] : split["lists"][0]["per_class"].items()) EXPECT_EQ(count, 50);
  EXPECT_EQ(split["duplicate_names"].dump(),
            R"([["airplane/airplane01.jpg","airplane/airplane02.jpg"]])");
  EXPECT_EQ(check_split(output / "split", *open_dataset(options.data))["images"], 2100);
}

}  // namespace
}  // namespace swath::data
