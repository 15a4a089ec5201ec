// Records of one shard or of a folder of shards, as a dataset.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/record_shard.h"

namespace swath::data {

class ShardDataset : public Dataset {
 public:
  // `path`: a .shard file, a folder with a manifest.json, or the manifest itself. Opens every
  // shard. Throws Error for a set without manifest, a missing, truncated or exchanged shard; with
  // `skip_bad` damaged shards are left out with a warning.
  explicit ShardDataset(const std::filesystem::path& path, bool skip_bad = false);

  int64_t size() const override { return starts_.back(); }
  Sample sample(int64_t index) const override;
  // Throws BadSample naming shard and record when the checksum does not fit.
  ImageSource source(int64_t index, std::vector<std::byte>* scratch) const override;
  const std::vector<std::string>& class_names() const override { return layout_.class_names; }
  std::string description() const override;
  std::vector<std::string> band_names() const override;

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
  std::vector<int64_t> starts_{0};  // first index of each shard, and the total
};

}  // namespace swath::data
