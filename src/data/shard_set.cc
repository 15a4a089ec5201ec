#include "data/shard_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFormat = "swath-record-shards";
constexpr int64_t kManifestVersion = 1;

constexpr const char* kStagingName = ".partial";

// "shard-00042.shard": the names this writer gives, and the only shards it ever removes.
bool is_own_shard(const fs::path& path) {
  const std::string name = path.filename().string();
  constexpr std::string_view kPrefix = "shard-";
  if (!name.starts_with(kPrefix) || path.extension() != kShardExtension) return false;
  const std::string number = path.stem().string().substr(kPrefix.size());
  return number.size() >= 5 && number.find_first_not_of("0123456789") == std::string::npos;
}

// Of the set that was there, or of an interrupted writer.
bool is_replaced(const fs::path& path) {
  return is_own_shard(path) ||
         path.filename().string().find(".shard.partial-") != std::string::npos;
}

}  // namespace

struct ShardSetWriter::State {
  fs::path directory;
  RecordLayout layout;
  ShardSetOptions options;
  std::unique_ptr<RecordShardWriter> shard;
  fs::path shard_path;
  Json shards = Json::array();
  int64_t records = 0;
  int64_t labelled = 0;
  uint64_t bytes = 0;
  BandStatistics of_shard;
  BandStatistics of_set;
  Image scratch;
  bool is_finished = false;

  void count(const Record& record, const BandStatistics* statistics) {
    if (statistics != nullptr) {
      of_shard.merge(*statistics);
    } else if (layout.encoding != RecordEncoding::kFile) {
      scratch.width = layout.width;
      scratch.height = layout.height;
      scratch.bands = layout.bands;
      scratch.type = layout.type;
      scratch.pixels.assign(record.bytes.begin(), record.bytes.end());
      BandStatistics of_record;
      of_record.add(scratch, record.name);
      of_shard.merge(of_record);
    }
  }

  void close_shard() {
    const int64_t count = shard->size();
    shard->finish(of_shard.images() > 0 ? of_shard.to_json() : Json::object());
    of_set.merge(of_shard);
    of_shard = BandStatistics();
    shard.reset();
    const uint64_t file_bytes = fs::file_size(shard_path);
    bytes += file_bytes;
    shards.push_back({{"file", shard_path.filename().string()},
                      {"records", count},
                      {"bytes", file_bytes},
                      {"sha256", sha256_hex_of_file(shard_path)}});
  }

  fs::path staging() const { return directory / kStagingName; }

  // The old set goes only now that the new one is complete. The manifest is removed first: until
  // there is one again, the folder counts as interrupted.
  void replace_set() {
    fs::remove(directory / kManifestName);
    sync_directory(directory);
    std::vector<fs::path> old;
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (is_replaced(entry.path())) old.push_back(entry.path());
    }
    for (const fs::path& path : old) fs::remove(path);
    for (const Json& shard : shards) {
      const auto file = shard["file"].get<std::string>();
      fs::rename(staging() / file, directory / file);
    }
    fs::remove(staging());
  }
};

ShardSetWriter::ShardSetWriter(fs::path directory, RecordLayout layout, ShardSetOptions options)
    : state_(std::make_unique<State>()) {
  layout.check();
  state_->directory = std::move(directory);
  state_->layout = std::move(layout);
  state_->options = std::move(options);
  const fs::path& folder = state_->directory;
  if (fs::exists(folder) && !fs::is_directory(folder)) {
    throw UsageError(fmt::format("output {} is a file, not a folder.", folder.string()));
  }
  const fs::path manifest = folder / kManifestName;
  if (fs::exists(manifest)) {
    if (!state_->options.overwrite) {
      throw UsageError(fmt::format("output {} already holds record shards.", folder.string()),
                       "choose another output, or replace them with --overwrite.");
    }
    read_manifest(manifest);  // refuses to replace a manifest.json that is not ours
  }
  if (fs::exists(folder) && !state_->options.overwrite) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != kShardExtension || is_own_shard(entry.path())) continue;
      throw UsageError(fmt::format("output {} holds another shard: {}.", folder.string(),
                                   entry.path().filename().string()),
                       "choose another output, or write beside it with --overwrite.");
    }
  }
  fs::remove_all(state_->staging());  // of an interrupted writer
  fs::create_directories(state_->staging());
}

