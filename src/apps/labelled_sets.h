// Train and test sets with labels, from whichever form a user has them in.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "core/config.h"
#include "data/dataset.h"

namespace swath::apps {

struct LabelledSets {
  std::shared_ptr<const data::Dataset> train;
  std::shared_ptr<const data::Dataset> test;  // labels counted in train's classes
  // How `swath data label` says that the lists' labels were derived; empty: they were not.
  std::string derived;
};

// How a user names them; part of each command that learns from labels.
struct LabelledOptions {
  data::DatasetOptions data;
  std::string test_root;
  std::string train_list;
  std::string test_list;
  std::string split;
  double train_ratio = 0.5;

  void describe(FieldTable& fields);
  // Replaces ${NAME} in every path.
  void expand();
};

// For sets below one root, where a name is an image. Throws UsageError naming one that is in both.
void check_disjoint(const data::Dataset& train, const data::Dataset& test);

// Throws UsageError when there are not as many splits: before the first is measured.
void check_repeats(const LabelledOptions& options, int64_t repeats);

// In this order: a second root, two lists, a split directory, or a fresh stratified split, written
// below `directory`. `repeat` chooses the split's seed; where there is only one split it must be 0.
// Throws UsageError when an image is in both sets.
LabelledSets open_labelled_sets(const LabelledOptions& options, int64_t repeat,
                                const std::filesystem::path& directory);

}  // namespace swath::apps
