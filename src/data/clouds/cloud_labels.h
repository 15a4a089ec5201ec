// Cloud-class labels as their producers give them, before anything is joined or renamed.
//
// Two forms (docs/clouds.md has their fields):
//   netcdf  one NetCDF4 file per granule: class and first pixel of each patch
//   table   CSV: class, time, position and platform of each patch
// Each may carry properties of the patch's clouds (optical thickness, cloud-top pressure ...).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "data/clouds/chip_place.h"

namespace swath::data::clouds {

// Labels that nothing can be joined with: counted, not kept.
struct OtherLabels {
  int64_t count = 0;
  std::map<int64_t, int64_t> raw;                         // labels by class number
  std::map<Platform, std::pair<Granule, Granule>> spans;  // first and last

  void add(const Granule& granule, int64_t raw_class);
  void append(const OtherLabels& other);
};

struct CloudLabels {
  std::string form;  // "netcdf" or "table"
  // How the labels were derived from known fields; empty: they are what their producer found.
  std::string derived;
  std::vector<ChipPlace> places;
  std::vector<int64_t> raw;  // class as the file has it
  std::vector<std::string> property_names;
  std::vector<double> properties;  // one row per label; NaN: none
  OtherLabels others;              // of granules that were not asked for

  int64_t size() const { return static_cast<int64_t>(raw.size()); }
  std::span<const double> properties_of(int64_t index) const;
  // Puts the labels of `other` behind these. A property that one of the two does not have is NaN
  // there. Throws Error when the forms differ, or one is derived and the other is not.
  void append(const CloudLabels& other);
};

// Of a file (.nc, .csv), or of all such files below a folder in the order of their names; with
// `granules` those of these granules, while the rest is only counted: tables of many years are
// larger than the memory. Throws UsageError when there is none, or both forms are mixed; Error
// naming file and line or variable for what cannot be read.
CloudLabels read_cloud_labels(const std::filesystem::path& path,
                              const std::set<Granule>* granules = nullptr);

// For commands that make labels of their own. The directory must be empty, or with `overwrite` hold
// no labels but derived ones; it is not made or changed yet.
std::filesystem::path new_label_directory(const std::string& output, bool overwrite);
void describe_label_form(FieldTable& fields, std::string* form);
// Writes labels.csv, or one NetCDF file per granule, by the labels' form, and the map of raw
// numbers to classes, in the place of the labels that are there. Returns the number of files of
// labels.
int64_t write_labels_with_map(const std::filesystem::path& directory, const CloudLabels& labels,
                              const std::map<int64_t, std::string>& class_names);

}  // namespace swath::data::clouds
