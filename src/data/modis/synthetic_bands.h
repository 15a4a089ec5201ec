// The four arrays of bands in the layout of MOD021KM / MYD021KM, with the scales and offsets of two
// real granules (Terra 2010-277 17:10, Aqua 2002-226 00:00).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/modis/bands.h"

namespace swath::data::modis {

// Of EV_1KM_RefSB; the band has an array of its own besides.
inline constexpr size_t kPlaneOfBand26 = 14;

// One of the four arrays of bands.
struct BandArray {
  std::string name;
  std::string dimension;
  std::string band_names;
  std::vector<double> numbers;  // for the array named like the dimension
  std::vector<double> wavelengths;
  std::vector<double> radiance_scales;
  std::vector<double> offsets;
  std::vector<double> reflectance_scales;  // empty: emissive
  std::vector<std::string> bands;
  int samples_used = 0;  // per pixel, where the array was aggregated
  std::string long_name;

  bool is_emissive() const { return reflectance_scales.empty(); }
};

// In the order of the file. Scales drift a little with the seed, as they do from granule to
// granule.
std::vector<BandArray> band_arrays(Platform platform, uint64_t seed);

// What an uncertainty index i of a band stands for: percent = specified exp(i / scaling).
struct UncertaintyScale {
  double specified = 0;
  double scaling = 0;
};
UncertaintyScale uncertainty_scale(const std::string& band);

}  // namespace swath::data::modis
