#include "data/name_index.h"

#include <algorithm>

namespace swath::data {

void NameIndex::add(std::string_view name, int64_t label) {
  entries_.push_back(
      {text_.size(), static_cast<uint32_t>(name.size()), static_cast<int32_t>(label)});
  text_.append(name);
}

std::string_view NameIndex::name(int64_t index) const {
  const Entry& entry = entries_[static_cast<size_t>(index)];
  return std::string_view(text_).substr(entry.begin, entry.length);
}

void NameIndex::sort() {
  const auto name_of = [this](const Entry& entry) {
    return std::string_view(text_).substr(entry.begin, entry.length);
  };
  std::sort(entries_.begin(), entries_.end(),
            [&](const Entry& left, const Entry& right) { return name_of(left) < name_of(right); });
}

void NameIndex::set_label(int64_t index, int64_t label) {
  entries_[static_cast<size_t>(index)].label = static_cast<int32_t>(label);
}

void NameIndex::filter(const std::function<bool(int64_t)>& keep) {
  size_t kept = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    // entries_[i] is still in its place when it is asked about: kept never passes i.
    if (keep(static_cast<int64_t>(i))) entries_[kept++] = entries_[i];
  }
  entries_.resize(kept);
}

}  // namespace swath::data
