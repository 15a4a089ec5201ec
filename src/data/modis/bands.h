// The bands of MODIS Level-1B at 1 km, and the constants that turn radiances into temperatures.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/calibration.h"

namespace swath::data::modis {

enum class Platform { kTerra = 0, kAqua = 1 };

const char* platform_name(Platform platform);  // "Terra", "Aqua"

// All 38, in the order in which the product counts them: "1" ... "13lo", "13hi", "14lo", ... "36".
const std::vector<std::string>& all_bands();
// 20 to 25 and 27 to 36.
bool is_emissive(std::string_view band);

// Constants of an emissive band for radiances in W m^-2 um^-1 sr^-1; nothing for reflective ones.
// Terra: the set of satpy's modis_l1b reader (with its values of h, c and k); Aqua: that of ORAC's
// MODIS_BRIGHT (CIMSS/SSEC, revision of 2003-06-05, with its values). Terra's on Aqua's radiances
// would be wrong by up to 0.9 K.
std::optional<PlanckInverse> planck_inverse(Platform platform, std::string_view band);

// Inverse of PlanckInverse::temperature().
double radiance_of_temperature(const PlanckInverse& planck, double kelvin);

// One channel of a chip. It may be another band on each platform: Aqua's band 6 has mostly dead
// detectors, and band 5 stands in for it.
struct BandSlot {
  std::string terra;
  std::string aqua;

  const std::string& of(Platform platform) const {
    return platform == Platform::kTerra ? terra : aqua;
  }
  std::string name() const { return terra == aqua ? terra : terra + "/" + aqua; }
};

// "7" or "6/5" (Terra's and Aqua's). Throws UsageError for a band that does not exist, and for a
// pair of a reflective and an emissive one.
BandSlot parse_band_slot(const std::string& text);

}  // namespace swath::data::modis
