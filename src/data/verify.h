// Reads everything of a dataset and says what cannot be used, and why.
#pragma once

#include <cstdint>
#include <string>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"

namespace swath::data {

struct VerifyOptions {
  DatasetOptions data;
  int64_t bands = 0;    // that every image must have; 0: as the first image
  int64_t size = 0;     // height and width that every image must have; 0: any
  std::string split;    // a split directory to check against the dataset
  int64_t workers = 0;  // 0: all cores

  void describe(FieldTable& fields);
};

// Decodes every sample: truncated, empty or unreadable ones, wrong band counts or sizes, NaN and
// infinite pixels, names whose extension belongs to another format, damaged shards and records.
// Never stops at the first. Returns
//   {"dataset", "images", "good", "bad", "problems": [{"name", "reason"}], "sha256"?, "split"?}
// with at most 1000 problems listed. For shards the SHA-256 of the manifest is checked as well.
Json verify_dataset(const VerifyOptions& options);

}  // namespace swath::data
