// `swath data product-labels`: classes of chips from a pixel field of their MOD06 files, in the
// forms of AICCA, with the cloud properties of the same files.
//
// A chip's class is the value that most of its pixels have. For real granules the field is the
// cloud phase; synthetic ones say which kind of cloud each pixel was drawn as.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"

namespace swath::data::modis {

struct ProductLabelOptions {
  DatasetOptions data;
  std::string products;
  std::string field = "Cloud_Phase_Infrared_1km";
  double min_share = 0.5;
  std::string form = "table";
  std::string output;
  bool overwrite = false;

  void describe(FieldTable& fields);
};

// Writes the labels (labels.csv, or one NetCDF file per granule) and label_map.csv, which names the
// values of known fields, into the output directory. Raw numbers are the field's own values. A chip
// gets no label when no value holds `min_share` of its pixels or its granule has no MOD06 file.
// Returns {"output", "form", "derived", "labels", "classes", "files", "unlabelled": {"mixed",
// "no_product"}}. Throws UsageError when no chip gets a label; BadSample naming the file when it
// has no such field, or one of another size than its chips need.
Json product_labels(const ProductLabelOptions& options);

}  // namespace swath::data::modis