ShardSetWriter::~ShardSetWriter() {
  if (state_->is_finished) return;
  state_->shard.reset();
  std::error_code ignored;
  fs::remove_all(state_->staging(), ignored);
}

void ShardSetWriter::add(const Record& record, const BandStatistics* statistics) {
  State& state = *state_;
  if (state.shard && state.shard->size() > 0 &&
      state.shard->file_bytes() + record.bytes.size() > state.options.shard_bytes) {
    state.close_shard();
  }
  if (!state.shard) {
    state.shard_path =
        state.staging() / fmt::format("shard-{:05}{}", state.shards.size(), kShardExtension);
    state.shard = std::make_unique<RecordShardWriter>(state.shard_path, state.layout);
  }
  state.shard->add(record);
  state.count(record, statistics);
  ++state.records;
  if (record.label >= 0) ++state.labelled;
}

Json ShardSetWriter::finish() {
  State& state = *state_;
  if (state.records == 0) {
    throw UsageError(fmt::format("no record to write into {}.", state.directory.string()));
  }
  state.close_shard();
  state.replace_set();
  Json manifest =
      write_manifest(state.directory, {state.layout, state.options.source, state.records,
                                       state.labelled, state.bytes, state.of_set, state.shards});
  state.is_finished = true;
  return manifest;
}

Json write_manifest(const fs::path& directory, const FinishedShards& finished) {
  const BandStatistics& statistics = finished.statistics;
  Json manifest = {{"format", kFormat},
                   {"version", kManifestVersion},
                   {"records", finished.records},
                   {"labelled", finished.labelled},
                   {"bytes", finished.bytes},
                   {"source", finished.source},
                   {"layout", to_json(finished.layout)},
                   {"statistics", statistics.images() > 0 ? statistics.to_json() : Json::object()},
                   {"shards", finished.shards}};
  write_file_atomically(directory / kManifestName,
                        manifest.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  return manifest;
}

Json read_manifest(const fs::path& path) {
  const std::string text = read_file(path);
  Json manifest = Json::parse(text, nullptr, false);
  if (!manifest.is_object() || manifest.value("format", "") != kFormat) {
    throw Error(fmt::format("shards: {} is not a manifest of record shards.", path.string()),
                "give a folder that `swath data pack` wrote.");
  }
  if (manifest.value("version", int64_t{0}) != kManifestVersion) {
    throw Error(fmt::format("shards: {} has version {}; this program reads version {}.",
                            path.string(), manifest.value("version", int64_t{0}),
                            kManifestVersion));
  }
  const bool has_shards = manifest.contains("shards") && manifest["shards"].is_array();
  const auto is_shard = [](const Json& shard) {
    return shard.is_object() && shard.contains("file") && shard["file"].is_string() &&
           shard.contains("records") && shard["records"].is_number_integer();
  };
  if (!has_shards || !std::all_of(manifest["shards"].begin(), manifest["shards"].end(), is_shard)) {
    throw Error(fmt::format("shards: {} lists no shards: it is damaged.", path.string()),
                "copy it again, or pack again.");
  }
  return manifest;
}

bool is_shard_set(const fs::path& directory) {
  if (!fs::is_directory(directory)) return false;
  const fs::path manifest = directory / kManifestName;
  if (fs::exists(manifest)) {
    const Json json = Json::parse(read_file(manifest), nullptr, false);
    return json.is_object() && json.value("format", "") == kFormat;
  }
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == kShardExtension) return true;
  }
  return false;
}

}  // namespace swath::data
