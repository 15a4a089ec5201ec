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

// The files of MODIS products below a folder, looked through once.
class ProductFolder {
 public:
  // Takes every .hdf file below `root`, or `root` itself when it is a file. What a file's name does
  // not say, its metadata do. Throws UsageError when there is no such folder.
  explicit ProductFolder(const std::filesystem::path& root);

  // The files of a product, named without the platform's MOD or MYD: "021KM", "03", "06_L2".
  FilesByGranule files_of(const std::string& product, Duplicates duplicates) const;
  // Files whose names are of another form and whose metadata name no product of MODIS.
  const std::vector<std::filesystem::path>& unknown() const { return unknown_; }

 private:
  struct File {
    std::filesystem::path path;
    GranuleName name;
  };
  void add(const std::filesystem::path& path);

  std::vector<File> files_;
  std::vector<std::filesystem::path> unknown_;
};

}  // namespace swath::data::modis
