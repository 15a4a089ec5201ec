// What a raw class number of a label file stands for: said explicitly, never guessed.
//
// A map is a CSV file, `raw,class` in its first line; a class is a name without spaces, or `drop`.
// Classes get their index by first appearance. Several raw numbers may share a class.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace swath::data::clouds {

// The map that lies beside labels, in their folder, and goes with them.
inline constexpr const char* kLabelMapFile = "label_map.csv";

class LabelMap {
 public:
  static constexpr int64_t kDrop = -1;

  // `origin` names the file in errors. Throws UsageError naming the line: no number, no name, a raw
  // number twice, no class at all.
  LabelMap(std::string_view text, const std::string& origin);

  // The class index, or kDrop. Throws UsageError for a raw number that the map does not name.
  int64_t class_of(int64_t raw) const;
  bool knows(int64_t raw) const { return classes_.contains(raw); }
  const std::vector<std::string>& class_names() const { return class_names_; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::string origin_;
  std::map<int64_t, int64_t> classes_;
  std::vector<std::string> class_names_;
};

// The file; without one the label_map.csv in the folder of `labels`; without that the map that
// comes with swath for this form of labels (netcdf: 0..41 are the 42 classes; table: 1..42 are, and
// 0 and 43 are dropped).
LabelMap read_label_map(const std::string& path, const std::filesystem::path& labels,
                        const std::string& form);

}  // namespace swath::data::clouds
