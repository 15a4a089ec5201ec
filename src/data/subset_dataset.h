// Part of another dataset, in any order, with its own labels if wanted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/list_file.h"

namespace swath::data {

class SubsetDataset : public Dataset {
 public:
  // Sample i is sample `indices[i]` of `base`. Throws UsageError for an index outside of it.
  SubsetDataset(std::shared_ptr<const Dataset> base, std::vector<int64_t> indices);
  // The same with other labels and classes: `labels[i]` belongs to sample i.
  SubsetDataset(std::shared_ptr<const Dataset> base, std::vector<int64_t> indices,
                std::vector<int64_t> labels, std::vector<std::string> class_names);

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Sample sample(int64_t index) const override;
  ImageSource source(int64_t index, std::vector<std::byte>* scratch) const override;
  const std::vector<std::string>& class_names() const override;
  std::string description() const override;
  std::vector<std::string> band_names() const override { return base_->band_names(); }
  std::string units() const override { return base_->units(); }
  bool has_missing() const override { return base_->has_missing(); }

 private:
  std::shared_ptr<const Dataset> base_;
  std::vector<int64_t> indices_;
  bool has_own_labels_ = false;
  std::vector<int64_t> labels_;
  std::vector<std::string> class_names_;
};

// The samples of a list, in its order and with its labels, found by name in `base`. Throws
// UsageError naming the first missing ones; with `skip_missing` they are left out with a warning.
std::unique_ptr<Dataset> select_by_list(std::shared_ptr<const Dataset> base, const ListFile& list,
                                        const std::string& list_name, bool skip_missing);

// Everything that `list` does not name. A listed name without a folder in it also matches a sample
// of that file name in any folder, since published lists often leave the folder out. Throws
// UsageError when it matches nothing: then it is the wrong list; warns when it matches in part.
std::unique_ptr<Dataset> exclude_by_list(std::shared_ptr<const Dataset> base, const ListFile& list,
                                         const std::string& list_name);

// `count` samples, in their order: those with the lowest ids, which are hashes of their names. All
// of them, with a warning, where there are fewer.
std::unique_ptr<Dataset> limit_samples(std::unique_ptr<Dataset> dataset, int64_t count);

}  // namespace swath::data
