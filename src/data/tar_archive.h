// Reading and writing tar archives (POSIX ustar with GNU and pax long names), no more than
// WebDataset needs: plain files, in sequence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "core/files.h"

namespace swath::data {

struct TarMember {
  std::string name;
  uint64_t offset = 0;  // of the contents in the archive
  uint64_t bytes = 0;
};

// Calls `member` for every plain file. `archive` is the whole file; `archive_name` is for errors.
// Throws Error naming archive and offset: bad header checksum, contents that end past the file, no
// end mark.
void scan_tar(std::string_view archive, const std::string& archive_name,
              const std::function<void(const TarMember&)>& member);

// Appends one file, header and padding, to an archive.
void append_tar_member(AtomicFileWriter& archive, const std::string& name, std::string_view bytes);
// The two empty blocks at the end.
void append_tar_end(AtomicFileWriter& archive);

}  // namespace swath::data
