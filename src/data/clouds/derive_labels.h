// `swath data derive-labels`: labels computed from the chips themselves, in the forms of AICCA.
//
// They say nothing about clouds. They are there to run and check everything that comes after them,
// with classes that can be learned: thirds of brightness in one band, each cut into halves by the
// scale of its texture, which neither the mean nor the deviation of a band tells. All of it stays
// the same under turns and mirrors of the chip. Files, lists and reports say that they are derived.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"

namespace swath::data::clouds {

struct DeriveOptions {
  DatasetOptions data;
  std::string output;
  std::string form = "table";
  int64_t band = -1;     // 0-based; below 0: from the last
  int64_t levels = 3;    // of the band's mean
  int64_t textures = 2;  // of the texture's scale, within each level
  bool overwrite = false;

  void describe(FieldTable& fields);
};

// Mean and deviation of a band's values, and the scale of its texture: the mean square of the
// difference of neighbours, over the variance; small for wide structures, 2 for noise. Values that
// are not finite count for nothing; all three are NaN without values.
struct FieldSummary {
  double mean = 0;
  double deviation = 0;
  double texture = 0;
};
FieldSummary summarize_field(const Image& image, int64_t band);

// Writes labels.csv, or one NetCDF file per granule, and label_map.csv into the output directory.
// Raw numbers are those of the form: from 0 in NetCDF, from 1 in tables. Returns {"output", "form",
// "derived", "labels", "classes", "files"}.
Json derive_labels(const DeriveOptions& options);

}  // namespace swath::data::clouds
