#include "data/clouds/derive_labels.h"

#include <gtest/gtest.h>

#include "data/clouds/label_chips.h"
#include "data/clouds/label_files.h"
#include "data/clouds/label_netcdf.h"

namespace swath::data::clouds {
namespace {

using data::test::message_of;
using data::test::TemporaryDirectory;

Image image_of(const std::vector<uint16_t>& pixels, int64_t side) {
  Image image;
  image.width = side;
  image.height = side;
  image.bands = 1;
  image.type = PixelType::kUint16;
  const auto bytes = data::test::bytes_of(pixels);
  image.pixels.assign(bytes.begin(), bytes.end());
  return image;
}

TEST(DeriveLabels, SummaryByHand) {
  // Neighbours all differ by 2; the variance is 1.
  const FieldSummary checkered = summarize_field(image_of({1, 3, 3, 1}, 2), 0);
  EXPECT_DOUBLE_EQ(checkered.mean, 2);
  EXPECT_DOUBLE_EQ(checkered.deviation, 1);
  EXPECT_DOUBLE_EQ(checkered.texture, 4);
  // Two of four pairs of neighbours differ.
  const FieldSummary halves = summarize_field(image_of({1, 1, 3, 3}, 2), 0);
  EXPECT_DOUBLE_EQ(halves.deviation, 1);
  EXPECT_DOUBLE_EQ(halves.texture, 2);
  EXPECT_EQ(summarize_field(image_of({3, 1, 3, 1}, 2), 0).texture, halves.texture);
  EXPECT_EQ(summarize_field(image_of({5, 5, 5, 5}, 2), -1).texture, 0);
  EXPECT_THROW(summarize_field(image_of({5, 5, 5, 5}, 2), 1), UsageError);
}

TEST(DeriveLabels, BothFormsGiveTheSameClassesAndSayWhatTheyAre) {
  TemporaryDirectory root;
  std::vector<Granule> granules;
  for (int i = 0; i < 12; ++i) granules.push_back({Platform::kTerra, 2014020 + i, 1015});
  const CloudLabels grid = test::label_grid(granules, 2, 5, 1, 4);
  test::write_chips(root / "chips", grid.places);
  std::vector<Json> results;
  for (const char* form : {"table", "netcdf"}) {
    if (std::string(form) == "netcdf" && !has_netcdf()) continue;
    SCOPED_TRACE(form);
    DeriveOptions derive;
    derive.data.root = (root / "chips").string();
    derive.output = (root / form).string();
    derive.form = form;
    const Json derived = derive_labels(derive);
    EXPECT_EQ(derived["labels"], 120);
    EXPECT_EQ(derived["classes"], 6);
    EXPECT_CONTAINS(message_of<UsageError>([&] { derive_labels(derive); }), "not empty");
    LabelOptions label;
    label.data.root = derive.data.root;
    label.labels = derive.output;
    label.output = (root / form).string() + "_lists";
    label.split.by = "days";
    results.push_back(label_chips(label));
    EXPECT_CONTAINS(results.back()["derived"].get<std::string>(), "of the chips themselves");
    EXPECT_EQ(results.back()["join"]["matched"], 120);
  }
  if (results.size() < 2) GTEST_SKIP() << "built without NetCDF";
  EXPECT_EQ(results[0]["join"]["by"], "nearest");
  EXPECT_EQ(results[1]["join"]["by"], "pixel");
  EXPECT_EQ(results[0]["raw_counts"]["1"], results[1]["raw_counts"]["0"]);
  for (size_t i = 0; i < results[0]["lists"].size(); ++i) {
    if (!results[0]["lists"][i].contains("per_class")) continue;
    if (results[0]["lists"][i]["part"] == "train_fraction") continue;  // drawn by other names
    EXPECT_EQ(results[0]["lists"][i]["per_class"], results[1]["lists"][i]["per_class"]) << i;
  }
}

}  // namespace
}  // namespace swath::data::clouds
