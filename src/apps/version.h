// What was built, from which sources.
#pragma once

#include <string>

namespace swath::apps {

std::string version();       // "0.1.0"
std::string commit();        // of the sources at build time, or "unknown"
std::string version_text();  // one line: version, commit, compiler, LibTorch, GDAL

}  // namespace swath::apps
