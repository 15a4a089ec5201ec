// Images in a folder: flat (no labels) or one folder per class, nested as deep as one likes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
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

// Samples are sorted by their path below the root. Files and folders that start with a dot are not
// looked at; files of other extensions are counted in one warning.
class FolderDataset : public Dataset {
 public:
  // Throws UsageError: not a folder; no image in it; images both beside and inside class folders;
  // a class folder that holds files and no image; train and test folders taken for classes.
  FolderDataset(std::filesystem::path root, FolderLabels labels);

  int64_t size() const override { return index_.size(); }
  Sample sample(int64_t index) const override;
  ImageSource source(int64_t index, std::vector<std::byte>* scratch) const override;
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::string description() const override;

 private:
  struct Skipped;  // files that are no images by their extension
  void scan(const std::filesystem::path& directory, const std::string& prefix, int depth,
            Skipped* skipped);
  void assign_labels(FolderLabels labels);
  bool holds_image_below(std::string_view prefix) const;
  void check_class_folders(FolderLabels labels, const Skipped& skipped) const;

  std::filesystem::path root_;
  NameIndex index_;
  std::vector<std::string> class_names_;
};

}  // namespace swath::data
