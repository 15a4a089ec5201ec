#include "data/modis/product_labels.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "data/clouds/cloud_labels.h"
#include "data/clouds/label_map.h"
#include "data/clouds/label_netcdf.h"
#include "data/modis/chip_job.h"
#include "data/modis/granule.h"
#include "data/modis/hdf4_file.h"
#include "data/modis/hdf4_writer.h"
#include "data/modis/synthetic_granule.h"
#include "data/modis/synthetic_metadata.h"
#include "data/test_files.h"

namespace swath::data::modis {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TemporaryDirectory;

constexpr int64_t kSize = 20;

// Cuts the granules in "granules" into "chips"; returns the options that label those.
ProductLabelOptions cut_chips(const TemporaryDirectory& root) {
  ChipJobOptions chips;
  chips.root = (root / "granules").string();
  chips.output = (root / "chips").string();
  chips.chips.size = kSize;
  chips.chips.invalid = "clamp";
  chips.processes = 1;
  chips.quick_looks = false;
  make_chips(chips, LaunchEnvironment());
  ProductLabelOptions options;
  options.data.root = chips.output;
  options.products = chips.root;
  options.field = kRegimeField;
  options.output = (root / "labels").string();
  return options;
}

// A granule, its chips and the options that label them.
struct Fixture {
  Fixture() {
    SyntheticGranuleOptions granule;
    granule.scans = 12;
    granule.columns = 400;
    granule.has_faults = false;
    files = write_synthetic_granule(root / "granules", granule);
    options = cut_chips(root);
  }

  // Pixels of the chip at `place` that have each value of the regimes.
  std::map<int64_t, int64_t> counts_at(const clouds::ChipPlace& place) const {
    std::map<int64_t, int64_t> counts;
    for (int64_t y = place.row; y < place.row + kSize; ++y) {
      for (int64_t x = place.column; x < place.column + kSize; ++x) {
        ++counts[files.regimes[static_cast<size_t>(y * files.columns + x)]];
      }
    }
    return counts;
  }

