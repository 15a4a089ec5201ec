// The images of a folder that a list file names, in the list's order, with the list's labels. The
// folder itself is not searched, so a short list of a huge folder opens at once.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/list_file.h"

namespace swath::data {

class ListDataset : public Dataset {
 public:
  // A listed name is a path below `root`; where there is no such file, `root/CLASS/NAME` and
  // `root/all_img/NAME` (the layout of RVSA) are tried. Sample names are the path found.
  // Throws UsageError naming missing files; with `skip_missing` they are left out with a warning.
  ListDataset(std::filesystem::path root, const std::filesystem::path& list_path,
              bool skip_missing);

  int64_t size() const override { return index_.size(); }
  Sample sample(int64_t index) const override;
  ImageSource source(int64_t index, std::vector<std::byte>* scratch) const override;
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::string description() const override;

 private:
  std::filesystem::path root_;
  std::filesystem::path list_path_;
  NameIndex index_;
  std::vector<std::string> class_names_;
};

}  // namespace swath::data
