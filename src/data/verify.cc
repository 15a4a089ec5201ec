#include "data/verify.h"

#include <fmt/format.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "data/parallel.h"
#include "data/shard_dataset.h"
#include "data/shard_set.h"
#include "data/split.h"
#include "data/statistics.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMostListed = 1000;

// Problems by place in the dataset, so that the report does not depend on timing.
class Problems {
 public:
  void add(int64_t index, const std::string& name, const std::string& reason) {
    std::lock_guard lock(mutex_);
    problems_.emplace(std::pair{index, name}, reason);
  }
  int64_t count() const { return static_cast<int64_t>(problems_.size()); }
  Json to_json() const {
    Json list = Json::array();
    for (const auto& [key, reason] : problems_) {
      if (list.size() == kMostListed) break;
      list.push_back({{"name", key.second}, {"reason", reason}});
    }
    return list;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<int64_t, std::string>, std::string> problems_;
};

fs::path manifest_of(const fs::path& root) {
  return fs::is_directory(root) ? root / kManifestName : root;
}

// Shards against the manifest; returns how many can be opened.
int64_t verify_shard_files(const fs::path& manifest_path, Problems& problems) {
  const Json manifest = read_manifest(manifest_path);
  int64_t opened = 0;
  for (const Json& shard : manifest.at("shards")) {
    const fs::path path = manifest_path.parent_path() / shard.at("file").get<std::string>();
    try {
      if (!fs::exists(path)) throw Error("is missing.");
      // Names truncation and a damaged index better than a hash can.
      if (RecordShard(path).size() != shard.at("records")) {
        throw Error("has another number of records than the manifest says.");
      }
      ++opened;
      if (sha256_hex_of_file(path) != shard.value("sha256", "")) {
        throw Error("differs from the SHA-256 in the manifest.");
      }
    } catch (const Error& error) {
      problems.add(-1, path.string(), error.message());
    }
  }
  return opened;
}

void verify_sample(const Dataset& dataset, int64_t index, const VerifyOptions& options,
                   std::atomic<int64_t>& expected_bands, std::vector<std::byte>* scratch,
                   Image* image) {
  const ImageSource source = dataset.source(index, scratch);
  ImageReader reader(source);
  const ImageInfo info = reader.info();
  const int64_t bands = expected_bands;
  if (bands != 0 && info.bands != bands) {
    throw BadSample(fmt::format("has {} bands, expected {}.", info.bands, bands));
  }
  if (options.size != 0 && (info.width != options.size || info.height != options.size)) {
    throw BadSample(fmt::format("has {} x {} pixels, expected {} x {}.", info.width, info.height,
                                options.size, options.size));
  }
  BandStatistics().add(reader, {}, source.name, image);  // refuses NaN and infinite pixels
}

// 0 for an image that cannot be read: the reason is found again, and reported, with all others.
int64_t bands_if_readable(const Dataset& dataset, int64_t index) {
  try {
    std::vector<std::byte> scratch;
    return read_image_info(dataset.source(index, &scratch)).bands;
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace

void VerifyOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.add("bands", &bands, "bands every image must have; 0: as the first").at_least(0);
  fields.add("size", &size, "height and width every image must have; 0: any").at_least(0);
  fields.add("split", &split, "directory of a split to check against the files");
  fields.add("workers", &workers, "threads; 0: all cores").at_least(0);
}

Json verify_dataset(const VerifyOptions& options) {
  Problems problems;
  DatasetOptions data = options.data;
  Json report;
  const bool is_set = !data.root.empty() &&
                      (is_shard_set(data.root) || fs::path(data.root).filename() == kManifestName);
  if (is_set && fs::exists(manifest_of(data.root))) {
    const int64_t opened = verify_shard_files(manifest_of(data.root), problems);
    report["sha256"] = sha256_hex_of_file(manifest_of(data.root));
    if (opened == 0) {
      return {{"dataset", data.root},
              {"images", 0},
              {"good", 0},
              {"bad", problems.count()},
              {"problems", problems.to_json()}};
    }
    data.skip_bad = true;  // the damaged shards are listed already
  }
  const std::unique_ptr<Dataset> dataset = open_dataset(data);
  std::atomic<int64_t> expected_bands{options.bands};
  // The first readable image says how many bands are usual.
  for (int64_t i = 0; i < dataset->size() && expected_bands == 0; ++i) {
    expected_bands = bands_if_readable(*dataset, i);
  }
  std::atomic<int64_t> good{0};
  parallel_for(
      dataset->size(), options.workers,
      [&](int64_t i) {
        thread_local std::vector<std::byte> scratch;
        thread_local Image image;
        try {
          verify_sample(*dataset, i, options, expected_bands, &scratch, &image);
          ++good;
        } catch (const Error& error) {
          problems.add(i, dataset->sample(i).name, error.message());
        }
      },
      "verify");
  report["dataset"] = dataset->description();
  report["images"] = dataset->size();
  report["good"] = good.load();
  report["bad"] = problems.count();
  report["problems"] = problems.to_json();
  if (!options.split.empty()) {
    report["split"] = check_split(options.split, *dataset, options.workers);
  }
  return report;
}

}  // namespace swath::data
