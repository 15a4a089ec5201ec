// Which label belongs to which chip.
//
//   pixel     same granule, same first row and column
//   nearest   same granule, centres at most limit_km apart on a great circle; pairs are made from
//             the closest on, and each chip and each label is in one pair at most
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/clouds/cloud_labels.h"

namespace swath::data::clouds {

struct JoinResult {
  std::string by;                      // "pixel" or "nearest"
  std::vector<int64_t> label_of_chip;  // -1: none
  std::vector<double> distance_km;     // of the pair; NaN where there is none, or no positions
  int64_t matched = 0;
  // Chips without a label: of a granule that no label is of; or too far from those there are.
  int64_t chips_without_granule = 0;
  int64_t chips_too_far = 0;
  int64_t labels_without_granule = 0;
  int64_t labels_too_far = 0;
  // Labels that say the same of the same place as one before them: they are left out.
  int64_t duplicate_labels = 0;
  // Matched chips with more than one label within the limit.
  int64_t ambiguous = 0;
  double limit_km = 0;

  // Counts, and a histogram of the distances in ten bins up to the limit.
  Json to_json() const;
};

// `by`: pixel, nearest, or auto (pixel where all labels have pixels). Throws UsageError when one
// pixel or place has two labels that differ, when chips or labels lack what the join needs, and
// when nothing matches: naming the platforms and times of both sides.
JoinResult join_labels(const std::vector<ChipPlace>& chips, const CloudLabels& labels,
                       const std::string& by, double limit_km);

}  // namespace swath::data::clouds
