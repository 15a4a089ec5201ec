// The list files of the remote-sensing papers (RVSA, RSP): lines `name class index`, split at white
// space. Also accepted: lines of a name alone, for unlabelled sets and exclusions.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/name_index.h"

namespace swath::data {

struct ListFile {
  NameIndex names;                       // in the order of the file; label -1 without classes
  std::vector<std::string> class_names;  // by index; "class_7" for an index without a line
};

// Throws UsageError naming file and line: neither 1 nor 3 columns, an index that is no number, one
// class with two indices or one index with two classes, a name twice, an absolute name, no line.
// If a split.json or labels.json lies beside the list and names it, the list must have the SHA-256
// stored there.
ListFile read_list_file(const std::filesystem::path& path);

// One line per sample, LF; throws UsageError for a name or class with white space in it.
std::string list_file_text(const ListFile& list);

}  // namespace swath::data
