// A set of samples, found by index.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "data/image.h"

namespace swath::data {

struct Sample {
  uint64_t id = 0;     // stable: a hash of the record's name, the same in every process
  std::string name;    // relative path or record name
  int64_t label = -1;  // -1: none
  // Degrees east and north of the centre, for splits by location.
  std::optional<std::array<double, 2>> longitude_latitude;
};

// Thread rule: const functions may be called from many threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual Sample sample(int64_t index) const = 0;
  // Bytes that the source borrows stay valid as long as the dataset, or live in `scratch`.
  virtual ImageSource source(int64_t index, std::vector<std::byte>* scratch) const = 0;
  // Empty when there are no labels.
  virtual const std::vector<std::string>& class_names() const = 0;
  virtual std::string description() const = 0;
  // As the source names them; empty when it does not say.
  virtual std::vector<std::string> band_names() const { return {}; }
  // What a pixel value is ("radiance"), for sets that calibrate; empty: stored counts.
  virtual std::string units() const { return {}; }
  // Whether samples have values that were not measured: Transform::apply tells which.
  virtual bool has_missing() const { return false; }
};

// Names a dataset: `root` is a folder (flat, or one folder per class), a record shard or a folder
// of shards, or a WebDataset .tar; `list` is a file of lines `name class index` relative to root.
struct DatasetOptions {
  std::string root;
  std::string list;
  std::string exclude_list;  // names left out, such as probe images kept out of pretraining
  // SHA-256 of the two files; empty: not checked. Pretraining stores them with its run.
  std::string list_sha256;
  std::string exclude_list_sha256;
  int64_t limit = 0;  // so many samples of what the lists leave, the same ones each time; 0: all
  std::string labels = "top";  // class of an image in a folder: top or leaf folder, or none
  // What chips of `swath chips` are turned into while they are read: see
  // modis/chip_fields.h.
  std::string units = "radiance";
  bool skip_bad = false;

  void describe(FieldTable& fields);
};

// Throws UsageError (no such folder, no images in it, a list that names missing files, a list of a
// stored split of which a listed file was changed ...).
std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options);

}  // namespace swath::data
