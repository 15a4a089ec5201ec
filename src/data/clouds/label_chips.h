// `swath data label`: labels that others computed, joined with chips, split by time and written as
// lists that `probe`, `finetune` and `clouds` read.
//
// What the output directory holds:
//   train.txt, validation.txt, test.txt   lists `name class index` of all labelled chips; with
//                                         split.parts only the first two or the last
//   train_0.01_0.txt ...                  1 % of each class of train.txt, draw 0: nested (the chips
//                                         of 0.1 % are in 1 % of the same draw), at least one each
//   held_out.txt                          names of all chips of the validation and test times,
//                                         labelled or not: to be kept out of pretraining
//                                         (data.exclude_list); none where it would be empty
//   chips.csv                             place and properties of each labelled chip
//   label_map.csv                         the map that was used
//   labels.json                           origin, counts, join, SHA-256 of each list; written last
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/clouds/time_split.h"
#include "data/dataset.h"

namespace swath::data::clouds {

struct LabelOptions {
  DatasetOptions data;
  std::string labels;
  std::string label_map;  // empty: the one that comes with swath for the labels' form
  std::string join = "auto";
  double limit_km = 20;
  TimeSplitOptions split;
  std::vector<double> fractions = {0.001, 0.01, 0.1, 1};
  int64_t draws = 3;
  std::string output;
  bool overwrite = false;

  void describe(FieldTable& fields);
};

inline constexpr const char* kLabelsFile = "labels.json";

// Writes the directory and returns the content of labels.json plus "output": {"form", "derived",
// "chips", "labels", "raw_counts", "dropped", "join", "classes", "parts", "split", "fractions",
// "draws", "lists": [{"file", "part", "fraction", "draw", "images", "per_class", "sha256"}]}.
// Throws UsageError for an unmapped raw label, no match, an empty training or test part that
// split.parts asks for, or an output that holds lists already.
Json label_chips(const LabelOptions& options);

// The chips of `indices` that a share of each class leaves, in the order of `indices`: per class
// they are ranked by the SHA-256 of "<draw>:<class>/<name>" and the first max(1, round(fraction *
// count)) are taken.
std::vector<int64_t> draw_fraction(const std::vector<int64_t>& indices,
                                   const std::vector<std::string>& names,
                                   const std::vector<int64_t>& classes,
                                   const std::vector<std::string>& class_names, double fraction,
                                   int64_t draw);

}  // namespace swath::data::clouds
