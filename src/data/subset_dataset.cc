#include "data/subset_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "data/missing_names.h"

namespace swath::data {

SubsetDataset::SubsetDataset(std::shared_ptr<const Dataset> base, std::vector<int64_t> indices)
    : base_(std::move(base)), indices_(std::move(indices)) {
  for (const int64_t index : indices_) {
    if (index < 0 || index >= base_->size()) {
      throw UsageError(fmt::format("data: sample {} is not in {}.", index, base_->description()));
    }
  }
}

SubsetDataset::SubsetDataset(std::shared_ptr<const Dataset> base, std::vector<int64_t> indices,
                             std::vector<int64_t> labels, std::vector<std::string> class_names)
    : SubsetDataset(std::move(base), std::move(indices)) {
  if (labels.size() != indices_.size()) {
    throw UsageError(
        fmt::format("data: {} labels for a subset of {} samples.", labels.size(), indices_.size()));
  }
  has_own_labels_ = true;
  labels_ = std::move(labels);
  class_names_ = std::move(class_names);
}

Sample SubsetDataset::sample(int64_t index) const {
  Sample sample = base_->sample(indices_[static_cast<size_t>(index)]);
  if (has_own_labels_) sample.label = labels_[static_cast<size_t>(index)];
  return sample;
}

ImageSource SubsetDataset::source(int64_t index, std::vector<std::byte>* scratch) const {
  return base_->source(indices_[static_cast<size_t>(index)], scratch);
}

const std::vector<std::string>& SubsetDataset::class_names() const {
  return has_own_labels_ ? class_names_ : base_->class_names();
}

std::string SubsetDataset::description() const {
  return fmt::format("{} of {}", size(), base_->description());
}

std::unique_ptr<Dataset> select_by_list(std::shared_ptr<const Dataset> base, const ListFile& list,
                                        const std::string& list_name, bool skip_missing) {
  std::unordered_map<std::string_view, int64_t> wanted;
  for (int64_t i = 0; i < list.names.size(); ++i) wanted.emplace(list.names.name(i), i);
  std::vector<int64_t> position(static_cast<size_t>(list.names.size()), -1);
  for (int64_t i = 0; i < base->size(); ++i) {
    const auto found = wanted.find(base->sample(i).name);
    if (found != wanted.end()) position[static_cast<size_t>(found->second)] = i;
  }
  std::vector<int64_t> indices;
  std::vector<int64_t> labels;
  MissingNames missing;
  for (int64_t i = 0; i < list.names.size(); ++i) {
    if (position[static_cast<size_t>(i)] < 0) {
      missing.add(list.names.name(i));
      continue;
    }
    indices.push_back(position[static_cast<size_t>(i)]);
    labels.push_back(list.names.label(i));
  }
  missing.report(list_name, base->description(), skip_missing);
  if (list.class_names.empty()) {
    return std::make_unique<SubsetDataset>(std::move(base), std::move(indices));
  }
  return std::make_unique<SubsetDataset>(std::move(base), std::move(indices), std::move(labels),
                                         list.class_names);
}

std::unique_ptr<Dataset> exclude_by_list(std::shared_ptr<const Dataset> base, const ListFile& list,
                                         const std::string& list_name) {
  std::unordered_set<std::string_view> names;
  for (int64_t i = 0; i < list.names.size(); ++i) names.insert(list.names.name(i));
  std::unordered_set<std::string> matched;
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < base->size(); ++i) {
    const std::string name = base->sample(i).name;
    const std::string file_name = name.substr(name.rfind('/') + 1);
    if (names.contains(name)) {
      matched.insert(name);
    } else if (names.contains(file_name)) {
      matched.insert(file_name);
    } else {
      kept.push_back(i);
    }
  }
  if (matched.empty()) {
    throw UsageError(fmt::format("{} excludes nothing: none of its {} names (such as {}) is in {}.",
                                 list_name, names.size(), list.names.name(0), base->description()),
                     "check that the list belongs to this dataset.");
  }
  if (matched.size() < names.size()) {
    log_warning(fmt::format("{}: {} of {} excluded names are not in {}.", list_name,
                            names.size() - matched.size(), names.size(), base->description()));
  }
  if (kept.empty()) {
    throw UsageError(
        fmt::format("{} excludes every sample of {}.", list_name, base->description()));
  }
  return std::make_unique<SubsetDataset>(std::move(base), std::move(kept));
}

std::unique_ptr<Dataset> limit_samples(std::unique_ptr<Dataset> dataset, int64_t count) {
  const int64_t size = dataset->size();
  if (size <= count) {
    if (size < count) {
      log_warning(fmt::format("data: {} has {} samples, {} were asked for.", dataset->description(),
                              size, count));
    }
    return dataset;
  }
  std::vector<std::pair<uint64_t, int64_t>> ranked;
  ranked.reserve(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) ranked.emplace_back(dataset->sample(i).id, i);
  std::nth_element(ranked.begin(), ranked.begin() + count, ranked.end());
  std::vector<int64_t> indices;
  for (int64_t k = 0; k < count; ++k) indices.push_back(ranked[static_cast<size_t>(k)].second);
  std::sort(indices.begin(), indices.end());
  return std::make_unique<SubsetDataset>(std::move(dataset), std::move(indices));
}

}  // namespace swath::data
