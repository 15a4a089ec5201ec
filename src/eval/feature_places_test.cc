#include "eval/feature_places.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "data/modis/granule_table.h"

namespace swath::eval {
namespace {
namespace fs = std::filesystem;

// Raw images of 4 x 4 pixels that know no more than their names and positions.
class NamedDataset : public data::Dataset {
 public:
  explicit NamedDataset(std::vector<data::Sample> samples) : samples_(std::move(samples)) {
    for (size_t i = 0; i < samples_.size(); ++i) samples_[i].id = 100 + i;
  }
  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  data::Sample sample(int64_t index) const override { return samples_[static_cast<size_t>(index)]; }
  data::ImageSource source(int64_t index, std::vector<std::byte>*) const override {
    data::ImageSource source;
    source.name = sample(index).name;
    source.bytes = pixels_;
    data::ImageInfo info;
    info.width = info.height = 4;
    info.bands = 1;
    source.raw = info;
    return source;
  }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::string description() const override { return "named images"; }

 private:
  std::vector<data::Sample> samples_;
  std::vector<std::byte> pixels_ = std::vector<std::byte>(16);
  std::vector<std::string> class_names_;
};

data::Sample named(const std::string& name) {
  data::Sample sample;
  sample.name = name;
  return sample;
}

data::Sample placed(const std::string& name, double longitude, double latitude) {
  data::Sample sample = named(name);
  sample.longitude_latitude = {longitude, latitude};
  return sample;
}

NamedDataset mixed_dataset() {
  return NamedDataset({placed("MYD021KM.A2012123.1005/r00128c00256", -12.5, 80.25),
                       placed("harbour, \"north\".png", 179.5, -1), named("plain.png"),
                       named("MOD021KM.A2012123.1000/r00000c00000"),
                       named("MOD021KM.A2012123.1000/center")});
}

// Of the images at `rows`, as an extraction that left others out gives them.
FeatureSet features_of(const data::Dataset& dataset, const std::vector<int64_t>& rows) {
  FeatureSet features;
  for (const int64_t row : rows) {
    features.names.push_back(dataset.sample(row).name);
    features.sample_ids.push_back(dataset.sample(row).id);
  }
  features.features_ND = at::zeros({static_cast<int64_t>(rows.size()), 2}, at::kFloat);
  return features;
}

TEST(FeaturePlaces, TheTableFollowsTheFeaturesAndLeavesUnknownCellsEmpty) {
  const NamedDataset dataset = mixed_dataset();
  const FeatureSet features = features_of(dataset, {4, 0, 1, 2});
  const FeaturePlaces places = places_of(features, dataset);
  EXPECT_TRUE(places.is_any_known());
  EXPECT_EQ(places.chip_size, 4);
  EXPECT_EQ(
      places_text(features, places, {2, 0, 1, 0}),
      "name,longitude,latitude,granule,platform,row,column,cluster\n"
      "MOD021KM.A2012123.1000/center,,,MOD021KM.A2012123.1000,Terra,,,2\n"
      "MYD021KM.A2012123.1005/r00128c00256,-12.5,80.25,MYD021KM.A2012123.1005,Aqua,128,256,0\n"
      "\"harbour, \"\"north\"\".png\",179.5,-1,,,,,1\n"
      "plain.png,,,,,,,0\n");
  EXPECT_NE(places_text(features, places, {}).find("plain.png,,,,,,,\n"), std::string::npos);
}

TEST(FeaturePlaces, ImagesWithoutAnyPlaceHaveNone) {
  const NamedDataset dataset({named("a.png"), named("r1_c2.png")});
  const FeaturePlaces places = places_of(features_of(dataset, {0, 1}), dataset);
  EXPECT_FALSE(places.is_any_known());
  EXPECT_EQ(places.chip_size, 0);
  FeatureSet strangers = features_of(dataset, {0});
  strangers.sample_ids[0] = 7;
  EXPECT_THROW(places_of(strangers, dataset), Error);
}

TEST(FeaturePlaces, GranulesAreCountedAndSyntheticOnesNamed) {
  const fs::path chips = fs::path(testing::TempDir()) / "swath_feature_places";
  fs::remove_all(chips);
  fs::create_directories(chips / data::modis::kQuickLookFolder);
  const NamedDataset dataset = mixed_dataset();
  const FeaturePlaces places = places_of(features_of(dataset, {0, 1, 2, 3, 4}), dataset);
  Json unknown = describe_places(places, chips);
  EXPECT_TRUE(unknown["synthetic"].is_null());
  EXPECT_TRUE(unknown["granules"][0]["synthetic"].is_null());
  write_file_atomically(chips / data::modis::kGranuleTableFile,
                        std::string(data::modis::kGranuleTableHeader) +
                            "\nMYD021KM.A2012123.1005,,4,2,,0,5 km,1,\"\"\n"
                            "MOD021KM.A2012123.1000,,4,2,,0,5 km,0,\"\"\n");
  // A shard stands for the folder it lies in.
  const Json known = describe_places(places, chips / "shard-00000.shard");
  EXPECT_EQ(known["placed"], 2);
  EXPECT_EQ(known["synthetic"], 1);
  ASSERT_EQ(known["granules"].size(), 2U);
  EXPECT_EQ(known["granules"][0], (Json{{"name", "MOD021KM.A2012123.1000"},
                                        {"platform", "Terra"},
                                        {"chips", 2},
                                        {"synthetic", false}}));
  EXPECT_EQ(known["granules"][1]["synthetic"], true);
  EXPECT_TRUE(fs::equivalent(known["quick_looks"].get<std::string>(),
                             chips / data::modis::kQuickLookFolder));
}

// In another unit a feature says the same, and moves no image into another cluster.
TEST(FeaturePlaces, ClustersWeighFeaturesAlikeAndTheLargestComesFirst) {
  FeatureSet features;
  features.features_ND = at::zeros({200, 3}, at::kFloat);
  Random random(3, RandomPurpose::kTest);
  float* values = features.features_ND.mutable_data_ptr<float>();
  for (int64_t i = 0; i < 600; ++i) values[i] = static_cast<float>(random.normal());
  const std::vector<int64_t> clusters = cluster_features(features, 5, 1).clusters;
  features.features_ND.select(1, 2).mul_(1024);
  EXPECT_EQ(cluster_features(features, 5, 1).clusters, clusters);
  KMeansOptions options;
  options.clusters = 5;
  EXPECT_NE(numbered_by_size(kmeans(features.features_ND, options, 1)).clusters, clusters);
  std::vector<int64_t> sizes(5);
  for (const int64_t cluster : clusters) ++sizes[static_cast<size_t>(cluster)];
  EXPECT_TRUE(std::is_sorted(sizes.rbegin(), sizes.rend()));
  EXPECT_GT(sizes.back(), 0);
}

}  // namespace
}  // namespace swath::eval
