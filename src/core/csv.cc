#include "core/csv.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <sstream>
#include <utility>

#include "core/error.h"

namespace swath {
namespace {

std::vector<std::string> split_cells(std::string_view line) {
  std::vector<std::string> cells(1);
  bool in_quotes = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && in_quotes && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += c;
      ++i;
    } else if (c == '"') {
      in_quotes = !in_quotes;
    } else if (c == ',' && !in_quotes) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  return cells;
}

}  // namespace

CsvReader::CsvReader(std::unique_ptr<std::istream> input, std::string source)
    : input_(std::move(input)), source_(std::move(source)) {}

CsvReader::CsvReader(std::string text)
    : CsvReader(std::make_unique<std::istringstream>(std::move(text)), "text") {}

CsvReader CsvReader::of_file(const std::filesystem::path& path) {
  auto file = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*file) throw Error(fmt::format("{}: cannot be opened.", path.string()));
  return {std::move(file), path.string()};
}

bool CsvReader::next() {
  while (std::getline(*input_, text_)) {
    line_ = text_;
    // The mark of byte order that spreadsheets put in front of UTF-8.
    if (line_number_ == 0 && line_.starts_with("\xef\xbb\xbf")) line_.remove_prefix(3);
    if (line_.ends_with('\r')) line_.remove_suffix(1);
    ++line_number_;
    if (line_.empty()) continue;
    cells_ = split_cells(line_);
    return true;
  }
  if (input_->bad()) throw Error(fmt::format("{}: cannot be read.", source_));
  return false;
}

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string cell = "\"";
  for (const char c : text) {
    if (c == '"') cell += c;
    cell += c;
  }
  return cell + '"';
}

std::string csv_number(double value) {
  return std::isnan(value) ? std::string() : fmt::format("{}", value);
}

}  // namespace swath
