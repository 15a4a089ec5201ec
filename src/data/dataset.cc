#include "data/dataset.h"

#include <fmt/format.h>

#include <filesystem>

#include "core/error.h"
#include "core/hash.h"
#include "data/folder_dataset.h"
#include "data/list_dataset.h"
#include "data/modis/chip_fields.h"
#include "data/shard_dataset.h"
#include "data/shard_set.h"
#include "data/split.h"
#include "data/subset_dataset.h"
#include "data/tar_dataset.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

bool holds_tar_archives(const fs::path& folder) {
  bool has_archive = false;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with('.')) continue;
    if (entry.is_directory() || has_image_extension(entry.path().filename().string())) return false;
    has_archive = has_archive || entry.path().extension() == ".tar";
  }
  return has_archive;
}

FolderLabels folder_labels(const std::string& name) {
  if (name == "leaf") return FolderLabels::kLeaf;
  if (name == "none") return FolderLabels::kNone;
  return FolderLabels::kTop;
}

std::unique_ptr<Dataset> open_records(const fs::path& root, const DatasetOptions& options) {
  if (root.extension() == ".tar" || (fs::is_directory(root) && !is_shard_set(root))) {
    return std::make_unique<TarDataset>(root);
  }
  return std::make_unique<ShardDataset>(root, options.skip_bad, options.units);
}

bool is_record_source(const fs::path& root) {
  if (fs::is_directory(root)) return is_shard_set(root) || holds_tar_archives(root);
  return root.extension() == ".tar" || root.extension() == kShardExtension ||
         root.filename() == kManifestName;
}

void check_unchanged(const std::string& list, const std::string& sha256) {
  if (list.empty() || sha256.empty() || sha256_hex_of_file(list) == sha256) return;
  throw UsageError(fmt::format("data: {} is no longer the list that was used: its SHA-256 was {}.",
                               list, sha256),
                   "bring that list back, or start anew without the stored checksum.");
}

}  // namespace

void DatasetOptions::describe(FieldTable& fields) {
  fields.add("root", &root,
             "folder of images (flat, or one folder per class), record shard or folder of shards, "
             "WebDataset .tar or folder of them");
  fields.add("list", &list, "file of lines `name class index`: use these samples, in this order");
  fields.add("exclude_list", &exclude_list, "file of names to leave out");
  fields.add("list_sha256", &list_sha256, "refuse another list; a run stores that of its own");
  fields.add("exclude_list_sha256", &exclude_list_sha256, "the same of exclude_list");
  fields
      .add("limit", &limit,
           "use so many samples of all, chosen by their names: the same ones each time; 0: all")
      .at_least(0);
  fields
      .add("labels", &labels,
           "class of an image in a folder: its top folder below root, the leaf folder that holds "
           "it, or none")
      .one_of({"top", "leaf", "none"});
  fields
      .add("units", &units,
           "what chips of `swath chips` become while they are read; other data have no choice")
      .one_of(modis::unit_names());
  fields.add("skip_bad", &skip_bad,
             "count, list and leave out unusable samples instead of stopping");
}

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options) {
  if (options.root.empty()) {
    throw UsageError("data: no dataset is named.", "name one with --data.root=FOLDER.");
  }
  const fs::path root(options.root);
  std::error_code ignored;
  if (!fs::exists(root, ignored)) {
    throw UsageError(fmt::format("data: {} does not exist.", options.root),
                     "check the path given with --data.root.");
  }
  check_unchanged(options.list, options.list_sha256);
  check_unchanged(options.exclude_list, options.exclude_list_sha256);
  std::unique_ptr<Dataset> dataset;
  if (is_record_source(root)) {
    dataset = open_records(root, options);
    if (!options.list.empty()) {
      dataset = select_by_list(std::move(dataset), read_list_file(options.list), options.list,
                               options.skip_bad);
    }
  } else if (!fs::is_directory(root)) {
    throw UsageError(fmt::format("data: {} is a file of no known kind of dataset.", options.root),
                     "give a folder of images, a .shard, a manifest.json or a .tar.");
  } else if (!options.list.empty()) {
    dataset = std::make_unique<ListDataset>(root, options.list, options.skip_bad);
  } else {
    dataset = std::make_unique<FolderDataset>(root, folder_labels(options.labels));
  }
  if (!options.list.empty()) check_listed_contents(options.list, *dataset);
  if (!options.exclude_list.empty()) {
    dataset = exclude_by_list(std::move(dataset), read_list_file(options.exclude_list),
                              options.exclude_list);
  }
  if (options.limit > 0) dataset = limit_samples(std::move(dataset), options.limit);
  return dataset;
}

}  // namespace swath::data
