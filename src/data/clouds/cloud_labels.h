// Cloud-class labels as their producers give them, before anything is joined or renamed.
//
// Two forms (docs/clouds.md has their fields):
//   netcdf  one NetCDF4 file per granule: class and first pixel of each patch
//   table   CSV: class, time, position and platform of each patch
// Each may carry properties of the patch's clouds (optical thickness, cloud-top pressure ...).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/clouds/chip_place.h"

namespace swath::data::clouds {

struct CloudLabels {
  std::string form;  // "netcdf" or "table"
  // How the labels were derived from known fields; empty: they are what their producer found.
  std::string derived;
  std::vector<ChipPlace> places;
  std::vector<int64_t> raw;  // class as the file has it
  std::vector<std::string> property_names;
  std::vector<double> properties;  // one row per label; NaN: none

  int64_t size() const { return static_cast<int64_t>(raw.size()); }
  std::span<const double> properties_of(int64_t index) const;
  // Puts the labels of `other` behind these. A property that one of the two does not have is NaN
  // there. Throws Error when the forms differ, or one is derived and the other is not.
  void append(const CloudLabels& other);
};

// Of a file (.nc, .csv), or of all such files below a folder in the order of their names. Throws
// UsageError when there is none, or both forms are mixed; Error naming file and line or variable
// for what cannot be read.
CloudLabels read_cloud_labels(const std::filesystem::path& path);

}  // namespace swath::data::clouds
