#include "data/list_file.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <map>
#include <unordered_set>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::vector<std::string_view> columns_of(std::string_view line) {
  std::vector<std::string_view> columns;
  size_t position = 0;
  while (position < line.size()) {
    while (position < line.size() && is_space(line[position])) ++position;
    const size_t begin = position;
    while (position < line.size() && !is_space(line[position])) ++position;
    if (position > begin) columns.push_back(line.substr(begin, position - begin));
  }
  return columns;
}

// What wrote lists with their checksums: `swath data split` and `swath data label`.
struct ListStore {
  const char* file;
  const char* command;
};
constexpr std::array<ListStore, 2> kListStores = {
    {{"split.json", "data split"}, {"labels.json", "data label"}}};

void check_stored_checksum(const fs::path& path, std::string_view text) {
  for (const ListStore& store : kListStores) {
    const fs::path stored_path = path.parent_path() / store.file;
    if (!fs::exists(stored_path)) continue;
    const Json stored = Json::parse(read_file(stored_path), nullptr, /*allow_exceptions=*/false);
    if (!stored.is_object() || !stored.contains("lists")) continue;
    Json lists = stored["lists"];
    if (stored.contains("probe_images")) lists.push_back(stored["probe_images"]);
    for (const Json& list : lists) {
      if (list.value("file", "") != path.filename().string()) continue;
      const std::string found = sha256_hex(text);
      if (list.value("sha256", "") == found) return;
      throw UsageError(
          fmt::format("{} was changed after the split: its SHA-256 is {}, {} says {}.",
                      path.string(), found, stored_path.string(), list.value("sha256", "")),
          fmt::format("restore the list, or make it again with `swath {}`.", store.command));
    }
  }
}

}  // namespace

ListFile read_list_file(const fs::path& path) {
  if (!fs::is_regular_file(path)) {
    throw UsageError(fmt::format("data: the list {} does not exist.", path.string()));
  }
  const std::string text = read_file(path);
  check_stored_checksum(path, text);

  ListFile list;
  std::map<std::string, int64_t, std::less<>> class_index;
  std::map<int64_t, std::string> class_of_index;
  size_t expected_columns = 0;
  int64_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    const auto columns = columns_of(line);
    if (columns.empty()) continue;
    const auto fail = [&](const std::string& message) {
      throw UsageError(fmt::format("{}:{}: {}", path.string(), line_number, message),
                       "a line is `name class index`, or a name alone; names hold no spaces.");
    };
    if (columns.size() != 1 && columns.size() != 3) {
      fail(fmt::format("expected 1 or 3 columns, found {}: `{}`.", columns.size(), line));
    }
    if (expected_columns == 0) expected_columns = columns.size();
    if (columns.size() != expected_columns) {
      fail(fmt::format("{} columns, the lines before have {}.", columns.size(), expected_columns));
    }
    if (columns[0].starts_with('/')) fail(fmt::format("`{}` is not a relative name.", columns[0]));
    if (columns.size() == 1) {
      list.names.add(columns[0]);
      continue;
    }
    int64_t label = -1;
    const std::string_view number = columns[2];
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), label);
    if (parsed.ec != std::errc() || parsed.ptr != number.data() + number.size() || label < 0 ||
        label > 1'000'000) {
      fail(fmt::format("`{}` is not a class index.", number));
    }
    const std::string class_name(columns[1]);
    const auto [by_name, is_new_name] = class_index.emplace(class_name, label);
    if (!is_new_name && by_name->second != label) {
      fail(fmt::format("class {} has index {} here and {} above.", class_name, label,
                       by_name->second));
    }
    const auto [by_index, is_new_index] = class_of_index.emplace(label, class_name);
    if (!is_new_index && by_index->second != class_name) {
      fail(fmt::format("index {} is class {} here and {} above.", label, class_name,
                       by_index->second));
    }
    list.names.add(columns[0], label);
  }
  if (list.names.size() == 0) {
    throw UsageError(fmt::format("data: the list {} is empty.", path.string()));
  }
  std::unordered_set<std::string_view> seen;
  for (int64_t i = 0; i < list.names.size(); ++i) {
    if (!seen.insert(list.names.name(i)).second) {
      throw UsageError(fmt::format("{}: {} is listed twice.", path.string(), list.names.name(i)),
                       "remove one of the two lines.");
    }
  }
  if (!class_of_index.empty()) {
    const int64_t classes = class_of_index.rbegin()->first + 1;
    for (int64_t i = 0; i < classes; ++i) {
      const auto known = class_of_index.find(i);
      list.class_names.push_back(known != class_of_index.end() ? known->second
                                                               : fmt::format("class_{}", i));
    }
  }
  return list;
}

std::string list_file_text(const ListFile& list) {
  std::string text;
  const auto check = [](std::string_view word) {
    if (word.empty() || word.find_first_of(" \t\r\n") != std::string_view::npos) {
      throw UsageError(
          fmt::format("`{}` has white space in it, which a list file cannot hold.", word),
          "rename the file or class folder.");
    }
  };
  for (int64_t i = 0; i < list.names.size(); ++i) {
    const std::string_view name = list.names.name(i);
    const int64_t label = list.names.label(i);
    check(name);
    text.append(name);
    if (label >= 0) {
      const std::string& class_name = list.class_names.at(static_cast<size_t>(label));
      check(class_name);
      text += fmt::format(" {} {}", class_name, label);
    }
    text += '\n';
  }
  return text;
}

}  // namespace swath::data
