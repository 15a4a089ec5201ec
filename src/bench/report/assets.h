// The page's own files (assets/), embedded at build by cmake/EmbedText.cmake.
#pragma once

#include <string_view>

namespace swath::bench {

// By the file's name without its ending: "page", "style", "program", "theme".
std::string_view report_asset(std::string_view stem);

}  // namespace swath::bench
