// Labels as tables: CSV with a header line.
//
// Columns, in any order: Label, Timestamp (`yyyy-mm-dd HH:MM:SS`, UTC), lat, lon (degrees of the
// patch's centre), platform; every other column is a property and holds numbers (empty, `nan` and
// `NA`: none). Columns without a name or named `index`, which data frames leave behind, are passed
// over; so are, with a warning, columns whose first value is no number, such as file names.
// Lines that start with `#` are remarks; `# derived: HOW` marks labels derived from known fields.
#pragma once

#include <filesystem>

#include "data/clouds/cloud_labels.h"

namespace swath::data::clouds {

// With `granules` the labels of others are only counted. Throws Error naming the file and the line
// or the missing column.
CloudLabels read_label_table(const std::filesystem::path& path,
                             const std::set<Granule>* granules = nullptr);

void write_label_table(const std::filesystem::path& path, const CloudLabels& labels);

}  // namespace swath::data::clouds
