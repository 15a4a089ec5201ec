// A picture that a page holds: its bytes, and what they are.
#pragma once

#include <filesystem>
#include <string>

namespace swath::bench {

struct Picture {
  std::string file;
  std::string caption;
  std::string mime;
  int width = 0;
  int height = 0;
  std::string bytes;
};

// A PNG or JPEG file, by content, whatever the name says. Throws Error naming a file that is
// neither, or too large for a page.
Picture read_picture(const std::filesystem::path& path);

}  // namespace swath::bench
