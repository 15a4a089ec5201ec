#include "data/modis/product_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/log.h"

namespace swath::data::modis {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMostNamed = 10;

bool is_hdf(const fs::path& path) {
  return path.extension() == ".hdf" || path.extension() == ".HDF";
}

std::optional<GranuleName> name_of(const fs::path& path) {
  if (const auto name = parse_granule_name(path.filename().string())) return name;
  try {
    const auto core = Hdf4File(path).text("", "CoreMetadata.0");
    return core ? parse_core_metadata(*core) : std::nullopt;
  } catch (const BadSample&) {
    return std::nullopt;
  }
}

void settle_duplicates(const std::vector<std::string>& twice, Duplicates duplicates) {
  if (twice.empty()) return;
  const size_t named = std::min(twice.size(), kMostNamed);
  const std::string text = fmt::format(
      "{}{}", fmt::join(twice.begin(), twice.begin() + static_cast<int64_t>(named), "; "),
      named < twice.size() ? " ..." : "");
  if (duplicates == Duplicates::kRefuse) {
    throw UsageError(
        fmt::format("granules: {} granules have more than one file: {}.", twice.size(), text),
        "keep one of each: the same pixels must not come twice.");
  }
  log_info(fmt::format("granules: the newest file counts where there are several, {} times: {}.",
                       twice.size(), text));
}

}  // namespace

std::string granule_key(const GranuleName& name) {
  return fmt::format("{} {}", platform_name(name.platform), name.time_text());
}

ProductFolder::ProductFolder(const fs::path& root) {
  if (fs::is_regular_file(root)) {
    add(root);
    return;
  }
  if (!fs::is_directory(root)) {
    throw UsageError(fmt::format("granules: there is no folder {}.", root.string()),
                     "name the folder of the granules.");
  }
  constexpr auto kFollow = fs::directory_options::follow_directory_symlink;
  for (const auto& entry : fs::recursive_directory_iterator(root, kFollow)) {
    if (entry.is_symlink() && !entry.exists() && is_hdf(entry.path())) {
      throw UsageError(fmt::format("granules: {} links to nothing.", entry.path().string()),
                       "mend or remove the link.");
    }
    if (entry.is_regular_file()) add(entry.path());
  }
}

void ProductFolder::add(const fs::path& path) {
  if (!is_hdf(path)) return;
  if (const auto name = name_of(path)) {
    files_.push_back({path, *name});
  } else {
    unknown_.push_back(path);
  }
}

FilesByGranule ProductFolder::files_of(const std::string& product, Duplicates duplicates) const {
  FilesByGranule files;
  std::vector<std::string> twice;
  for (const auto& [path, name] : files_) {
    if (name.product.substr(3) != product) continue;
    const auto [place, is_new] = files.emplace(granule_key(name), path);
    if (is_new || fs::equivalent(place->second, path)) continue;
    twice.push_back(fmt::format("{} and {}", place->second.string(), path.string()));
    if (place->second.filename() < path.filename()) place->second = path;
  }
  settle_duplicates(twice, duplicates);
  return files;
}

}  // namespace swath::data::modis
