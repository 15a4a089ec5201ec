// WebDataset archives: the files of a sample share their name up to the first dot and follow each
// other in a .tar, as in `chips/0001.jpg`, `chips/0001.cls`, `chips/0001.json`.
//
// Opening reads the headers once; after that every sample is found by its offset.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "data/dataset.h"

namespace swath::data {

class TarDataset : public Dataset {
 public:
  // `path`: one .tar, or a folder of them (in the order of their names). The image of a sample is
  // its jpg, jpeg, png, tif, tiff, npy or jp2 member; samples without one are left out with a
  // warning. Labels: member `cls` (a class index, or a class name), or `json` with "label", and
  // optionally "class", "longitude", "latitude". Throws Error naming the archive when it is
  // damaged, truncated or holds no image; BadSample-like problems of one label name the member.
  explicit TarDataset(const std::filesystem::path& path);

  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  Sample sample(int64_t index) const override;
  ImageSource source(int64_t index, std::vector<std::byte>* scratch) const override;
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::string description() const override;

 private:
  struct Member {
    uint32_t archive = 0;
    int32_t label = -1;
    uint64_t name_begin = 0;
    uint32_t name_bytes = 0;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    double longitude = 0;  // NaN: none
    double latitude = 0;
  };
  class Builder;

  std::string_view name(const Member& member) const {
    return std::string_view(names_).substr(member.name_begin, member.name_bytes);
  }

  std::filesystem::path path_;
  std::vector<std::unique_ptr<MappedFile>> archives_;
  std::vector<Member> samples_;
  std::string names_;
  std::vector<std::string> class_names_;
};

}  // namespace swath::data
