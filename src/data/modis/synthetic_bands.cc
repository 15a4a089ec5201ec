#include "data/modis/synthetic_bands.h"

#include <array>

namespace swath::data::modis {
namespace {

template <size_t Bands>
struct ArrayScales {
  std::array<double, Bands> radiance_scales;
  std::array<double, Bands> offsets;
  std::array<double, Bands> reflectance_scales;
};
struct PlatformScales {
  ArrayScales<2> of_250m;
  ArrayScales<5> of_500m;
  ArrayScales<15> of_1km;
  ArrayScales<16> emissive;
};

// As in the attributes of the two real granules.
constexpr PlatformScales kTerraScales = {
    {{{0.02595116012, 0.009713838808}}, {{0, 0}}, {{5.078265895e-05, 3.077087968e-05}}},
    {{{0.03247600794, 0.02245436981, 0.005773007404, 0.00263007055, 0.0008026596624}},
     {{0, 0, 0, 0, 0}},
     {{4.888717376e-05, 3.782279964e-05, 3.825240856e-05, 3.441045919e-05, 2.79301621e-05}}},
    {{{0.01320776157, 0.008266269229, 0.005043315236, 0.003379055066, 0.002970384201,
       0.001109640929, 0.0008216585848, 0.001249530469, 0.0006902001332, 0.0009547661175,
       0.0008956351667, 0.007194237784, 0.008941298351, 0.006913577206, 0.003023807658}},
     {{316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985,
       316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985,
       316.9721985}},
     {{2.377920282e-05, 1.364725267e-05, 8.001932656e-06, 5.636647984e-06, 4.933857781e-06,
       2.252741069e-06, 1.668092864e-06, 2.604086831e-06, 1.438413165e-06, 2.317632379e-06,
       2.893130841e-06, 2.418891927e-05, 3.21654079e-05, 2.4885112e-05, 2.604184556e-05}}},
    {{{6.262398529e-05, 0.003149510128, 6.921598106e-05, 7.910397107e-05, 3.15561374e-05,
       5.639820665e-05, 0.0001175572979, 0.0001924497192, 0.0005324869417, 0.0004063234373,
       0.0008400219958, 0.0007296975818, 0.0002622638713, 0.0002006958239, 0.0001767082722,
       0.0001183385684}},
     {{2730.583252, 2730.583496, 2730.583252, 2730.583496, 1077.444946, 1560.333374, 2730.583496,
       2317.488525, 2730.583252, 1560.333252, 1577.339722, 1658.221191, 2501.297852, 2501.297607,
       2501.297852, 2501.297852}},
     {{}}},
};
constexpr PlatformScales kAquaScales = {
    {{{0.02830461785, 0.00946407672}}, {{0, 0}}, {{5.674978092e-05, 3.07800583e-05}}},
    {{{0.02100655437, 0.01849076338, 0.00475283619, 0.002720461227, 0.0008320466732}},
     {{0, 0, 0, 0, 0}},
     {{3.243367973e-05, 3.196096441e-05, 3.226410263e-05, 3.645396282e-05, 2.967566797e-05}}},
    {{{0.006455244962, 0.004779992159, 0.003601932433, 0.002896558493, 0.002278374741,
       0.001206206158, 0.0005809437134, 0.00114870409, 0.0004166734288, 0.0009519019513,
       0.000623401429, 0.006361005362, 0.009410406463, 0.006943362765, 0.0027622981}},
     {{316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985,
       316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985, 316.9721985,
       316.9721985}},
     {{1.190812054e-05, 8.084773981e-06, 5.873635018e-06, 4.953585176e-06, 3.88077342e-06,
       2.51308893e-06, 1.210376126e-06, 2.458993094e-06, 8.919591323e-07, 2.370476295e-06,
       2.065223725e-06, 2.19458525e-05, 3.477808059e-05, 2.563950329e-05, 2.43952054e-05}}},
    {{{6.930753443e-05, 0.003466902766, 7.626575098e-05, 8.990753122e-05, 3.15561374e-05,
       5.639820665e-05, 0.0001178319653, 0.0001924497192, 0.0005570848589, 0.0004063234373,
       0.0006508072256, 0.0005710013211, 0.0002623370965, 0.0002008728334, 0.0001767632057,
       0.0001185949222}},
     {{2467.264404, 2480.600342, 2478.176514, 2402.468506, 1077.444946, 1560.333374, 2724.218506,
       2317.488525, 2610.015381, 1560.333252, 2035.933228, 2119.084473, 2500.599365, 2499.093506,
       2500.520508, 2495.890869}},
     {{}}},
};

// Centres of the bands in um, in the order of the arrays.
constexpr std::array<double, 2> kWavelengths250 = {0.645, 0.858};
constexpr std::array<double, 5> kWavelengths500 = {0.469, 0.555, 1.24, 1.64, 2.13};
constexpr std::array<double, 15> kWavelengths1km = {0.412, 0.443, 0.488, 0.531, 0.551,
                                                    0.667, 0.667, 0.678, 0.678, 0.748,
                                                    0.869, 0.905, 0.936, 0.940, 1.375};

template <size_t Bands>
std::vector<double> list(const std::array<double, Bands>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

std::vector<BandArray> band_arrays(Platform platform, uint64_t seed) {
  const PlatformScales& scales = platform == Platform::kTerra ? kTerraScales : kAquaScales;
  std::vector<BandArray> arrays(4);
  arrays[0] = {"EV_250_Aggr1km_RefSB",
               "Band_250M",
               "1,2",
               {1, 2},
               list(kWavelengths250),
               list(scales.of_250m.radiance_scales),
               list(scales.of_250m.offsets),
               list(scales.of_250m.reflectance_scales),
               {"1", "2"},
               28,
               "Earth View 250M Aggregated 1km Reflective Solar Bands Scaled Integers"};
  arrays[1] = {"EV_500_Aggr1km_RefSB",
               "Band_500M",
               "3,4,5,6,7",
               {3, 4, 5, 6, 7},
               list(kWavelengths500),
               list(scales.of_500m.radiance_scales),
               list(scales.of_500m.offsets),
               list(scales.of_500m.reflectance_scales),
               {"3", "4", "5", "6", "7"},
               6,
               "Earth View 500M Aggregated 1km Reflective Solar Bands Scaled Integers"};
  arrays[2] = {"EV_1KM_RefSB",
               "Band_1KM_RefSB",
               "8,9,10,11,12,13lo,13hi,14lo,14hi,15,16,17,18,19,26",
               {8, 9, 10, 11, 12, 13, 13.5, 14, 14.5, 15, 16, 17, 18, 19, 26},
               list(kWavelengths1km),
               list(scales.of_1km.radiance_scales),
               list(scales.of_1km.offsets),
               list(scales.of_1km.reflectance_scales),
               {"8", "9", "10", "11", "12", "13lo", "13hi", "14lo", "14hi", "15", "16", "17", "18",
                "19", "26"},
               0,
               "Earth View 1KM Reflective Solar Bands Scaled Integers"};
  arrays[3] = {"EV_1KM_Emissive",
               "Band_1KM_Emissive",
               "20,21,22,23,24,25,27,28,29,30,31,32,33,34,35,36",
               {20, 21, 22, 23, 24, 25, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36},
               {},
               list(scales.emissive.radiance_scales),
               list(scales.emissive.offsets),
               {},
               {"20", "21", "22", "23", "24", "25", "27", "28", "29", "30", "31", "32", "33", "34",
                "35", "36"},
               0,
               "Earth View 1KM Emissive Bands Scaled Integers"};
  for (const std::string& band : arrays[3].bands) {
    const PlanckInverse planck = *planck_inverse(platform, band);
    // c2 / argument, in um.
    arrays[3].wavelengths.push_back(1.4387752e4 / planck.argument);
  }
  // Scales drift from granule to granule.
  const double drift = 1 + 0.0005 * static_cast<double>(seed % 7);
  for (BandArray& array : arrays) {
    for (double& scale : array.radiance_scales) scale *= drift;
    for (double& scale : array.reflectance_scales) scale *= drift;
    // The file has them as float32; counts must be made with what readers will find.
    for (auto* values : {&array.radiance_scales, &array.offsets, &array.reflectance_scales}) {
      for (double& value : *values) value = static_cast<double>(static_cast<float>(value));
    }
  }
  return arrays;
}

UncertaintyScale uncertainty_scale(const std::string& band) {
  if (is_emissive(band)) {
    const double specified = band == "20"                   ? 0.5625
                             : band == "21"                 ? 2.5
                             : band == "31" || band == "32" ? 0.375
                                                            : 0.5;
    return {specified, band == "20" ? 5.0 : 4.0};
  }
  const bool is_shortwave = band == "5" || band == "6" || band == "7" || band == "26";
  return {1.5, is_shortwave ? 5.0 : 7.0};
}

}  // namespace swath::data::modis
