// Names and labels of many samples in little memory: one text for all names and 16 bytes per
// sample, about 60 MB for a million files.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace swath::data {

class NameIndex {
 public:
  void add(std::string_view name, int64_t label = -1);
  // By the bytes of the names: the same order on every machine and in every locale.
  void sort();
  void set_label(int64_t index, int64_t label);
  // Keeps what `keep(index)` accepts, in the same order.
  void filter(const std::function<bool(int64_t)>& keep);

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  // Valid until the next add().
  std::string_view name(int64_t index) const;
  int64_t label(int64_t index) const { return entries_[static_cast<size_t>(index)].label; }

 private:
  struct Entry {
    uint64_t begin;
    uint32_t length;
    int32_t label;
  };
  std::string text_;
  std::vector<Entry> entries_;
};

}  // namespace swath::data
