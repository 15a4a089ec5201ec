#include "data/modis/granule.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <set>
#include <sstream>

#include "data/modis/cloud_mask.h"
#include "data/modis/geolocation.h"
#include "data/modis/hdf4_writer.h"
#include "data/modis/synthetic_granule.h"
#include "data/test_files.h"

namespace swath::data::modis {
namespace {

using test::message_of;
using test::TemporaryDirectory;

SyntheticGranuleOptions small(Platform platform = Platform::kTerra) {
  SyntheticGranuleOptions options;
  options.platform = platform;
  options.scans = 4;
  options.columns = 150;
  return options;
}

std::vector<uint16_t> band_of(const Granule& granule, const std::string& band) {
  std::vector<uint16_t> counts(static_cast<size_t>(granule.rows() * granule.columns()));
  granule.read_bands({band}, {counts.data()});
  return counts;
}

TEST(Granule, EveryBandComesBackToTheLastCountPlainAndDeflated) {
  for (const int level : {0, 5}) {
    const TemporaryDirectory root;
    SyntheticGranuleOptions options = small();
    options.deflate_level = level;
    const Granule granule(write_synthetic_granule(root.path(), options).level_1b);
    EXPECT_EQ(granule.rows(), 40);
    EXPECT_EQ(granule.columns(), 150);
    EXPECT_TRUE(granule.is_synthetic());
    // What the library itself says of the four arrays.
    const char* arrays[] = {"EV_250_Aggr1km_RefSB", "EV_500_Aggr1km_RefSB", "EV_1KM_RefSB",
                            "EV_1KM_Emissive"};
    size_t checked = 0;
    for (const char* array : arrays) {
      const auto whole = granule.file().read<uint16_t>(array);
      const std::string names = granule.file().text(array, "band_names").value() + ",";
      size_t begin = 0;
      for (size_t plane = 0; begin < names.size(); ++plane) {
        const size_t end = names.find(',', begin);
        const std::string band = names.substr(begin, end - begin);
        begin = end + 1;
        const auto counts = band_of(granule, band);
        ASSERT_TRUE(std::equal(counts.begin(), counts.end(),
                               whole.begin() + static_cast<int64_t>(plane * counts.size())))
            << band << " deflate " << level;
        ++checked;
      }
    }
    EXPECT_EQ(checked, all_bands().size());
  }
}

TEST(Granule, NamesTimesScansAndScalesAreRead) {
  const TemporaryDirectory root;
  const Granule granule(write_synthetic_granule(root.path(), small(Platform::kAqua)).level_1b);
  EXPECT_EQ(granule.platform(), Platform::kAqua);
  EXPECT_EQ(granule.name().time_text(), "A2012123.1035");
  EXPECT_EQ(granule.name().collection, "061");
  EXPECT_EQ(granule.day_night(), "Day");
  // 2 May 2012, 10:35 UTC.
  EXPECT_DOUBLE_EQ(granule.name().start(), 1335954900);
  ASSERT_EQ(granule.scans().size(), 4U);
  EXPECT_EQ(granule.scans()[0].type, 'D');
  EXPECT_NEAR(granule.scans()[0].start, 1335954900, 1e-3);
  EXPECT_NEAR(granule.scans()[3].start, 1335954900 + 3 * 1.4771, 1e-3);
  EXPECT_EQ(granule.scans()[2].type, 'O');
  const BandScales reflective = granule.scales("7");
  EXPECT_NEAR(reflective.radiance_scale, 0.00083204667 * 1.0005, 1e-9);
  EXPECT_NEAR(reflective.reflectance_scale, 2.9675668e-05 * 1.0005, 1e-11);
  const BandScales emissive = granule.scales("31");
  EXPECT_NEAR(emissive.radiance_offset, 2035.933228, 1e-3);
  EXPECT_TRUE(std::isnan(emissive.reflectance_scale));
}

// The scan's own start is written over in the file, big-endian as HDF4 keeps it.
TEST(Granule, AScanWithoutATimeHasThatOfItsPlace) {
  const TemporaryDirectory root;
  const auto path = write_synthetic_granule(root.path(), small()).level_1b;
  const auto bytes_of = [](double value) {
    std::string bytes(sizeof value, 0);
    std::memcpy(bytes.data(), &value, sizeof value);
    std::ranges::reverse(bytes);
    return bytes;
  };
  const auto starts =
      Hdf4File(path).column("Level 1B Swath Metadata", "EV Sector Start Time").value();
  std::string file = read_file(path);
  const size_t place = file.find(bytes_of(starts[2]));
  ASSERT_NE(place, std::string::npos);
  file.replace(place, sizeof(double), bytes_of(-999));
  test::write_text(path, file);
  const Granule granule(path);
  EXPECT_NEAR(granule.scans()[1].start, 1335954900 + 1.4771, 1e-3);
  EXPECT_NEAR(granule.scans()[2].start, 1335954900 + 2 * 1.4771, 1e-3);
}

// The arrays that the listing of a real granule names, as an OPeNDAP server gives it.
TEST(Granule, HasTheArraysOfARealOne) {
  const char* data = std::getenv("SWATH_DATA");
  if (data == nullptr) GTEST_SKIP() << "needs SWATH_DATA";
  const TemporaryDirectory root;
  for (const auto& [platform, name] :
       {std::pair{Platform::kTerra, "MOD021KM.A2010277.1710.005.2010278082807.hdf.dds"},
        std::pair{Platform::kAqua, "MYD021KM.A2002226.0000.005.2009193222735.hdf.dds"}}) {
    const Hdf4File file(write_synthetic_granule(root.path(), small(platform)).level_1b);
    std::set<std::string> ours;
    for (std::string array : file.array_names()) {
      std::ranges::replace(array, ' ', '_');
      ours.insert(array);
    }
    std::istringstream listing(
        read_file(std::filesystem::path(data) / "modis" / "l1b_spec" / name));
    std::string type;
    std::string array;
    int64_t found = 0;
    std::getline(listing, array);  // "Dataset {"
    while (listing >> type && type != "}" && std::getline(listing >> std::ws, array)) {
      array.resize(array.find('['));
      if (array.starts_with("vdata")) continue;  // tables
      if (array.ends_with("_NONEOS")) array.resize(array.size() - 7);
      EXPECT_TRUE(ours.contains(array)) << array;
      ++found;
    }
    EXPECT_GT(found, 30);
  }
}

TEST(Granule, ReservedCountsAreNamed) {
  EXPECT_STREQ(count_code_name(0), "valid");
  EXPECT_STREQ(count_code_name(32767), "valid");
  EXPECT_STREQ(count_code_name(32768), "door_closed");
  EXPECT_STREQ(count_code_name(65500), "door_closed");
  EXPECT_STREQ(count_code_name(65501), "uncertain");
  EXPECT_STREQ(count_code_name(65502), "reserved");
  EXPECT_STREQ(count_code_name(65523), "reserved");
  EXPECT_STREQ(count_code_name(65528), "aggregation_failed");
  EXPECT_STREQ(count_code_name(65531), "dead_detector");
  EXPECT_STREQ(count_code_name(65533), "saturated");
  EXPECT_STREQ(count_code_name(65535), "fill");
}

TEST(Granule, SyntheticFaultsAreWhereTheyBelong) {
  const TemporaryDirectory root;
  const Granule granule(write_synthetic_granule(root.path(), small()).level_1b);
  const auto band_29 = band_of(granule, "29");
  const auto at = [&](int64_t row, int64_t column) {
    return band_29[static_cast<size_t>(row * granule.columns() + column)];
  };
  EXPECT_EQ(at(5, 10), 65531);    // the dead detector's row
  EXPECT_EQ(at(20, 10), kFill);   // the missing scan
  EXPECT_EQ(at(10, 149), 65534);  // the piece of a scan
  EXPECT_LE(at(0, 10), kLargestCount);
}

TEST(Granule, UncertainValuesBecomeACodeOfTheirOwn) {
  const TemporaryDirectory root;
  const Granule granule(write_synthetic_granule(root.path(), small()).level_1b);
  const std::vector<std::string> bands = {"7", "31", "26"};
  std::vector<std::vector<uint16_t>> counts;
  for (const std::string& band : bands) counts.push_back(band_of(granule, band));
  const auto marked = [&](int64_t most) {
    auto copies = counts;
    std::vector<uint16_t*> out;
    for (auto& copy : copies) out.push_back(copy.data());
    granule.mark_uncertain(bands, most, out);
    return copies;
  };
  // The indexes are 1 where there is a value.
  EXPECT_EQ(marked(1), counts);
  const auto all = marked(0);
  for (size_t band = 0; band < bands.size(); ++band) {
    for (size_t i = 0; i < counts[band].size(); ++i) {
      const bool has_value = counts[band][i] <= kLargestCount;
      ASSERT_EQ(all[band][i], has_value ? kUncertain : counts[band][i]) << bands[band] << " " << i;
    }
  }
}

// An index is the low half of its byte [MODIS Level 1B Product User's Guide].
TEST(Granule, UpperBitsOfAnIndexAreNoUncertainty) {
  const TemporaryDirectory root;
  const auto path = write_synthetic_granule(root.path(), small()).level_1b;
  std::string file = read_file(path);
  const size_t place = file.find(std::string(150, '\x01'));
  ASSERT_NE(place, std::string::npos);
  file.replace(place + 25, 100, std::string(100, '\xF1'));  // well inside of an array
  test::write_text(path, file);
  const Granule granule(path);
  int64_t changed = 0;
  for (const std::string& array : granule.file().array_names()) {
    if (!array.ends_with("_Uncert_Indexes")) continue;
    changed += std::ranges::count(granule.file().read<uint8_t>(array), uint8_t{0xF1});
  }
  EXPECT_EQ(changed, 100);
  for (const std::string& band : all_bands()) {
    const auto counts = band_of(granule, band);
    auto marked = counts;
    granule.mark_uncertain({band}, 1, {marked.data()});
    EXPECT_EQ(marked, counts) << band;
  }
}

TEST(Granule, NightHasEmissiveBandsAndBand26Only) {
  const TemporaryDirectory root;
  SyntheticGranuleOptions options = small();
  options.is_day = false;
  options.has_faults = false;
  const Granule granule(write_synthetic_granule(root.path(), options).level_1b);
  EXPECT_EQ(granule.scans()[0].type, 'N');
  const auto fills = [&](const std::string& band) {
    const auto counts = band_of(granule, band);
    return std::count(counts.begin(), counts.end(), kFill);
  };
  EXPECT_EQ(fills("7"), 40 * 150);
  EXPECT_EQ(fills("19"), 40 * 150);
  EXPECT_EQ(fills("26"), 0);
  EXPECT_EQ(fills("31"), 0);
}

TEST(Granule, GeolocationAndMasksBelongToThePixels) {
  const TemporaryDirectory root;
  SyntheticGranuleOptions options = small();
  options.columns = 1354;
  options.with_mod35 = true;
  options.with_mod03 = true;
  const SyntheticGranule files = write_synthetic_granule(root.path(), options);
  const Granule granule(files.level_1b);
  const Geolocation coarse =
      Geolocation::from_level_1b(granule.file(), granule.rows(), granule.columns());
  const Geolocation exact =
      Geolocation::from_mod03(Hdf4File(files.mod03), granule.rows(), granule.columns());
  EXPECT_TRUE(exact.is_exact());
  for (const int64_t column : {0, 1, 677, 1353}) {
    EXPECT_NEAR(coarse.at(25, column)->latitude, exact.at(25, column)->latitude, 0.003);
    EXPECT_NEAR(coarse.at(25, column)->longitude, exact.at(25, column)->longitude, 0.003);
    EXPECT_NEAR(coarse.at(25, column)->sun_zenith, exact.at(25, column)->sun_zenith, 0.03);
  }
  const auto mod06 = read_cloud_mask(Hdf4File(files.mod06), granule.rows(), granule.columns());
  const auto mod35 = read_cloud_mask(Hdf4File(files.mod35), granule.rows(), granule.columns());
  EXPECT_EQ(mod06, mod35);
  for (size_t i = 0; i < mod06.size(); ++i) {
    ASSERT_EQ(CloudMaskByte(mod06[i]).is_cloudy(), files.regimes[i] != 0) << i;
  }
  EXPECT_CONTAINS(
      message_of<BadSample>([&] { read_cloud_mask(Hdf4File(files.mod06), 2030, 1354); }),
      "the granule has 2030 x 1354");
  EXPECT_CONTAINS(
      message_of<BadSample>([&] { Geolocation::from_mod03(Hdf4File(files.mod03), 2030, 1354); }),
      "geolocation file of the same granule");
}

TEST(Granule, AZeroByteIsNeitherCloudNorWater) {
  EXPECT_FALSE(CloudMaskByte(0).is_cloudy());
  EXPECT_FALSE(CloudMaskByte(0).is_water());
  EXPECT_TRUE(CloudMaskByte(1).is_cloudy());
  EXPECT_TRUE(CloudMaskByte(1).is_water());
  EXPECT_FALSE(CloudMaskByte(-7).is_water());  // stored signed: 0xF9 is land
  EXPECT_TRUE(CloudMaskByte(-7).is_cloudy());
}

// A renamed copy of a granule.
std::filesystem::path copy_as(const std::filesystem::path& from, const std::string& name) {
  const auto to = from.parent_path() / name;
  std::filesystem::copy_file(from, to);
  return to;
}

std::string reason_of(const std::filesystem::path& path, const std::string& band = "") {
  try {
    const Granule granule(path);
    if (!band.empty()) band_of(granule, band);
  } catch (const BadGranule& error) {
    EXPECT_CONTAINS(error.message(), path.string());
    return error.reason();
  }
  return "none";
}

TEST(Granule, BadFilesAreNamedWithAReason) {
  const TemporaryDirectory root;
  SyntheticGranuleOptions options = small();
  options.with_mod06 = true;
  const SyntheticGranule files = write_synthetic_granule(root.path(), options);
  EXPECT_EQ(reason_of(files.level_1b, "7"), "none");
  EXPECT_EQ(reason_of(root / "nothing.hdf"), "unreadable");
  test::write_text(root / "empty.hdf", "");
  EXPECT_EQ(reason_of(root / "empty.hdf"), "unreadable");
  test::write_text(root / "text.hdf", "<html>404</html>");
  EXPECT_EQ(reason_of(root / "text.hdf"), "unreadable");
  EXPECT_EQ(reason_of(files.mod06), "layout");
  EXPECT_EQ(reason_of(copy_as(files.level_1b, "MYD021KM.A2012123.1035.061.copy.hdf")), "platform");
  EXPECT_EQ(reason_of(copy_as(files.level_1b, "MOD021KM.A2012123.1040.061.copy.hdf")), "platform");
  EXPECT_EQ(reason_of(copy_as(files.level_1b, "renamed.hdf"), "31"), "none");
}

TEST(Granule, TruncationIsFoundWhereverItIs) {
  const TemporaryDirectory root;
  for (const int level : {0, 6}) {
    SyntheticGranuleOptions options = small();
    options.deflate_level = level;
    const auto path = write_synthetic_granule(root.path(), options).level_1b;
    const auto size = std::filesystem::file_size(path);
    for (const double share : {0.001, 0.2, 0.5, 0.9, 0.999}) {
      const auto cut = copy_as(path, "cut.hdf");
      std::filesystem::resize_file(cut, static_cast<uintmax_t>(static_cast<double>(size) * share));
      EXPECT_EQ(reason_of(cut, "31"), "unreadable") << share << " deflate " << level;
      std::filesystem::remove(cut);
    }
  }
}

TEST(Granule, MissingAndMisshapenDataSetsAreNamed) {
  const TemporaryDirectory root;
  const auto write = [&](const std::string& name, const std::string& bands, int64_t planes) {
    Hdf4Writer writer(root / name);
    writer.add_array("EV_1KM_Emissive", NumberType::kUint16, {planes, 10, 4},
                     {"Band_1KM_Emissive", "10*nscans", "Max_EV_frames"},
                     std::vector<uint16_t>(static_cast<size_t>(planes * 40), 7), 0);
    writer.add_text("EV_1KM_Emissive", "band_names", bands);
    writer.add_numbers("EV_1KM_Emissive", "radiance_scales", NumberType::kFloat32, {0.5, 0.25});
    writer.add_numbers("EV_1KM_Emissive", "radiance_offsets", NumberType::kFloat32, {1, 2});
    writer.add_text(
        "", "CoreMetadata.0",
        "OBJECT = SHORTNAME\n NUM_VAL = 1\n VALUE = \"MOD021KM\"\nEND_OBJECT = SHORTNAME\n");
    return root / name;
  };
  const auto with_band_26 = [&](const std::string& name, int64_t rows) {
    Hdf4Writer writer(root / name);
    writer.add_array("EV_1KM_Emissive", NumberType::kUint16, {1, 20, 4},
                     {"bands", "rows", "columns"}, std::vector<uint16_t>(80, 7), 0);
    writer.add_text("EV_1KM_Emissive", "band_names", "31");
    writer.add_array("EV_Band26", NumberType::kUint16, {rows, 4}, {"rows_26", "columns"},
                     std::vector<uint16_t>(static_cast<size_t>(rows * 4), 7), 0);
    writer.add_text(
        "", "CoreMetadata.0",
        "OBJECT = SHORTNAME\n NUM_VAL = 1\n VALUE = \"MOD021KM\"\nEND_OBJECT = SHORTNAME\n");
    return root / name;
  };
  for (const int64_t rows : {10, 30}) {
    EXPECT_EQ(reason_of(with_band_26(fmt::format("MOD021KM.A2012123.10{}.061.26.hdf", rows), rows)),
              "layout");
  }
  const std::string good = "MOD021KM.A2012123.1035.061.small.hdf";
  // The specification's spelling has spaces, real files have none.
  const Granule granule(write(good, "20, 31", 2));
  EXPECT_DOUBLE_EQ(granule.scales("31").radiance_scale, 0.25);
  EXPECT_DOUBLE_EQ(granule.scales("31").radiance_offset, 2);
  EXPECT_EQ(band_of(granule, "31").front(), 7);
  EXPECT_EQ(reason_of(root / good, "7"), "missing_data_set");
  EXPECT_CONTAINS(message_of<BadGranule>([&] { band_of(granule, "7"); }), "band 7");
  EXPECT_EQ(reason_of(write("MOD021KM.A2012123.1040.061.names.hdf", "20,31,32", 2)), "layout");
  EXPECT_EQ(reason_of(write("nameless.hdf", "20,31", 2)), "layout");  // no time anywhere
}

TEST(Granule, MetadataValuesAreFoundByName) {
  const std::string odl =
      "OBJECT = RANGEBEGINNINGDATE\n  NUM_VAL = 1\n  VALUE = \"2010-10-04\"\nEND_OBJECT = "
      "RANGEBEGINNINGDATE\n  OBJECT   = VERSIONID\n CLASS = \"1\"\n NUM_VAL = 1\n  VALUE  = 5\n"
      "END_OBJECT = VERSIONID\n";
  EXPECT_EQ(metadata_value(odl, "RANGEBEGINNINGDATE"), "2010-10-04");
  EXPECT_EQ(metadata_value(odl, "VERSIONID"), "5");
  EXPECT_EQ(metadata_value(odl, "RANGE"), std::nullopt);
  EXPECT_EQ(metadata_value(odl, "SHORTNAME"), std::nullopt);
}

TEST(Granule, TaiTimesAreTurnedIntoUtc) {
  EXPECT_DOUBLE_EQ(utc_of_tai93(0), 725846400);
  // 1 January 2000 00:00:00 UTC: five leap seconds since 1993.
  EXPECT_DOUBLE_EQ(utc_of_tai93(220838400 + 5), 946684800);
  // 1 January 2017 and the second before the leap second of that night.
  EXPECT_DOUBLE_EQ(utc_of_tai93(757382400 + 10), 1483228800);
  EXPECT_DOUBLE_EQ(utc_of_tai93(757382400 + 8), 1483228799);
}

}  // namespace
}  // namespace swath::data::modis
