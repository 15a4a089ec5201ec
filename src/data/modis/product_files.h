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

// Where several files of one product are of one granule: of two collections, or produced twice.
enum class Duplicates {
  kRefuse,  // throws UsageError naming them: the same pixels must not come twice
  kNewest,  // the last by name, which is by collection and time of production; says so in the log
};

struct ProductFiles {
  FilesByGranule files;
  // Files whose names are of another form and whose metadata name no product of MODIS.
  std::vector<std::filesystem::path> unknown;
};

// The .hdf files below a folder (or the one file) whose product is one of `products`, named without
// the platform's MOD or MYD: "021KM", "03", "06_L2". What a file's name does not say, its metadata
// do. Throws UsageError when there is no such folder.
ProductFiles find_products(const std::filesystem::path& root,
                           const std::vector<std::string>& products, Duplicates duplicates);

}  // namespace swath::data::modis