  TemporaryDirectory root;
  SyntheticGranule files;
  ProductLabelOptions options;
};

TEST(ProductLabels, AreWhatMostPixelsOfEachChipAre) {
  Fixture fixture;
  for (const char* form : {"table", "netcdf"}) {
    if (std::string(form) == "netcdf" && !clouds::has_netcdf()) continue;
    SCOPED_TRACE(form);
    fixture.options.form = form;
    fixture.options.output = (fixture.root / form).string();
    const Json result = product_labels(fixture.options);
    const clouds::CloudLabels labels = clouds::read_cloud_labels(fixture.options.output);
    const auto chips = open_dataset(fixture.options.data);
    ASSERT_GT(labels.size(), 30);
    EXPECT_GT(result.at("classes"), 1);
    EXPECT_EQ(result.at("labels"), labels.size());
    EXPECT_EQ(labels.size() + result.at("unlabelled").at("mixed").get<int64_t>(), chips->size());
    EXPECT_CONTAINS(labels.derived, "Synthetic_Cloud_Regime");
    // Labels are in the order of the granule's chips; tables hold no rows and columns.
    const std::vector<clouds::ChipPlace> places = clouds::chip_places(*chips);
    int64_t next = 0;
    for (const clouds::ChipPlace& place : places) {
      int64_t most = 0;
      int64_t value = -1;
      for (const auto& [regime, count] : fixture.counts_at(place)) {
        if (count > most) {
          most = count;
          value = regime;
        }
      }
      if (2 * most < kSize * kSize) continue;
      ASSERT_LT(next, labels.size());
      EXPECT_EQ(labels.raw[static_cast<size_t>(next)], value);
      ++next;
    }
    EXPECT_EQ(next, labels.size());
    const clouds::LabelMap map = clouds::read_label_map("", fixture.options.output, form);
    EXPECT_EQ(static_cast<int64_t>(map.class_names().size()), result.at("classes"));
    for (const int64_t raw : labels.raw) {
      EXPECT_EQ(map.class_names()[static_cast<size_t>(map.class_of(raw))],
                cloud_regime_name(static_cast<CloudRegime>(raw)));
    }
  }
}

// Of the first chip with a label. Pressures are 0.1 hPa; temperatures 0.01 K, from 150 K on.
TEST(ProductLabels, PropertiesAreMeansOfTheCloudyPixels) {
  Fixture fixture;
  product_labels(fixture.options);
  const clouds::CloudLabels labels = clouds::read_cloud_labels(fixture.options.output);
  const auto places = clouds::chip_places(*open_dataset(fixture.options.data));
  const auto has_label = [&](const clouds::ChipPlace& place) {
    int64_t most = 0;
    for (const auto& [regime, count] : fixture.counts_at(place)) most = std::max(most, count);
    return 2 * most >= kSize * kSize;
  };
  const auto first = std::ranges::find_if(places, has_label);
  ASSERT_NE(first, places.end());
  struct Property {
    const char* name;
    size_t index;
    double scale;
    double offset;
  };
  for (const Property& property : {Property{"cloud_top_pressure_1km", 4, 0.1, 0},
                                   Property{"cloud_top_temperature_1km", 6, 0.01, -15000}}) {
    SCOPED_TRACE(property.name);
    ASSERT_EQ(labels.property_names[property.index], std::string(property.name) + "_mean");
    const auto counts = Hdf4File(fixture.files.mod06).read<int16_t>(property.name);
    double sum = 0;
    int64_t cloudy = 0;
    for (int64_t y = first->row; y < first->row + kSize; ++y) {
      for (int64_t x = first->column; x < first->column + kSize; ++x) {
        const int16_t count = counts[static_cast<size_t>(y * fixture.files.columns + x)];
        if (count == -9999) continue;
        sum += (count - property.offset) * property.scale;
        ++cloudy;
      }
    }
    ASSERT_GT(cloudy, 0);
    EXPECT_NEAR(labels.properties_of(0)[property.index], sum / static_cast<double>(cloudy), 1e-6);
  }
}

// As AICCA does before it takes means.
TEST(ProductLabels, ThicknessAboveAHundredIsLeftOut) {
  Fixture fixture;
  const fs::path& path = fixture.files.mod06;
  const std::string name = path.filename().string();
  std::vector<int16_t> thickness(fixture.files.regimes.size(), 15000);
  for (size_t i = 0; i < thickness.size(); i += 2) thickness[i] = 9000;
  {
    const std::vector<int64_t> shape = {fixture.files.rows, fixture.files.columns};
    Hdf4Writer writer(path);
    writer.add_array(kRegimeField, NumberType::kUint8, shape, {"rows", "columns"},
                     fixture.files.regimes, 0);
    writer.add_array("Cloud_Optical_Thickness", NumberType::kInt16, shape, {"rows", "columns"},
                     thickness, 0);
    writer.add_numbers("Cloud_Optical_Thickness", "scale_factor", NumberType::kFloat64, {0.01});
    writer.add_text("", "CoreMetadata.0",
                    core_metadata(parse_granule_name(name).value(), name, /*is_day=*/true));
    writer.close();
  }
  product_labels(fixture.options);
  const clouds::CloudLabels labels = clouds::read_cloud_labels(fixture.options.output);
  ASSERT_EQ(labels.property_names[0], "Cloud_Optical_Thickness_mean");
  EXPECT_NEAR(labels.properties_of(0)[0], 90, 1e-9);
}

SyntheticGranuleOptions small(int minute) {
  SyntheticGranuleOptions granule;
  granule.minute = minute;
  granule.seed = static_cast<uint64_t>(minute);
  granule.scans = 4;
  granule.columns = 200;
  granule.has_faults = false;
  return granule;
}

// A MOD06 file in the place of that of the granule at `minute`.
void put_mod06(const fs::path& folder, const fs::path& file, int minute) {
  fs::rename(file, folder / fmt::format("MOD06_L2.A2012123.10{:02}.061.synthetic.hdf", minute));
}

// Cut off, of another granule, without the field, of fewer rows: each costs its granule's chips.
TEST(ProductLabels, FilesThatCannotBeUsedAreCountedWithTheirChips) {
  const TemporaryDirectory root;
  const fs::path granules = root / "granules";
  std::map<int, fs::path> mod06;
  for (int minute = 10; minute <= 30; minute += 5) {
    mod06[minute] = write_synthetic_granule(granules, small(minute)).mod06;
  }
  ProductLabelOptions options = cut_chips(root);
  fs::resize_file(mod06[15], 900);
  put_mod06(granules, write_synthetic_granule(root / "other", small(55)).mod06, 20);
  {
    const std::string file = mod06[25].filename().string();
    Hdf4Writer writer(mod06[25]);
    writer.add_array("Cloud_Mask_1km", NumberType::kInt8, {40, 200}, {"rows", "columns"},
                     std::vector<int8_t>(8000, 1), 0);
    writer.add_text("", "CoreMetadata.0",
                    core_metadata(parse_granule_name(file).value(), file, /*is_day=*/true));
  }
  SyntheticGranuleOptions shorter = small(30);
  shorter.scans = 2;
  put_mod06(granules, write_synthetic_granule(root / "other", shorter).mod06, 30);

  std::map<int32_t, int64_t> chips_of;  // by the granule's start
  for (const clouds::ChipPlace& place : clouds::chip_places(*open_dataset(options.data))) {
    ++chips_of[place.granule.start];
  }
  const auto message = [&] { return message_of<BadSample>([&] { product_labels(options); }); };
  EXPECT_CONTAINS(message(), mod06[15].string());
  EXPECT_CONTAINS(message(), "--skip-bad");
  EXPECT_FALSE(fs::exists(options.output));
  options.data.skip_bad = true;
  const Json result = product_labels(options);
  const Json& unlabelled = result.at("unlabelled");
  EXPECT_EQ(unlabelled.at("unreadable"), chips_of.at(1015));
  EXPECT_EQ(unlabelled.at("pair"), chips_of.at(1020));
  EXPECT_EQ(unlabelled.at("missing_data_set"), chips_of.at(1025));
  EXPECT_EQ(unlabelled.at("layout"), chips_of.at(1030));
  EXPECT_EQ(unlabelled.at("no_product"), 0);
  EXPECT_EQ(result.at("labels").get<int64_t>() + unlabelled.at("mixed").get<int64_t>(),
            chips_of.at(1010));
  EXPECT_GT(result.at("labels"), 0);
  ASSERT_EQ(result.at("bad").size(), 4U);
  EXPECT_EQ(result.at("bad")[1].at("reason"), "pair");
  EXPECT_EQ(result.at("bad")[1].at("name"), mod06[20].filename().string());
  const clouds::CloudLabels labels = clouds::read_cloud_labels(options.output);
  for (const clouds::ChipPlace& place : labels.places) EXPECT_EQ(place.granule.start, 1010);
  // The next of them is named in its turn.
  fs::remove(mod06[15]);
  options.data.skip_bad = false;
  options.output = (root / "again").string();
  EXPECT_CONTAINS(message(),
                  "belongs to Terra A2012123.1055, the granule of the chips is Terra "
                  "A2012123.1020");
  fs::remove(mod06[20]);
  EXPECT_CONTAINS(message(), "has no field `Synthetic_Cloud_Regime`; it has: Cloud_Mask_1km.");
}

TEST(ProductLabels, RefusesWhatDoesNotFit) {
  Fixture fixture;
  const auto message = [&](const ProductLabelOptions& options) {
    return message_of<Error>([&] { product_labels(options); });
  };
  ProductLabelOptions changed = fixture.options;
  changed.products = (fixture.root / "chips").string();
  EXPECT_CONTAINS(message(changed), "without a MOD06 file");
  changed = fixture.options;
  changed.products = (fixture.root / "nowhere").string();
  EXPECT_CONTAINS(message(changed), "nowhere");
  changed = fixture.options;
  changed.field = "Cloud_Mask_1km";
  EXPECT_CONTAINS(message(changed), "3 dimensions");
  changed.field = "Cloud_Mood";
  EXPECT_CONTAINS(message(changed), "Cloud_Mood");
  EXPECT_FALSE(fs::exists(fixture.options.output));
  product_labels(fixture.options);
  EXPECT_CONTAINS(message(fixture.options), "not empty");
}

}  // namespace
}  // namespace swath::data::modis
