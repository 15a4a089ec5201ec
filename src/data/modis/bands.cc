#include "data/modis/bands.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"

namespace swath::data::modis {
namespace {

struct Constants {
  std::string_view band;
  double wavenumber;  // 1/cm
  double slope;
  double intercept;
};

// The physical constants belong to their table: it was fitted with them.
struct ConstantSet {
  double planck;     // J s
  double light;      // m/s
  double boltzmann;  // J/K
  std::array<Constants, 16> bands;
};

constexpr ConstantSet kTerra = {6.6260755e-34,
                                2.9979246e8,
                                1.380658e-23,
                                {{{"20", 2641.7750, 0.9993411, 0.4770532},
                                  {"21", 2505.2770, 0.9998646, 0.0926266},
                                  {"22", 2518.0280, 0.9998584, 0.0975800},
                                  {"23", 2465.4280, 0.9998682, 0.0892924},
                                  {"24", 2235.8150, 0.9998819, 0.0731090},
                                  {"25", 2200.3460, 0.9998845, 0.0706042},
                                  {"27", 1477.9670, 0.9994877, 0.2204921},
                                  {"28", 1362.7370, 0.9994918, 0.2046087},
                                  {"29", 1173.1900, 0.9995495, 0.1599191},
                                  {"30", 1027.7150, 0.9997398, 0.0825340},
                                  {"31", 908.0884, 0.9995608, 0.1302699},
                                  {"32", 831.5399, 0.9997256, 0.0718183},
                                  {"33", 748.3394, 0.9999160, 0.0197261},
                                  {"34", 730.8963, 0.9999167, 0.0191357},
                                  {"35", 718.8681, 0.9999191, 0.0181782},
                                  {"36", 704.5367, 0.9999281, 0.0158304}}}};

constexpr ConstantSet kAqua = {6.62606876e-34,
                               2.99792458e8,
                               1.3806503e-23,
                               {{{"20", 2647.418, 0.9993438, 0.4792821},
                                 {"21", 2511.763, 0.9998680, 0.0926060},
                                 {"22", 2517.910, 0.9998649, 0.0938779},
                                 {"23", 2462.446, 0.9998729, 0.0865948},
                                 {"24", 2248.296, 0.9998738, 0.0785480},
                                 {"25", 2209.550, 0.9998774, 0.0752153},
                                 {"27", 1474.292, 0.9995732, 0.1833035},
                                 {"28", 1361.638, 0.9994894, 0.2053504},
                                 {"29", 1169.637, 0.9995439, 0.1628724},
                                 {"30", 1028.715, 0.9997496, 0.0800341},
                                 {"31", 907.6808, 0.9995483, 0.1290129},
                                 {"32", 830.8397, 0.9997404, 0.0681068},
                                 {"33", 748.2977, 0.9999194, 0.0189593},
                                 {"34", 730.7761, 0.9999071, 0.0212896},
                                 {"35", 718.2089, 0.9999176, 0.0185707},
                                 {"36", 703.5020, 0.9999211, 0.0173378}}}};

void check_band(const std::string& band, const std::string& text) {
  const std::vector<std::string>& known = all_bands();
  if (std::find(known.begin(), known.end(), band) != known.end()) return;
  throw UsageError(
      fmt::format("bands: MODIS has no band `{}` (in `{}`).", band, text),
      fmt::format("bands: {}; a pair such as 6/5 is Terra's and Aqua's.", fmt::join(known, ", ")));
}

}  // namespace

const char* platform_name(Platform platform) {
  return platform == Platform::kTerra ? "Terra" : "Aqua";
}

const std::vector<std::string>& all_bands() {
  static const std::vector<std::string> bands = {
      "1",    "2",    "3",    "4",  "5",  "6",  "7",  "8",  "9",  "10", "11", "12", "13lo",
      "13hi", "14lo", "14hi", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24",
      "25",   "26",   "27",   "28", "29", "30", "31", "32", "33", "34", "35", "36"};
  return bands;
}

bool is_emissive(std::string_view band) {
  return std::any_of(kTerra.bands.begin(), kTerra.bands.end(),
                     [&](const Constants& constants) { return constants.band == band; });
}

std::optional<PlanckInverse> planck_inverse(Platform platform, std::string_view band) {
  const ConstantSet& set = platform == Platform::kTerra ? kTerra : kAqua;
  for (const Constants& constants : set.bands) {
    if (constants.band != band) continue;
    const double wavelength = 0.01 / constants.wavenumber;  // m
    PlanckInverse planck;
    // Per micrometre, not metre: the 1e6.
    planck.numerator = 2 * set.planck * set.light * set.light / (1e6 * std::pow(wavelength, 5));
    planck.argument = set.planck * set.light / (set.boltzmann * wavelength);
    planck.slope = constants.slope;
    planck.intercept = constants.intercept;
    return planck;
  }
  return std::nullopt;
}

double radiance_of_temperature(const PlanckInverse& planck, double kelvin) {
  return planck.numerator /
         std::expm1(planck.argument / (kelvin * planck.slope + planck.intercept));
}

BandSlot parse_band_slot(const std::string& text) {
  const size_t slash = text.find('/');
  BandSlot slot;
  slot.terra = text.substr(0, slash);
  slot.aqua = slash == std::string::npos ? slot.terra : text.substr(slash + 1);
  check_band(slot.terra, text);
  check_band(slot.aqua, text);
  if (is_emissive(slot.terra) != is_emissive(slot.aqua)) {
    throw UsageError(fmt::format("bands: `{}` pairs a reflective with an emissive band.", text),
                     "pair bands of one kind, as in 6/5.");
  }
  return slot;
}

}  // namespace swath::data::modis
