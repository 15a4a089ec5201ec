// A folder of record shards of one kind, with a manifest.json that names them all.
//
// The manifest is written last: a folder of shards without one is what an interrupted writer left,
// and is refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/record_shard.h"
#include "data/statistics.h"

namespace swath::data {

inline constexpr const char* kManifestName = "manifest.json";
inline constexpr const char* kShardExtension = ".shard";

struct ShardSetOptions {
  // A shard is closed before it grows past this; one record is never split.
  uint64_t shard_bytes = uint64_t{4} << 30;
  bool overwrite = false;
  // Goes into the manifest: where the records come from.
  std::string source;
};

// Writes shard-00000.shard, shard-00001.shard ... into the folder `.partial` below the output,
// which finish() empties into its place, and then the manifest. Not thread-safe.
class ShardSetWriter {
 public:
  // Throws UsageError when the folder holds a set already, or shards of other names, and
  // `overwrite` is off; throws Error for a manifest.json that is not ours.
  ShardSetWriter(std::filesystem::path directory, RecordLayout layout, ShardSetOptions options);
  // Without finish(), what was written is removed and the folder holds what it held before.
  ~ShardSetWriter();

  // `statistics` are those of the record's pixels, where the caller has them; raw and lz4 records
  // are counted here otherwise. They end in the metadata of each shard and, merged, in the
  // manifest. Throws BadSample for NaN and infinite pixels.
  void add(const Record& record, const BandStatistics* statistics = nullptr);
  // Replaces the old set, or what an interrupted writer left, by the new one and returns its
  // manifest. Files of other names stay. Throws UsageError when there is no record.
  Json finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What a manifest says of finished shards that lie in its folder.
struct FinishedShards {
  RecordLayout layout;
  std::string source;
  int64_t records = 0;
  int64_t labelled = 0;
  uint64_t bytes = 0;
  BandStatistics statistics;
  Json shards = Json::array();  // {"file", "records", "bytes", "sha256"}
};

// Makes the folder a set: writes its manifest, and returns it.
Json write_manifest(const std::filesystem::path& directory, const FinishedShards& finished);

// Reads and checks a manifest: format, version, fields. Throws Error naming it.
Json read_manifest(const std::filesystem::path& path);

// Whether `directory` holds shards: a manifest of ours, or *.shard files.
bool is_shard_set(const std::filesystem::path& directory);

}  // namespace swath::data
