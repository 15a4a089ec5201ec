// Records of one shard or of a folder of shards, as a dataset.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/record_shard.h"

namespace swath::data::modis {
class ChipFields;
}

namespace swath::data {

class ShardDataset : public Dataset {
 public:
  // `path`: a .shard file, a folder with a manifest.json, or the manifest itself. Opens every
  // shard. Throws Error for a set without manifest, a missing, truncated or exchanged shard; with
  // `skip_bad` damaged shards are left out with a warning. Chips of satellite granules (see
  // modis/chip_fields.h) are calibrated to `units` while they are read, unless it is empty.
  explicit ShardDataset(const std::filesystem::path& path, bool skip_bad = false,
                        const std::string& units = {});
  ~ShardDataset() override;

  int64_t size() const override { return starts_.back(); }
  Sample sample(int64_t index) const override;
  // Throws BadSample naming shard and record when the checksum does not fit.
  ImageSource source(int64_t index, std::vector<std::byte>* scratch) const override;
  const std::vector<std::string>& class_names() const override { return layout_.class_names; }
  std::string description() const override;
  std::vector<std::string> band_names() const override;
  std::string units() const override { return chips_ ? units_ : std::string(); }
  bool has_missing() const override { return chips_ != nullptr; }

  // The numbers that a record carries, in the order of layout().field_names.
  std::span<const double> fields(int64_t index) const;
  std::optional<double> time(int64_t index) const;
  // Of the first shard; all shards of a set agree.
  const RecordLayout& layout() const { return layout_; }
  const std::vector<std::unique_ptr<RecordShard>>& shards() const { return shards_; }

 private:
  void open(const std::filesystem::path& path, int64_t expected_records, bool skip_bad);
  // Which shard holds the record, and its place there.
  std::pair<const RecordShard*, int64_t> locate(int64_t index) const;

  std::filesystem::path path_;
  RecordLayout layout_;
  std::vector<std::unique_ptr<RecordShard>> shards_;
  std::vector<int64_t> starts_{0};                  // first index of each shard, and the total
  std::unique_ptr<const modis::ChipFields> chips_;  // set: records are counts to calibrate
  std::string units_;
};

}  // namespace swath::data
