// Comma-separated values (RFC 4180): cells may stand in quotes, with commas and doubled quotes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <istream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace swath {

// Line by line; a line break inside quotes ends the cell, since none of our files has one. Empty
// lines are skipped.
class CsvReader {
 public:
  explicit CsvReader(std::string text);
  // Line by line from the file, of any size. Throws Error where it cannot be opened or read.
  static CsvReader of_file(const std::filesystem::path& path);

  bool next();  // false at the end
  std::string_view line() const { return line_; }
  const std::vector<std::string>& cells() const { return cells_; }
  int64_t line_number() const { return line_number_; }

 private:
  CsvReader(std::unique_ptr<std::istream> input, std::string source);

  std::unique_ptr<std::istream> input_;
  std::string source_;  // for messages
  int64_t line_number_ = 0;
  std::string text_;  // of the line
  std::string_view line_;
  std::vector<std::string> cells_;
};

// In quotes where it has to be.
std::string csv_cell(std::string_view text);
// The shortest digits that read back as the same number; empty for NaN.
std::string csv_number(double value);

}  // namespace swath
