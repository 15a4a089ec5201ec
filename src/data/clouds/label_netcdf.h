// Labels as NetCDF4, one file per granule, in the layout of AICCA's production code:
//
//   file name     holds the granule: CMPST_MOD021KM.A2012123.1015....nc
//   labels_nc-42  (npatches) int: class. `labels` beside it was created and never set.
//   coords        (npatches, 2) float: row and column of the patch's first pixel
//   /statistics/mean, /statistics/std     properties: (npatches) numbers, one variable each
//   /statistics/category                  clear-sky, liquid, ice, undef: pixels of each phase
//   attributes    hdfname (the Level-1B file), instrument
// What lies on the 1-degree grid is not read. The attribute label_origin = "derived: HOW" marks
// labels derived from known fields.
#pragma once

#include <filesystem>

#include "data/clouds/cloud_labels.h"

namespace swath::data::clouds {

// Whether swath was built with the NetCDF library.
bool has_netcdf();

// With `granules` the labels of another one are only counted. Throws Error naming the file and the
// missing variable, or when the file's name and hdfname are of two granules; UsageError when swath
// was built without NetCDF.
CloudLabels read_label_netcdf(const std::filesystem::path& path,
                              const std::set<Granule>* granules = nullptr);

// Writes the labels of one granule. Properties named NAME_mean and NAME_std become variables NAME
// of the groups mean and std; Cloud_Phase_Infrared_NAME become NAME of category; others go to mean
// under their own name. Throws UsageError for labels of two granules or without pixels.
void write_label_netcdf(const std::filesystem::path& path, const CloudLabels& labels);

}  // namespace swath::data::clouds
