#include "data/modis/hdf4_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

#include "data/modis/hdf4_writer.h"
#include "data/test_files.h"

namespace swath::data::modis {
namespace {

using test::message_of;
using test::TemporaryDirectory;

TEST(Hdf4File, ArraysAttributesAndTablesComeBack) {
  const TemporaryDirectory root;
  std::vector<int16_t> values(24);
  std::iota(values.begin(), values.end(), int16_t{-5});
  {
    Hdf4Writer writer(root / "a.hdf");
    writer.add_array("angles", NumberType::kInt16, {2, 3, 4}, {"a", "b", "c"}, values, 0);
    writer.add_text("angles", "units", "degrees");
    writer.add_numbers("angles", "scale_factor", NumberType::kFloat64, {0.01});
    writer.add_numbers("", "counts", NumberType::kInt32, {1, -2, 3});
    writer.finish_arrays();
    writer.add_table("scans", {{"number", NumberType::kInt32, {1, 2}, {}},
                               {"type", NumberType::kText, {}, {"D   ", "N   "}},
                               {"time", NumberType::kFloat64, {1.5, 2.5}, {}}});
    writer.add_group("swath", "SWATH", {{"Data Fields", {"angles"}}}, "SWATH Vgroup");
  }
  const Hdf4File file(root / "a.hdf");
  EXPECT_EQ(file.array("angles").shape, (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(file.read<int16_t>("angles"), values);
  EXPECT_EQ(file.text("angles", "units"), "degrees");
  EXPECT_EQ(file.numbers("angles", "scale_factor"), std::vector<double>{0.01});
  EXPECT_EQ(file.numbers("", "counts"), (std::vector<double>{1, -2, 3}));
  EXPECT_EQ(file.text("", "nothing"), std::nullopt);
  EXPECT_EQ(file.column("scans", "time"), (std::vector<double>{1.5, 2.5}));
  EXPECT_EQ(file.text_column("scans", "type"), (std::vector<std::string>{"D   ", "N   "}));
  EXPECT_EQ(file.column("scans", "nothing"), std::nullopt);
  EXPECT_EQ(file.column("nothing", "time"), std::nullopt);
  EXPECT_CONTAINS(message_of<BadSample>([&] { file.array("b"); }), "it has: angles");
  EXPECT_CONTAINS(message_of<BadSample>([&] { file.read<float>("angles"); }), "int16");
}

TEST(Hdf4File, PlanesAroundTheLibraryAreThoseThroughIt) {
  const TemporaryDirectory root;
  constexpr int64_t kPlane = int64_t{37} * 41;
  // Noise, which is stored rather than compressed, and then what compresses well.
  auto values = test::random_pixels<uint16_t>(5 * kPlane, 3, 1 << 16);
  std::fill(values.begin() + 2 * kPlane, values.begin() + 4 * kPlane, uint16_t{500});
  for (const int level : {0, 1, 9}) {
    {
      Hdf4Writer writer(root / "planes.hdf");
      writer.add_array("counts", NumberType::kUint16, {5, 37, 41}, {"a", "b", "c"}, values, level);
    }
    const Hdf4File file(root / "planes.hdf");
    ASSERT_EQ(file.read<uint16_t>("counts"), values);
    const std::vector<int64_t> planes = {3, 0};
    std::vector<uint16_t> first(kPlane);
    std::vector<uint16_t> second(kPlane);
    const std::vector<uint16_t*> out = {first.data(), second.data()};
    file.read_planes("counts", planes, out);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), values.begin() + 3 * kPlane)) << level;
    EXPECT_TRUE(std::equal(second.begin(), second.end(), values.begin())) << level;
    EXPECT_EQ(file.times().inflated_bytes > 0, level > 0);
  }
}

TEST(Hdf4File, RealFilesOpenWithTheirArrays) {
  const char* folder = std::getenv("SWATH_DATA");
  if (folder == nullptr) GTEST_SKIP() << "SWATH_DATA is not set";
  const std::filesystem::path root = std::filesystem::path(folder) / "modis";
  const Hdf4File swath(root / "MOD04_L2.A2001066.0000.004.2003078090622.hdf");
  const ArrayInfo& latitude = swath.array("Latitude");
  ASSERT_EQ(latitude.shape.size(), 2U);
  EXPECT_EQ(latitude.shape[1], 135);
  const auto latitudes = swath.read<float>("Latitude");
  EXPECT_LE(*std::max_element(latitudes.begin(), latitudes.end()), 90.0F);
  EXPECT_TRUE(swath.text("", "CoreMetadata.0").has_value());
  const Hdf4File reflectance(root / "MOD09A1.A2017193.h18v04.006.2017202035302.hdf");
  EXPECT_EQ(reflectance.array("sur_refl_b01").shape, (std::vector<int64_t>{73, 66}));
  EXPECT_EQ(reflectance.read<int16_t>("sur_refl_b01").size(), 73U * 66U);
  const Hdf4File vegetation(root / "MOD13A2.A2016145.h18v04.006.2016166145124.hdf");
  EXPECT_TRUE(vegetation.has_array("1 km 16 days NDVI"));
  EXPECT_EQ(vegetation.read<int16_t>("1 km 16 days NDVI").size(), 40515U);
}

}  // namespace
}  // namespace swath::data::modis
