#include "data/clouds/labelled_chips.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "core/csv.h"
#include "core/error.h"
#include "core/files.h"

namespace swath::data::clouds {
namespace {

const std::vector<std::string> kColumns = {"name",  "class", "part",   "platform", "date",
                                           "start", "row",   "column", "latitude", "longitude"};

template <class Number>
bool parse(const std::string& text, Number* value) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

bool parse_or_nan(const std::string& text, double* value) {
  *value = std::numeric_limits<double>::quiet_NaN();
  return text.empty() || parse(text, value);
}

}  // namespace

std::span<const double> LabelledChips::properties_of(int64_t index) const {
  const size_t width = property_names.size();
  return std::span(properties).subspan(static_cast<size_t>(index) * width, width);
}

std::string labelled_chips_text(const LabelledChips& chips) {
  std::string text;
  for (const std::string& column : kColumns) text += (text.empty() ? "" : ",") + column;
  for (const std::string& name : chips.property_names) text += "," + csv_cell(name);
  text += '\n';
  for (size_t i = 0; i < chips.chips.size(); ++i) {
    const LabelledChip& chip = chips.chips[i];
    const ChipPlace& place = chip.place;
    text += fmt::format("{},{},{},{},{},{},{},{},{},{}", csv_cell(chip.name),
                        csv_cell(chip.class_name), chip.part, platform_name(place.granule.platform),
                        place.granule.date, place.granule.start, place.row, place.column,
                        csv_number(place.latitude), csv_number(place.longitude));
    for (const double value : chips.properties_of(static_cast<int64_t>(i))) {
      text += "," + csv_number(value);
    }
    text += '\n';
  }
  return text;
}

LabelledChips read_labelled_chips(const std::filesystem::path& path) {
  LabelledChips chips;
  CsvReader reader(read_file(path));
  const auto fail = [&](const std::string& message) {
    throw Error(fmt::format("{}:{}: {}", path.string(), reader.line_number(), message),
                "make the lists again with `swath data label`.");
  };
  bool has_header = false;
  size_t width = 0;
  while (reader.next()) {
    const std::vector<std::string>& cells = reader.cells();
    if (!has_header) {
      has_header = true;
      width = cells.size();
      if (width < kColumns.size() || !std::equal(kColumns.begin(), kColumns.end(), cells.begin())) {
        fail("this is no list of labelled chips.");
      }
      chips.property_names.assign(cells.begin() + static_cast<std::ptrdiff_t>(kColumns.size()),
                                  cells.end());
      continue;
    }
    if (cells.size() != width) fail(fmt::format("{} cells instead of {}.", cells.size(), width));
    LabelledChip chip;
    chip.name = cells[0];
    chip.class_name = cells[1];
    chip.part = cells[2];
    const std::optional<Platform> platform = parse_platform(cells[3]);
    ChipPlace& place = chip.place;
    if (!platform || !parse(cells[4], &place.granule.date) ||
        !parse(cells[5], &place.granule.start) || !parse(cells[6], &place.row) ||
        !parse(cells[7], &place.column) || !parse_or_nan(cells[8], &place.latitude) ||
        !parse_or_nan(cells[9], &place.longitude)) {
      fail("the place of the chip cannot be read.");
    }
    place.granule.platform = *platform;
    for (size_t c = kColumns.size(); c < width; ++c) {
      double value = 0;
      if (!parse_or_nan(cells[c], &value)) fail(fmt::format("`{}` is no number.", cells[c]));
      chips.properties.push_back(value);
    }
    chips.chips.push_back(std::move(chip));
  }
  if (chips.chips.empty()) fail("it lists no chip.");
  return chips;
}

}  // namespace swath::data::clouds
