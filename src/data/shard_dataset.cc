#include "data/shard_dataset.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "data/modis/chip_fields.h"
#include "data/shard_set.h"

namespace swath::data {
namespace fs = std::filesystem;

ShardDataset::~ShardDataset() = default;

ShardDataset::ShardDataset(const fs::path& path, bool skip_bad, const std::string& units)
    : path_(path), units_(units) {
  fs::path manifest_path = path;
  if (fs::is_directory(path)) {
    manifest_path = path / kManifestName;
    if (!fs::exists(manifest_path)) {
      throw UsageError(fmt::format("shards: {} has record shards but no {}: the writer was "
                                   "interrupted.",
                                   path.string(), kManifestName),
                       "pack again into the same folder.");
    }
  }
  if (manifest_path.extension() == kShardExtension) {
    open(manifest_path, -1, false);
  } else {
    const Json manifest = read_manifest(manifest_path);
    for (const Json& shard : manifest.at("shards")) {
      open(manifest_path.parent_path() / shard.at("file").get<std::string>(), shard.at("records"),
           skip_bad);
    }
  }
  if (size() == 0) {
    throw UsageError(fmt::format("shards: no usable record in {}.", path.string()),
                     "list what is wrong with `swath data verify`.");
  }
  if (!units.empty() && modis::ChipFields::describes(layout_)) {
    chips_ = std::make_unique<const modis::ChipFields>(layout_);
  }
}

void ShardDataset::open(const fs::path& path, int64_t expected_records, bool skip_bad) {
  std::unique_ptr<RecordShard> shard;
  try {
    if (!fs::exists(path)) {
      throw Error(fmt::format("shards: {} is named in the manifest and missing.", path.string()),
                  "copy it again, or pack again.");
    }
    shard = std::make_unique<RecordShard>(path);
    if (expected_records >= 0 && shard->size() != expected_records) {
      throw Error(fmt::format("shards: {} has {} records, the manifest says {}.", path.string(),
                              shard->size(), expected_records),
                  "the shard belongs to another set: copy the set again, or pack again.");
    }
  } catch (const Error& error) {
    if (!skip_bad) throw;
    log_warning(error.message() + " The shard is left out.");
    return;
  }
  if (shards_.empty()) {
    layout_ = shard->layout();
  } else if (to_json(layout_) != to_json(shard->layout())) {
    throw Error(fmt::format("shards: {} and {} hold records of different kinds.",
                            shards_.front()->path().string(), path.string()),
                "keep sets of different bands, sizes or classes in folders of their own.");
  }
  starts_.push_back(starts_.back() + shard->size());
  shards_.push_back(std::move(shard));
}

std::pair<const RecordShard*, int64_t> ShardDataset::locate(int64_t index) const {
  if (index < 0 || index >= size()) {
    throw UsageError(
        fmt::format("shards: {} has {} records, no record {}.", path_.string(), size(), index));
  }
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), index);
  const auto shard = static_cast<size_t>(after - starts_.begin() - 1);
  return {shards_[shard].get(), index - starts_[shard]};
}

Sample ShardDataset::sample(int64_t index) const {
  const auto [shard, record] = locate(index);
  Sample sample;
  sample.name = shard->name(record);
  sample.id = xxh3(sample.name);
  sample.label = shard->label(record);
  sample.longitude_latitude = shard->longitude_latitude(record);
  return sample;
}

ImageSource ShardDataset::source(int64_t index, std::vector<std::byte>* scratch) const {
  const auto [shard, record] = locate(index);
  ImageSource source = shard->source(record, scratch);
  if (chips_) source.calibration = chips_->calibration(shard->fields(record), units_);
  return source;
}

std::span<const double> ShardDataset::fields(int64_t index) const {
  const auto [shard, record] = locate(index);
  return shard->fields(record);
}

std::optional<double> ShardDataset::time(int64_t index) const {
  const auto [shard, record] = locate(index);
  return shard->time(record);
}

std::string ShardDataset::description() const {
  return fmt::format("{}: {} records in {} shards", path_.string(), size(), shards_.size());
}

std::vector<std::string> ShardDataset::band_names() const {
  std::vector<std::string> names;
  names.reserve(layout_.band_info.size());
  for (const BandInfo& band : layout_.band_info) names.push_back(band.name);
  return names;
}

}  // namespace swath::data
