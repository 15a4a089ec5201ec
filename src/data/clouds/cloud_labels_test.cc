#include "data/clouds/cloud_labels.h"

#include <gtest/gtest.h>

#include "data/clouds/label_files.h"
#include "data/clouds/label_netcdf.h"
#include "data/clouds/label_table.h"

namespace swath::data::clouds {
namespace {

using data::test::message_of;
using data::test::TemporaryDirectory;
using data::test::write_text;
using test::label_grid;

const Granule kTerra = {Platform::kTerra, 2012123, 1015};
const Granule kAqua = {Platform::kAqua, 2012123, 1320};

void expect_same(const CloudLabels& a, const CloudLabels& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(a.raw, b.raw);
  EXPECT_EQ(a.derived, b.derived);
  EXPECT_EQ(a.property_names, b.property_names);
  for (int64_t i = 0; i < a.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_EQ(a.places[at].granule, b.places[at].granule);
    for (size_t p = 0; p < a.property_names.size(); ++p) {
      const double value = a.properties_of(i)[p];
      EXPECT_TRUE(value == b.properties_of(i)[p] ||
                  (std::isnan(value) && std::isnan(b.properties_of(i)[p])))
          << i;
    }
  }
}

TEST(CloudLabels, TablesComeBackAsWritten) {
  TemporaryDirectory root;
  CloudLabels labels = label_grid({kTerra, kAqua}, 2, 3, 1, 4);
  labels.form = "table";
  labels.derived = "a known field, with commas";
  write_label_table(root / "labels.csv", labels);
  const CloudLabels read = read_cloud_labels(root.path());
  EXPECT_EQ(read.form, "table");
  expect_same(labels, read);
  for (size_t i = 0; i < labels.places.size(); ++i) {
    EXPECT_EQ(read.places[i].latitude, labels.places[i].latitude);
    EXPECT_EQ(read.places[i].longitude, labels.places[i].longitude);
    EXPECT_FALSE(read.places[i].has_pixel());
  }
}

// As data frames write them: a nameless index, floats for numbers with gaps, quotes, CRLF.
TEST(CloudLabels, TablesOfDataFramesAreRead) {
  TemporaryDirectory root;
  write_text(root / "2012.csv",
             "\xef\xbb\xbf,platform,Label,Timestamp,lat,lon,Cloud_Fraction\r\n"
             "0,TERRA,12.0,2012-05-02 10:18:30,-20.5,120.25,\"0.5\"\r\n"
             "1,aqua,43,2012-12-31T23:55:00,1,2,NA\r\n");
  const CloudLabels labels = read_cloud_labels(root / "2012.csv");
  EXPECT_EQ(labels.raw, (std::vector<int64_t>{12, 43}));
  EXPECT_EQ(labels.places[0].granule, kTerra);
  EXPECT_EQ(labels.places[1].granule, (Granule{Platform::kAqua, 2012366, 2355}));
  EXPECT_EQ(labels.property_names, std::vector<std::string>{"Cloud_Fraction"});
  EXPECT_EQ(labels.properties[0], 0.5);
  EXPECT_TRUE(std::isnan(labels.properties[1]));
  EXPECT_EQ(labels.derived, "");
}

// Texts beside the numbers, one of which begins with a gap; of other granules too.
TEST(CloudLabels, ColumnsOfTextsAreNoProperties) {
  TemporaryDirectory root;
  write_text(root / "t.csv",
             "filename,Label,Timestamp,lat,lon,platform,pressure,note,radius\n"
             "a.hdf,1,2012-05-02 13:20:00,0,0,Aqua,500,,7\n"
             "b.hdf,2,2012-05-02 13:20:00,0,2,Aqua,NA,NA,8\n"
             "c.hdf,3,2012-05-02 10:15:00,0,4,Terra,600,glint,9\n"
             "d.hdf,4,2012-05-02 13:20:00,0,6,Aqua,700,,NA\n");
  testing::internal::CaptureStderr();
  const std::set<Granule> wanted = {kAqua};
  const CloudLabels labels = read_cloud_labels(root / "t.csv", &wanted);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_CONTAINS(log, "t.csv: columns that hold no numbers are passed over: filename, note.");
  EXPECT_EQ(labels.raw, (std::vector<int64_t>{1, 2, 4}));
  EXPECT_EQ(labels.property_names, (std::vector<std::string>{"pressure", "radius"}));
  ASSERT_EQ(labels.properties.size(), 6U);
  EXPECT_EQ(labels.properties_of(0)[0], 500);
  EXPECT_EQ(labels.properties_of(0)[1], 7);
  EXPECT_TRUE(std::isnan(labels.properties_of(1)[0]));
  EXPECT_EQ(labels.properties_of(1)[1], 8);
  EXPECT_EQ(labels.properties_of(2)[0], 700);
  EXPECT_TRUE(std::isnan(labels.properties_of(2)[1]));
  // A column of numbers stays one: a text in it is a mistake.
  write_text(root / "t.csv",
             "Label,Timestamp,lat,lon,platform,pressure\n"
             "1,2012-05-02 13:20:00,0,0,Aqua,500\n"
             "2,2012-05-02 13:20:00,0,2,Aqua,5oo\n");
  EXPECT_CONTAINS(message_of<Error>([&] { read_cloud_labels(root / "t.csv"); }),
                  "t.csv:3: property `5oo` is no number");
}

TEST(CloudLabels, BadTablesAreNamedByLine) {
  TemporaryDirectory root;
  const std::string header = "Label,Timestamp,lat,lon,platform\n";
  const auto message = [&](const std::string& text) {
    write_text(root / "t.csv", text);
    return message_of<Error>([&] { read_cloud_labels(root / "t.csv"); });
  };
  EXPECT_CONTAINS(message("Label,lat,lon,platform\n"), "no column `Timestamp`");
  EXPECT_CONTAINS(message(header + "1,2012-05-02 10:15:00,0,0,Landsat\n"), "t.csv:2: `Landsat`");
  EXPECT_CONTAINS(message(header + "1,2012-05-02 10:15:00,0,0,Terra\n1.5,2012-05-02 10:15:00,0,0,"
                                   "Terra\n"),
                  "t.csv:3: `1.5` is no class");
  EXPECT_CONTAINS(message(header + ",2012-05-02 10:15:00,0,0,Terra\n"), "no class number");
  EXPECT_CONTAINS(message(header + "1,2012-02-30 10:15:00,0,0,Terra\n"), "no date");
  EXPECT_CONTAINS(message(header + "1,yesterday,0,0,Terra\n"), "`yesterday`");
  EXPECT_CONTAINS(message(header + "1,2012-05-02 10:15:00,91,0,Terra\n"), "no place");
  EXPECT_CONTAINS(message(header + "1,2012-05-02 10:15:00,0\n"), "3 cells");
  EXPECT_CONTAINS(message(header), "holds no label");
}

TEST(CloudLabels, OfOtherGranulesAreOnlyCounted) {
  TemporaryDirectory root;
  CloudLabels labels = label_grid({kTerra, kAqua}, 2, 3, 1, 4);
  labels.form = "table";
  write_label_table(root / "labels.csv", labels);
  const std::set<Granule> wanted = {kAqua};
  const CloudLabels read = read_cloud_labels(root.path(), &wanted);
  EXPECT_EQ(read.size(), 6);
  for (const ChipPlace& place : read.places) EXPECT_EQ(place.granule, kAqua);
  EXPECT_EQ(read.others.count, 6);
  int64_t counted = 0;
  for (const auto& [raw, count] : read.others.raw) counted += count;
  EXPECT_EQ(counted, 6);
  EXPECT_EQ(read.others.spans.at(Platform::kTerra), std::pair(kTerra, kTerra));
  if (!has_netcdf()) return;
  TemporaryDirectory files;
  CloudLabels other = label_grid({kTerra}, 2, 3, 0, 4);
  write_label_netcdf(files / "CMPST_MOD021KM.A2012123.1015.nc", other);
  const CloudLabels none = read_cloud_labels(files.path(), &wanted);
  EXPECT_EQ(none.size(), 0);
  EXPECT_EQ(none.others.count, 6);
}

TEST(CloudLabels, OriginsAndFormsAreNotMixed) {
  TemporaryDirectory root;
  CloudLabels labels = label_grid({kTerra}, 1, 2, 1, 4);
  labels.form = "table";
  write_label_table(root / "a.csv", labels);
  labels.derived = "a known field";
  write_label_table(root / "b.csv", labels);
  EXPECT_CONTAINS(message_of<UsageError>([&] { read_cloud_labels(root.path()); }), "derived");
  EXPECT_CONTAINS(message_of<UsageError>([&] { read_cloud_labels(root / "none"); }),
                  "does not exist");
  TemporaryDirectory empty;
  EXPECT_THROW(read_cloud_labels(empty.path()), UsageError);
}

// Labels of other options or granules must not be read together with the new ones.
TEST(CloudLabels, NewLabelsReplaceDerivedOnesAndNoOthers) {
  const TemporaryDirectory root;
  const std::string folder = (root / "labels").string();
  CloudLabels labels = label_grid({kTerra}, 1, 2, 0, 2);
  labels.form = "table";
  labels.derived = "of pixels";
  EXPECT_EQ(new_label_directory(folder, false), folder);
  write_labels_with_map(folder, labels, {{0, "a"}, {1, "b"}});
  EXPECT_CONTAINS(message_of<UsageError>([&] { new_label_directory(folder, false); }), "not empty");
  if (has_netcdf()) {
    labels.form = "netcdf";
    new_label_directory(folder, true);
    write_labels_with_map(folder, labels, {{0, "a"}, {1, "b"}});
    EXPECT_FALSE(std::filesystem::exists(root / "labels/labels.csv"));
    EXPECT_EQ(read_cloud_labels(folder).size(), labels.size());
    labels = label_grid({kAqua}, 1, 2, 0, 2);
    labels.derived = "of pixels";
  }
  labels.form = "table";
  write_labels_with_map(folder, labels, {{0, "a"}, {1, "b"}});
  EXPECT_EQ(read_cloud_labels(folder).size(), labels.size());
  labels.derived = "";
  write_label_table(root / "labels/mine.csv", labels);
  EXPECT_CONTAINS(message_of<UsageError>([&] { new_label_directory(folder, true); }),
                  "mine.csv was not derived");
  EXPECT_TRUE(std::filesystem::exists(root / "labels/labels.csv"));
}

TEST(CloudLabels, PropertiesOfDifferentFilesAreAligned) {
  CloudLabels a = label_grid({kTerra}, 1, 2, 1, 4);
  a.form = "table";
  CloudLabels b = a;
  b.property_names = {"Cloud_Fraction"};
  a.append(b);
  EXPECT_EQ(a.property_names,
            (std::vector<std::string>{"Cloud_Top_Pressure_mean", "Cloud_Fraction"}));
  EXPECT_EQ(a.properties_of(0)[0], 500);
  EXPECT_TRUE(std::isnan(a.properties_of(0)[1]));
  EXPECT_TRUE(std::isnan(a.properties_of(2)[0]));
  EXPECT_EQ(a.properties_of(3)[1], 600);
}

TEST(CloudLabelsNetcdf, ComeBackAsWritten) {
  if (!has_netcdf()) GTEST_SKIP() << "built without NetCDF";
  TemporaryDirectory root;
  CloudLabels labels = label_grid({kAqua}, 2, 3, 0, 4);
  labels.derived = "a known field";
  labels.property_names = {"Cloud_Optical_Thickness_mean"};
  write_label_netcdf(root / "CMPST_MYD021KM.A2012123.1320.061.nc", labels);
  const CloudLabels read = read_cloud_labels(root.path());
  EXPECT_EQ(read.form, "netcdf");
  expect_same(labels, read);
  EXPECT_EQ(read.places[4].row, 128);
  EXPECT_EQ(read.places[4].column, 128);
}

TEST(CloudLabelsNetcdf, GroupsOfPropertiesAreTheProducers) {
  if (!has_netcdf()) GTEST_SKIP() << "built without NetCDF";
  TemporaryDirectory root;
  CloudLabels labels = label_grid({kTerra}, 1, 1, 0, 1);
  labels.property_names = {"Cloud_Optical_Thickness_mean", "Cloud_Optical_Thickness_std",
                           "Cloud_Phase_Infrared_ice"};
  labels.properties = {4, 5, 6};
  write_label_netcdf(root / "CMPST_MOD021KM.A2012123.1015.nc", labels);
  expect_same(labels, read_cloud_labels(root.path()));
}

// Files that netCDF4-python wrote (testdata/clouds/make_fixtures.py).
TEST(CloudLabelsNetcdf, FilesInTheProducersLayoutAreRead) {
  if (!has_netcdf()) GTEST_SKIP() << "built without NetCDF";
  const std::filesystem::path fixtures = std::filesystem::path(SWATH_TESTDATA) / "clouds";
  const CloudLabels labels =
      read_label_netcdf(fixtures / "CMPST_MYD021KM.A2012123.1320.061.2018046032403.nc");
  EXPECT_EQ(labels.derived, "");
  EXPECT_EQ(labels.raw, (std::vector<int64_t>{7, 0, 41}));
  EXPECT_EQ(labels.places[2].granule, kAqua);
  EXPECT_EQ(labels.places[2].row, 1792);
  EXPECT_EQ(labels.places[2].column, 1152);
  EXPECT_FALSE(labels.places[2].has_position());
  EXPECT_EQ(labels.property_names,
            (std::vector<std::string>{"Cloud_Optical_Thickness_mean", "Cloud_Optical_Thickness_std",
                                      "Cloud_Phase_Infrared_ice", "Cloud_Phase_Infrared_water"}));
  EXPECT_EQ(labels.properties_of(0)[0], 12.5);
  EXPECT_TRUE(std::isnan(labels.properties_of(1)[0]));
  EXPECT_EQ(labels.properties_of(2)[1], 3);
  EXPECT_EQ(labels.properties_of(0)[2], 100);
  EXPECT_TRUE(std::isnan(labels.properties_of(1)[2]));
  EXPECT_EQ(labels.properties_of(2)[2], 16384);
  EXPECT_EQ(labels.properties_of(0)[3], 16384);
  EXPECT_TRUE(std::isnan(labels.properties_of(1)[3]));  // the variable's own fill value
  EXPECT_EQ(labels.properties_of(2)[3], 0);
}

TEST(CloudLabelsNetcdf, BadFilesAreNamed) {
  if (!has_netcdf()) GTEST_SKIP() << "built without NetCDF";
  const std::filesystem::path fixtures = std::filesystem::path(SWATH_TESTDATA) / "clouds";
  const auto message = [](const std::filesystem::path& path) {
    return message_of<Error>([&] { read_label_netcdf(path); });
  };
  EXPECT_CONTAINS(message(fixtures / "no_labels.nc"),
                  "no_labels.nc has no variable `labels_nc-42`");
  EXPECT_CONTAINS(message(fixtures / "float_labels.nc"), "`labels_nc-42` that is no integer");
  EXPECT_CONTAINS(message(fixtures / "no_coords.nc"), "no_coords.nc has no variable `coords`");
  EXPECT_CONTAINS(message(fixtures / "wrong_granule_MYD021KM.A2012123.1325.nc"),
                  "is of Aqua A2012123.1325 by its name and of Aqua A2012123.1320");
  TemporaryDirectory root;
  CloudLabels labels = label_grid({kTerra}, 1, 2, 0, 2);
  write_label_netcdf(root / "MOD021KM.A2012123.1015.nc", labels);
  const auto size = std::filesystem::file_size(root / "MOD021KM.A2012123.1015.nc");
  data::test::truncate_file(root / "MOD021KM.A2012123.1015.nc", size / 2);
  EXPECT_CONTAINS(message(root / "MOD021KM.A2012123.1015.nc"), "cannot be opened");
  labels.places[1].granule = kAqua;
  EXPECT_THROW(write_label_netcdf(root / "two.nc", labels), UsageError);
}

}  // namespace
}  // namespace swath::data::clouds
