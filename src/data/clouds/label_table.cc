#include "data/clouds/label_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

#include "core/csv.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"

namespace swath::data::clouds {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kDerivedMark = "# derived: ";

// NaN for what stands for no value; nothing for what is no number.
std::optional<double> parse_number(const std::string& text) {
  if (text.empty() || text == "nan" || text == "NaN" || text == "NA" || text == "null") {
    return std::numeric_limits<double>::quiet_NaN();
  }
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Columns {
  size_t label = 0;
  size_t time = 0;
  size_t latitude = 0;
  size_t longitude = 0;
  size_t platform = 0;
  std::vector<size_t> properties;
  std::vector<size_t> undecided;  // properties without a value so far
};

class TableReader {
 public:
  TableReader(fs::path path, const std::set<Granule>* granules)
      : path_(std::move(path)), granules_(granules) {}

  CloudLabels read() {
    CloudLabels labels;
    labels.form = "table";
    CsvReader reader = CsvReader::of_file(path_);
    bool has_header = false;
    while (reader.next()) {
      line_ = reader.line_number();
      const std::string_view line = reader.line();
      if (line.starts_with('#')) {
        if (line.starts_with(kDerivedMark)) labels.derived = line.substr(kDerivedMark.size());
        continue;
      }
      const std::vector<std::string>& cells = reader.cells();
      if (!has_header) {
        read_header(cells, &labels);
        has_header = true;
      } else {
        read_row(cells, &labels);
      }
    }
    if (!has_header) throw Error(fmt::format("labels: {} is empty.", path_.string()));
    if (!texts_.empty()) {
      log_warning(fmt::format("labels: {}: columns that hold no numbers are passed over: {}.",
                              path_.string(), fmt::join(texts_, ", ")));
    }
    return labels;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(fmt::format("labels: {}:{}: {}", path_.string(), line_, message),
                "docs/clouds.md describes the columns of a table of labels.");
  }

  void read_header(const std::vector<std::string>& cells, CloudLabels* labels) {
    width_ = cells.size();
    const auto column = [&](const char* name) {
      const auto found = std::find(cells.begin(), cells.end(), name);
      if (found == cells.end()) fail(fmt::format("there is no column `{}`.", name));
      return static_cast<size_t>(found - cells.begin());
    };
    columns_.label = column("Label");
    columns_.time = column("Timestamp");
    columns_.latitude = column("lat");
    columns_.longitude = column("lon");
    columns_.platform = column("platform");
    const std::vector<size_t> known = {columns_.label, columns_.time, columns_.latitude,
                                       columns_.longitude, columns_.platform};
    for (size_t c = 0; c < cells.size(); ++c) {
      if (std::find(known.begin(), known.end(), c) != known.end()) continue;
      if (cells[c].empty() || cells[c] == "index" || cells[c].starts_with("Unnamed")) continue;
      columns_.properties.push_back(c);
      labels->property_names.push_back(cells[c]);
    }
    columns_.undecided = columns_.properties;
  }

  // The first value of a column says whether it holds numbers: texts are no property.
  void look_for_texts(const std::vector<std::string>& cells, CloudLabels* labels) {
    std::vector<size_t> undecided;
    for (const size_t c : columns_.undecided) {
      const std::optional<double> value = parse_number(cells[c]);
      if (!value) {
        drop_property(c, labels);
      } else if (std::isnan(*value)) {
        undecided.push_back(c);
      }
    }
    columns_.undecided = std::move(undecided);
  }

  // Takes a column back that has had no value.
  void drop_property(size_t column, CloudLabels* labels) {
    const auto found = std::find(columns_.properties.begin(), columns_.properties.end(), column);
    const auto place = found - columns_.properties.begin();
    const size_t width = columns_.properties.size();
    texts_.push_back(labels->property_names[static_cast<size_t>(place)]);
    columns_.properties.erase(found);
    labels->property_names.erase(labels->property_names.begin() + place);
    std::vector<double> narrower;
    for (size_t i = 0; i < labels->properties.size(); ++i) {
      if (i % width != static_cast<size_t>(place)) narrower.push_back(labels->properties[i]);
    }
    labels->properties = std::move(narrower);
  }

  void read_row(const std::vector<std::string>& cells, CloudLabels* labels) {
    if (cells.size() != width_) {
      fail(fmt::format("{} cells, the header has {}.", cells.size(), width_));
    }
    if (!columns_.undecided.empty()) look_for_texts(cells, labels);
    ChipPlace place;
    const std::optional<Platform> platform = parse_platform(cells[columns_.platform]);
    if (!platform) fail(fmt::format("`{}` is no platform.", cells[columns_.platform]));
    place.granule = granule_of(*platform, cells[columns_.time]);
    place.latitude = number(cells[columns_.latitude], "lat");
    place.longitude = number(cells[columns_.longitude], "lon");
    if (!place.has_position() || std::abs(place.latitude) > 90 || std::abs(place.longitude) > 360) {
      fail(fmt::format("lat {}, lon {} is no place on the Earth.", cells[columns_.latitude],
                       cells[columns_.longitude]));
    }
    const double raw = number(cells[columns_.label], "Label");
    // Data frames write integers with gaps as 12.0.
    if (std::isnan(raw) || raw != std::floor(raw) || std::abs(raw) > 1e6) {
      fail(fmt::format("`{}` is no class number.", cells[columns_.label]));
    }
    if (granules_ != nullptr && !granules_->contains(place.granule)) {
      labels->others.add(place.granule, static_cast<int64_t>(raw));
      return;
    }
    labels->places.push_back(place);
    labels->raw.push_back(static_cast<int64_t>(raw));
    for (const size_t c : columns_.properties) {
      labels->properties.push_back(number(cells[c], "property"));
    }
  }

  Granule granule_of(Platform platform, const std::string& text) const {
    // Also with ISO 8601's T; what follows the seconds does not matter.
    constexpr std::string_view kForm = "dddd-dd-dd dd:dd:dd";
    bool is_time = text.size() >= kForm.size();
    for (size_t i = 0; is_time && i < kForm.size(); ++i) {
      const char c = text[i];
      is_time = kForm[i] == 'd'   ? c >= '0' && c <= '9'
                : kForm[i] == ' ' ? c == ' ' || c == 'T'
                                  : c == kForm[i];
    }
    if (!is_time) fail(fmt::format("the Timestamp `{}` is not `yyyy-mm-dd HH:MM:SS`.", text));
    const auto part = [&](size_t begin, size_t count) {
      int value = 0;
      std::from_chars(text.data() + begin, text.data() + begin + count, value);
      return value;
    };
    try {
      return granule_at(platform, part(0, 4), part(5, 2), part(8, 2), part(11, 2), part(14, 2));
    } catch (const Error& error) {
      fail(error.message());
    }
  }

  // NaN for what stands for no value.
  double number(const std::string& text, const char* what) const {
    const std::optional<double> value = parse_number(text);
    if (!value) fail(fmt::format("{} `{}` is no number.", what, text));
    return *value;
  }

  fs::path path_;
  const std::set<Granule>* granules_;  // null: of all
  int64_t line_ = 0;
  size_t width_ = 0;
  Columns columns_;
  std::vector<std::string> texts_;  // columns that are no properties
};

}  // namespace

CloudLabels read_label_table(const fs::path& path, const std::set<Granule>* granules) {
  return TableReader(path, granules).read();
}

void write_label_table(const fs::path& path, const CloudLabels& labels) {
  std::string text;
  if (!labels.derived.empty()) text += fmt::format("{}{}\n", kDerivedMark, labels.derived);
  text += "Label,Timestamp,lat,lon,platform";
  for (const std::string& name : labels.property_names) text += "," + csv_cell(name);
  text += '\n';
  for (int64_t i = 0; i < labels.size(); ++i) {
    const ChipPlace& place = labels.places[static_cast<size_t>(i)];
    text +=
        fmt::format("{},{} {:02}:{:02}:00,{},{},{}", labels.raw[static_cast<size_t>(i)],
                    place.granule.day_text(), place.granule.start / 100, place.granule.start % 100,
                    place.latitude, place.longitude, platform_name(place.granule.platform));
    for (const double value : labels.properties_of(i)) text += "," + csv_number(value);
    text += '\n';
  }
  write_file_atomically(path, text);
}

}  // namespace swath::data::clouds
