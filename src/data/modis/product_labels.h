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
// Returns {"output", "form", "derived", "labels", "classes", "files", "unlabelled": {reason:
// chips}, "bad": [{name, reason, message}] (the first 100)}; reasons are "mixed", "no_product" and,
// with data.skip_bad, those of files that cannot be used: "unreadable", "pair" (of another granule
// by its metadata), "missing_data_set" (no such field) and "layout" (a field of another size than
// its chips need). Without it the first such file stops with BadSample naming it. Throws UsageError
// when no chip gets a label.
Json product_labels(const ProductLabelOptions& options);

}  // namespace swath::data::modis
