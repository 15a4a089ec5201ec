#include "data/modis/product_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace swath::data::modis {
namespace fs = std::filesystem;
namespace {

void add_file(const fs::path& path, const std::string& key, FilesByGranule* files) {
  const auto [place, is_new] = files->emplace(key, path);
  if (is_new || fs::equivalent(place->second, path)) return;
  throw UsageError(fmt::format("granules: {} and {} are of one granule ({}).",
                               place->second.string(), path.string(), key),
                   "keep one of them: the same pixels must not come twice.");
}

}  // namespace

std::string granule_key(const GranuleName& name) {
  return fmt::format("{} {}", platform_name(name.platform), name.time_text());
}

FilesByGranule find_products(const fs::path& root, const std::vector<std::string>& products) {
  FilesByGranule files;
  const auto look_at = [&](const fs::path& path) {
    if (path.extension() != ".hdf") return;
    const auto name = parse_granule_name(path.filename().string());
    if (!name) return;
    const std::string product = name->product.substr(3);
    if (std::find(products.begin(), products.end(), product) == products.end()) return;
    add_file(path, granule_key(*name), &files);
  };
  if (fs::is_regular_file(root)) {
    look_at(root);
    return files;
  }
  if (!fs::is_directory(root)) {
    throw UsageError(fmt::format("granules: there is no folder {}.", root.string()),
                     "name the folder of the granules.");
  }
  constexpr auto kFollow = fs::directory_options::follow_directory_symlink;
  for (const auto& entry : fs::recursive_directory_iterator(root, kFollow)) {
    if (entry.is_symlink() && !entry.exists() && entry.path().extension() == ".hdf") {
      throw UsageError(fmt::format("granules: {} links to nothing.", entry.path().string()),
                       "mend or remove the link.");
    }
    if (entry.is_regular_file()) look_at(entry.path());
  }
  return files;
}

}  // namespace swath::data::modis
