#include "data/modis/granule_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/csv.h"
#include "core/error.h"
#include "core/files.h"

namespace swath::data::modis {

std::optional<std::map<std::string, bool>> read_synthetic_marks(
    const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kGranuleTableFile;
  if (!std::filesystem::exists(path)) return std::nullopt;
  CsvReader reader(read_file(path));
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("{}:{}: {}", path.string(), reader.line_number(), what),
                "cut the chips again with `swath chips`, which writes this table.");
  };
  if (!reader.next() || reader.line() != kGranuleTableHeader) {
    fail("this is no table of granules.");
  }
  const std::vector<std::string> columns = reader.cells();
  const auto synthetic =
      static_cast<size_t>(std::find(columns.begin(), columns.end(), "synthetic") - columns.begin());
  std::map<std::string, bool> marks;
  while (reader.next()) {
    if (reader.cells().size() != columns.size()) {
      fail(fmt::format("{} cells instead of {}.", reader.cells().size(), columns.size()));
    }
    marks[reader.cells().front()] = reader.cells()[synthetic] == "1";
  }
  return marks;
}

}  // namespace swath::data::modis
