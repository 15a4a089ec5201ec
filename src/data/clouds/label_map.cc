#include "data/clouds/label_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/csv.h"
#include "core/error.h"
#include "core/files.h"

namespace swath::data::clouds {

// Written by the build from label_maps/*.csv: form and text of each.
extern const std::vector<std::pair<const char*, const char*>> kLabelMapFiles;

LabelMap::LabelMap(std::string_view text, const std::string& origin)
    : text_(text), origin_(origin) {
  CsvReader reader(text_);
  bool has_header = false;
  while (reader.next()) {
    if (reader.line().starts_with('#')) continue;
    const auto fail = [&](const std::string& message) {
      throw UsageError(fmt::format("{}:{}: {}", origin_, reader.line_number(), message),
                       "a line is `raw,class`: a number, and a name without spaces or `drop`.");
    };
    const std::vector<std::string>& cells = reader.cells();
    if (cells.size() != 2) fail(fmt::format("expected 2 cells, found {}.", cells.size()));
    if (!has_header) {
      if (cells[0] != "raw" || cells[1] != "class") fail("the first line is not `raw,class`.");
      has_header = true;
      continue;
    }
    int64_t raw = 0;
    const auto parsed = std::from_chars(cells[0].data(), cells[0].data() + cells[0].size(), raw);
    if (parsed.ec != std::errc() || parsed.ptr != cells[0].data() + cells[0].size()) {
      fail(fmt::format("`{}` is no whole number.", cells[0]));
    }
    const std::string& name = cells[1];
    if (name.empty() || name.find_first_of(" \t") != std::string::npos) {
      fail(fmt::format("`{}` is no name of a class.", name));
    }
    int64_t index = kDrop;
    if (name != "drop") {
      const auto known = std::find(class_names_.begin(), class_names_.end(), name);
      index = known - class_names_.begin();
      if (known == class_names_.end()) class_names_.push_back(name);
    }
    if (!classes_.emplace(raw, index).second) fail(fmt::format("{} is mapped twice.", raw));
  }
  if (class_names_.empty()) {
    throw UsageError(fmt::format("{} maps nothing to a class.", origin_),
                     "a label map has `raw,class` in its first line and one line per number.");
  }
}

int64_t LabelMap::class_of(int64_t raw) const {
  const auto found = classes_.find(raw);
  if (found == classes_.end()) {
    throw UsageError(fmt::format("{} does not map the raw label {}.", origin_, raw),
                     "add a line with its class or `drop`, and give the map with --label_map.");
  }
  return found->second;
}

LabelMap read_label_map(const std::string& path, const std::filesystem::path& labels,
                        const std::string& form) {
  if (!path.empty()) return {read_file(path), path};
  const std::filesystem::path folder =
      std::filesystem::is_directory(labels) ? labels : labels.parent_path();
  const std::filesystem::path beside = folder / kLabelMapFile;
  if (std::filesystem::exists(beside)) return {read_file(beside), beside.string()};
  for (const auto& [of_form, text] : kLabelMapFiles) {
    if (of_form == form) return {text, fmt::format("the map that comes with swath ({})", form)};
  }
  throw UsageError(fmt::format("labels: there is no map for the form {}.", form),
                   "give one with --label_map FILE.");
}

}  // namespace swath::data::clouds
