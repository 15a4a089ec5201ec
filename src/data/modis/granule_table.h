// The table of granules that lies beside chips: what readers of chips need of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace swath::data::modis {

inline constexpr const char* kGranuleTableFile = "granules.csv";
inline constexpr const char* kGranuleTableHeader =
    "granule,problem,positions,chips,rejected,mask,geolocation,synthetic,message";
// Pictures of the granules, each with the granule's name and ".png".
inline constexpr const char* kQuickLookFolder = "quicklooks";
// They show every fourth pixel of every fourth row.
inline constexpr int64_t kQuickLookStep = 4;

// Whether each granule of the table in `folder` is synthetic, by name; nothing where there is no
// table. Throws Error naming the file when it is no such table.
std::optional<std::map<std::string, bool>> read_synthetic_marks(
    const std::filesystem::path& folder);

}  // namespace swath::data::modis
