#include "data/folder_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <ranges>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

// A link that points to a folder above it would otherwise never end.
constexpr int kDeepestFolder = 32;

std::string_view top_folder(std::string_view name) { return name.substr(0, name.find('/')); }

std::string_view leaf_folder(std::string_view name) {
  const std::string_view directory = name.substr(0, name.rfind('/'));
  const size_t slash = directory.rfind('/');
  return slash == std::string_view::npos ? directory : directory.substr(slash + 1);
}

bool is_split_folder(std::string_view name) {
  static const std::set<std::string, std::less<>> names = {
      "train", "training", "val", "valid", "validation", "test", "testing"};
  return names.contains(name);
}

}  // namespace

bool has_image_extension(std::string_view file_name) {
  const size_t dot = file_name.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string extension(file_name.substr(dot + 1));
  for (char& letter : extension) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  static constexpr std::array<std::string_view, 7> kKnown = {"jpg",  "jpeg", "png", "tif",
                                                             "tiff", "npy",  "jp2"};
  return std::find(kKnown.begin(), kKnown.end(), extension) != kKnown.end();
}

struct FolderDataset::Skipped {
  std::map<std::string, int64_t> by_extension;
  std::set<std::string> folders;  // that hold such files, or nothing: "" or "river/deep/"
  std::string example;

  void add(const std::string& prefix, const std::string& file_name) {
    const std::string extension = fs::path(file_name).extension().string();
    ++by_extension[extension.empty() ? "(none)" : extension];
    folders.insert(prefix);
    const std::string name = prefix + file_name;
    if (example.empty() || name < example) example = name;
  }

  void log(const fs::path& root) const {
    if (by_extension.empty()) return;
    std::string counts;
    for (const auto& [extension, count] : by_extension) {
      counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, extension);
    }
    log_warning(
        fmt::format("data: files of {} that are no images by their extension are left out: "
                    "{} (such as {}).",
                    root.string(), counts, example));
  }
};

FolderDataset::FolderDataset(fs::path root, FolderLabels labels) : root_(std::move(root)) {
  if (!fs::is_directory(root_)) {
    throw UsageError(fmt::format("data: {} is not a folder.", root_.string()),
                     "give the folder of images with --data.root=FOLDER.");
  }
  Skipped skipped;
  scan(root_, "", 0, &skipped);
  if (index_.size() == 0) {
    if (fs::is_empty(root_)) {
      throw UsageError(fmt::format("data: the folder {} is empty.", root_.string()),
                       "put images, or one folder of images per class, into it.");
    }
    throw UsageError(
        fmt::format("data: no image in {} or below (jpg, jpeg, png, tif, tiff, npy, jp2).",
                    root_.string()),
        "give the folder that holds the images, the class folders, or a manifest.json of shards.");
  }
  index_.sort();
  assign_labels(labels);
  if (!class_names_.empty()) check_class_folders(labels, skipped);
  skipped.log(root_);
}

void FolderDataset::scan(const fs::path& directory, const std::string& prefix, int depth,
                         Skipped* skipped) {
  if (depth > kDeepestFolder) {
    throw UsageError(fmt::format("data: folders below {} are nested more than {} deep: {}.",
                                 root_.string(), kDeepestFolder, directory.string()),
                     "look for a link that points to a folder above it.");
  }
  std::error_code error;
  bool is_empty = true;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string file_name = entry->path().filename().string();
    if (file_name.starts_with('.') || file_name == "__MACOSX") continue;
    is_empty = false;
    std::error_code ignored;  // a broken link is neither a folder nor, by its name, hidden
    if (entry->is_directory(ignored)) {
      scan(entry->path(), prefix + file_name + "/", depth + 1, skipped);
    } else if (has_image_extension(file_name)) {
      index_.add(prefix + file_name);
    } else {
      skipped->add(prefix, file_name);
    }
  }
  if (error) {
    throw Error(
        fmt::format("data: cannot read the folder {}: {}.", directory.string(), error.message()));
  }
  if (is_empty) skipped->folders.insert(prefix);
}

void FolderDataset::assign_labels(FolderLabels labels) {
  if (labels == FolderLabels::kNone) return;
  std::string flat_image;
  std::string nested_image;
  for (int64_t i = 0; i < index_.size(); ++i) {
    const std::string_view name = index_.name(i);
    std::string& example = name.find('/') == std::string_view::npos ? flat_image : nested_image;
    if (example.empty()) example = name;
  }
  if (nested_image.empty()) return;
  if (!flat_image.empty()) {
    throw UsageError(
        fmt::format("data: {} holds images beside its class folders: {} and {}.", root_.string(),
                    flat_image, nested_image),
        "move the images into class folders, or say --data.labels=none to use all unlabelled.");
  }
  std::map<std::string, int64_t, std::less<>> classes;
  const auto class_of = labels == FolderLabels::kTop ? top_folder : leaf_folder;
  bool all_are_splits = true;
  for (int64_t i = 0; i < index_.size(); ++i) {
    const std::string_view name = class_of(index_.name(i));
    if (!classes.contains(name)) classes.emplace(name, 0);
    all_are_splits = all_are_splits && is_split_folder(name);
  }
  if (all_are_splits) {
    throw UsageError(
        fmt::format("data: the folders of {} are parts of a split ({}), not classes.",
                    root_.string(), classes.begin()->first),
        fmt::format(
            "open one part, such as {}, or say --data.labels=leaf (all parts, class = inner "
            "folder) or --data.labels=none.",
            (root_ / classes.begin()->first).string()));
  }
  for (auto& [name, label] : classes) {
    label = static_cast<int64_t>(class_names_.size());
    class_names_.push_back(name);
  }
  for (int64_t i = 0; i < index_.size(); ++i) {
    index_.set_label(i, classes.find(class_of(index_.name(i)))->second);
  }
}

bool FolderDataset::holds_image_below(std::string_view prefix) const {
  const auto places = std::views::iota(int64_t{0}, size());
  const auto found = std::ranges::lower_bound(places, prefix, {},
                                              [this](int64_t index) { return index_.name(index); });
  return found != places.end() && index_.name(*found).starts_with(prefix);
}

// A class without a file, or whose images all have an extension that is not known, would be missing
// from the labels.
void FolderDataset::check_class_folders(FolderLabels labels, const Skipped& skipped) const {
  for (const std::string& folder : skipped.folders) {
    if (folder.empty()) continue;
    const std::string prefix =
        labels == FolderLabels::kTop ? folder.substr(0, folder.find('/') + 1) : folder;
    if (holds_image_below(prefix)) continue;
    throw UsageError(
        fmt::format(
            "data: the class folder {} holds no image (jpg, jpeg, png, tif, tiff, npy, jp2).",
            (root_ / prefix.substr(0, prefix.size() - 1)).string()),
        "put its images there, convert those of other formats, or move the folder away.");
  }
}

Sample FolderDataset::sample(int64_t index) const {
  Sample sample;
  sample.name = index_.name(index);
  sample.id = xxh3(sample.name);
  sample.label = index_.label(index);
  return sample;
}

ImageSource FolderDataset::source(int64_t index, std::vector<std::byte>*) const {
  return ImageSource::from_file(root_ / index_.name(index));
}

std::string FolderDataset::description() const {
  if (class_names_.empty()) return fmt::format("{}: {} images", root_.string(), size());
  return fmt::format("{}: {} images in {} classes", root_.string(), size(), class_names_.size());
}

}  // namespace swath::data
