// Images in a folder: flat (no labels) or one folder per class, nested as deep as one likes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/name_index.h"

namespace swath::data {

// Tells images by their extension: jpg jpeg png tif tiff npy jp2, in any case. What is inside is
// the decoder's business.
bool has_image_extension(std::string_view file_name);

// Which part of a path is the class.
enum class FolderLabels {
  kTop,   // the first folder below the root
  kLeaf,  // the folder that holds the image; folders of one name are one class
  kNone,
};

// Samples are sorted by their path below the root. Files and folders that start with a dot, and
// files of other extensions, are not looked at.
class FolderDataset : public Dataset {
 public:
  // Throws UsageError: not a folder; no image in it; images both beside and inside class folders;
  // train and test folders taken for classes.
  FolderDataset(std::filesystem::path root, FolderLabels labels);

  int64_t size() const override { return index_.size(); }
  Sample sample(int64_t index) const override;
  ImageSource source(int64_t index, std::vector<std::byte>* scratch) const override;
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::string description() const override;

 private:
  void scan(const std::filesystem::path& directory, const std::string& prefix, int depth);
  void assign_labels(FolderLabels labels);

  std::filesystem::path root_;
  NameIndex index_;
  std::vector<std::string> class_names_;
};

}  // namespace swath::data
