#include "core/csv.h"

#include <fmt/format.h>

#include <cmath>

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

CsvReader::CsvReader(std::string text) : text_(std::move(text)) {
  // The mark of byte order that spreadsheets put in front of UTF-8.
  if (std::string_view(text_).starts_with("\xef\xbb\xbf")) position_ = 3;
}

bool CsvReader::next() {
  while (position_ < text_.size()) {
    size_t end = text_.find('\n', position_);
    if (end == std::string::npos) end = text_.size();
    line_ = std::string_view(text_).substr(position_, end - position_);
    if (line_.ends_with('\r')) line_.remove_suffix(1);
    position_ = end + 1;
    ++line_number_;
    if (line_.empty()) continue;
    cells_ = split_cells(line_);
    return true;
  }
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
