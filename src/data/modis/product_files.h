// Files of MODIS products in a folder, by the granule they belong to.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/modis/granule.h"

namespace swath::data::modis {

// The product's file for each granule, by granule_key().
using FilesByGranule = std::map<std::string, std::filesystem::path>;

// "Terra A2012123.1035": the same for all products of a granule.
std::string granule_key(const GranuleName& name);

// The .hdf files below a folder (or the one file) whose product is one of `products`, named without
// the platform's MOD or MYD: "021KM", "03", "06_L2". Throws UsageError when there is no such
// folder, or when two different files are of one granule.
FilesByGranule find_products(const std::filesystem::path& root,
                             const std::vector<std::string>& products);

}  // namespace swath::data::modis
