#include "data/modis/bands.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/modis/chip_fields.h"
#include "data/test_files.h"

namespace swath::data::modis {
namespace {

struct Golden {
  const char* band;
  double at_300;
  double at_220;
};

// Radiances in W m^-2 um^-1 sr^-1 for exactly 300 K and 220 K, six decimals.
constexpr Golden kTerra[] = {
    {"20", 0.487705, 0.004937}, {"21", 0.712927, 0.009051}, {"22", 0.687970, 0.008543},
    {"23", 0.796479, 0.010838}, {"24", 1.468509, 0.029802}, {"25", 1.606921, 0.034689},
    {"27", 7.029827, 0.535275}, {"28", 8.142576, 0.757182}, {"29", 9.571551, 1.235294},
    {"30", 9.952229, 1.648960}, {"31", 9.567032, 1.945070}, {"32", 8.942327, 2.068232},
    {"33", 7.941349, 2.109828}, {"34", 7.692857, 2.103618}, {"35", 7.514606, 2.096013},
    {"36", 7.295369, 2.083331}};
constexpr Golden kAqua[] = {
    {"20", 0.479820, 0.004810}, {"21", 0.700077, 0.008788}, {"22", 0.688111, 0.008546},
    {"23", 0.802991, 0.010982}, {"24", 1.422319, 0.028247}, {"25", 1.570026, 0.033356},
    {"27", 7.064234, 0.541048}, {"28", 8.152460, 0.759547}, {"29", 9.590064, 1.245340},
    {"30", 9.952385, 1.646115}, {"31", 9.563596, 1.945637}, {"32", 8.935176, 2.068956},
    {"33", 7.940653, 2.109769}, {"34", 7.690901, 2.103510}, {"35", 7.504548, 2.095472},
    {"36", 7.279086, 2.082214}};

void expect_golden(Platform platform, std::span<const Golden> table) {
  for (const Golden& golden : table) {
    const PlanckInverse planck = planck_inverse(platform, golden.band).value();
    // Half of the table's last digit.
    EXPECT_NEAR(radiance_of_temperature(planck, 300), golden.at_300, 5.1e-7) << golden.band;
    EXPECT_NEAR(radiance_of_temperature(planck, 220), golden.at_220, 5.1e-7) << golden.band;
    for (const double kelvin : {180.0, 220.0, 300.0, 340.0}) {
      EXPECT_NEAR(planck.temperature(radiance_of_temperature(planck, kelvin)), kelvin, 1e-9);
    }
  }
}

TEST(Bands, TemperaturesOfEachPlatformAreThoseOfTheTables) {
  expect_golden(Platform::kTerra, kTerra);
  expect_golden(Platform::kAqua, kAqua);
}

TEST(Bands, CountsOfARealGranuleHaveTheRadiancesAndTemperaturesOfTheReference) {
  // Scales of MOD021KM.A2010277.1710; count 10000.
  struct Case {
    const char* band;
    double scale;
    double offset;
    double radiance;
    double kelvin;
  };
  constexpr Case kCases[] = {{"20", 6.262398529e-05, 2730.583252, 0.455240, 298.3736},
                             {"29", 5.324869417e-04, 2730.583252, 3.870869, 258.4796},
                             {"31", 8.400219958e-04, 1577.339722, 7.075220, 280.7561},
                             {"32", 7.296975818e-04, 1658.221191, 6.086976, 273.9766},
                             {"28", 1.924497192e-04, 2317.488525, 1.478497, 237.8811}};
  for (const Case& c : kCases) {
    Calibration radiance;
    radiance.bands = {{c.scale, c.offset, std::nullopt}};
    EXPECT_NEAR(radiance.value(0, 10000), c.radiance, 5.1e-7) << c.band;
    Calibration temperature;
    temperature.bands = {{c.scale, c.offset, planck_inverse(Platform::kTerra, c.band)}};
    EXPECT_NEAR(temperature.value(0, 10000), c.kelvin, 5.1e-5) << c.band;
    // Below the offset the radiance is negative: a valid count without a temperature.
    EXPECT_LT(radiance.value(0, 100), 0);
    EXPECT_TRUE(std::isnan(temperature.value(0, 100)));
    EXPECT_TRUE(std::isnan(radiance.value(0, 32768)));
    EXPECT_FALSE(std::isnan(radiance.value(0, 32767)));
  }
}

TEST(Bands, SlotsNameOneBandOrOnePerPlatform) {
  EXPECT_EQ(parse_band_slot("7").of(Platform::kAqua), "7");
  EXPECT_EQ(parse_band_slot("6/5").of(Platform::kTerra), "6");
  EXPECT_EQ(parse_band_slot("6/5").of(Platform::kAqua), "5");
  EXPECT_EQ(parse_band_slot("6/5").name(), "6/5");
  EXPECT_CONTAINS(test::message_of<UsageError>([] { parse_band_slot("37"); }), "no band `37`");
  EXPECT_CONTAINS(test::message_of<UsageError>([] { parse_band_slot("6/31"); }), "pairs");
}

TEST(Bands, FieldsOfAChipSurviveTheirRecord) {
  const ChipFields fields({parse_band_slot("6/5"), parse_band_slot("31")});
  ChipValues values;
  values.platform = Platform::kAqua;
  values.date = 2012123;
  values.start = 1035;
  values.row = 128;
  values.column = 256;
  values.sun_zenith = 30.5;
  values.cloud_share = 0.25;
  values.bands = {{0.5, {0.1, 2, 0.3, 4}}, {1, {0.6, 7, kNoValue, kNoValue}}};
  const std::vector<double> packed = fields.pack(values);
  ASSERT_EQ(packed.size(), fields.names().size());
  const ChipValues found = fields.unpack(packed);
  EXPECT_EQ(found.platform, Platform::kAqua);
  EXPECT_EQ(found.column, 256);
  EXPECT_EQ(found.cloud_share, 0.25);
  EXPECT_TRUE(std::isnan(found.ocean_share));
  EXPECT_EQ(found.bands[1].scales.radiance_offset, 7);

  const auto radiance = fields.calibration(packed, "radiance");
  EXPECT_DOUBLE_EQ(radiance->value(0, 12), 1.0);
  EXPECT_DOUBLE_EQ(radiance->value(1, 12), 3.0);
  const auto reflectance = fields.calibration(packed, "reflectance");
  EXPECT_DOUBLE_EQ(reflectance->value(0, 14), 3.0);
  EXPECT_DOUBLE_EQ(reflectance->value(1, 12), 3.0);  // an emissive band has its radiance
  const auto kelvin = fields.calibration(packed, "brightness_temperature");
  EXPECT_DOUBLE_EQ(kelvin->value(0, 14), 3.0);
  EXPECT_DOUBLE_EQ(kelvin->value(1, 12), planck_inverse(Platform::kAqua, "31")->temperature(3.0));
}

}  // namespace
}  // namespace swath::data::modis
