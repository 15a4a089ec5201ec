// A look at any dataset: what is in it, without training on it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"

namespace swath::data {

struct InspectOptions {
  DatasetOptions data;
  int64_t samples = 200;       // a seeded choice that is decoded for value ranges; 0: all
  std::vector<int64_t> bands;  // 0-based; empty: all
  std::string
      save_normalization;  // writes mean and deviation of the samples looked at to this file
  int64_t workers = 0;

  void describe(FieldTable& fields);
};

// {"dataset", "images", "classes": {name: count}, "unlabelled", "examples",
//  "looked_at", "formats", "sizes": {"256x256": n}, "pixel_types", "band_counts", "georeferenced",
//  "bands": [{"name", "minimum", "maximum", "mean", "standard_deviation"}],
//  "unusable_images", "unusable"}
// Counts of classes are of all samples, the rest is of the samples looked at; "unusable" says why
// of the first 20.
Json inspect_dataset(const InspectOptions& options);

}  // namespace swath::data
