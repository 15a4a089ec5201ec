#include "data/list_dataset.h"

#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "data/missing_names.h"

namespace swath::data {
namespace fs = std::filesystem;

ListDataset::ListDataset(fs::path root, const fs::path& list_path, bool skip_missing)
    : root_(std::move(root)), list_path_(list_path) {
  const ListFile list = read_list_file(list_path);
  class_names_ = list.class_names;
  MissingNames missing;
  for (int64_t i = 0; i < list.names.size(); ++i) {
    const std::string name(list.names.name(i));
    const int64_t label = list.names.label(i);
    std::vector<std::string> candidates = {name};
    if (label >= 0) candidates.push_back(class_names_[static_cast<size_t>(label)] + "/" + name);
    candidates.push_back("all_img/" + name);
    bool is_found = false;
    for (const std::string& candidate : candidates) {
      std::error_code ignored;
      if (!fs::is_regular_file(root_ / candidate, ignored)) continue;
      index_.add(candidate, label);
      is_found = true;
      break;
    }
    if (!is_found) missing.add(name);
  }
  missing.report(list_path.string(), root_.string(), skip_missing && index_.size() > 0);
}

Sample ListDataset::sample(int64_t index) const {
  Sample sample;
  sample.name = index_.name(index);
  sample.id = xxh3(sample.name);
  sample.label = index_.label(index);
  return sample;
}

ImageSource ListDataset::source(int64_t index, std::vector<std::byte>*) const {
  return ImageSource::from_file(root_ / index_.name(index));
}

std::string ListDataset::description() const {
  return fmt::format("{} ({} images of {})", list_path_.string(), size(), root_.string());
}

}  // namespace swath::data
