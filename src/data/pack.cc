#include "data/pack.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "data/geolocation.h"
#include "data/npy_header.h"
#include "data/parallel.h"
#include "data/shard_set.h"
#include "data/statistics.h"
#include "data/tar_archive.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kChunk = 256;  // samples in memory at a time
constexpr size_t kMostListed = 1000;

// A sample ready to be written.
struct Prepared {
  Sample sample;
  ImageInfo info;  // of what `bytes` hold
  std::vector<std::byte> bytes;
  BandStatistics statistics;
  std::optional<std::string> problem;
  std::string hint;
};

// What is common to all samples, taken from the first usable one.
struct Kind {
  RecordEncoding encoding = RecordEncoding::kRaw;
  ImageInfo info;  // size and type of the records; the first image's with kFile
};

std::string hint_for_size() {
  return "cut the images to one size, keep them as they are with --encoding=file, or leave the "
         "others "
         "out with --skip-bad.";
}

std::vector<std::byte> bytes_of(const ImageSource& source) {
  if (!source.bytes.empty()) return {source.bytes.begin(), source.bytes.end()};
  const std::string text = read_file(source.path);
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

RecordEncoding choose_encoding(const PackOptions& options, const ImageInfo& first) {
  const bool is_raw = first.format == "RECORD";
  RecordEncoding encoding = RecordEncoding::kRaw;
  if (options.encoding == "file") encoding = RecordEncoding::kFile;
  if (options.encoding == "lz4") encoding = RecordEncoding::kLz4;
  if (options.encoding == "auto" && !is_raw &&
      (first.format == "JPEG" || options.format != "shards") && options.bands.empty()) {
    encoding = RecordEncoding::kFile;
  }
  if (encoding == RecordEncoding::kFile && is_raw) {
    throw UsageError(
        "pack: the samples are pixels, not encoded images: encoding=file cannot keep "
        "them.",
        "use --encoding=raw or lz4.");
  }
  if (encoding == RecordEncoding::kFile && !options.bands.empty()) {
    throw UsageError("pack: bands cannot be selected while the files are kept as they are.",
                     "use --encoding=raw or lz4.");
  }
  if (encoding == RecordEncoding::kLz4 && options.format != "shards") {
    throw UsageError(fmt::format("pack: encoding=lz4 is for shards, not for {}.", options.format));
  }
  return encoding;
}

Prepared prepare(const Dataset& dataset, int64_t index, const PackOptions& options,
                 const Kind& kind, bool is_first) {
  Prepared prepared;
  prepared.sample = dataset.sample(index);
  std::vector<std::byte> scratch;
  const ImageSource source = dataset.source(index, &scratch);
  ImageReader reader(source);
  prepared.info = reader.info();
  Image image;
  DecodeOptions decode;
  decode.bands = options.bands;
  const RecordEncoding encoding =
      is_first ? choose_encoding(options, prepared.info) : kind.encoding;
  const bool keeps_file = encoding == RecordEncoding::kFile && !source.raw;
  if (keeps_file) {  // its pixels are only looked at, so it may be larger than memory
    prepared.statistics.add(reader, decode, source.name, &image);
  } else {
    reader.read(decode, &image);
    prepared.statistics.add(image, source.name);  // refuses NaN and infinite pixels
  }
  if (!prepared.sample.longitude_latitude) {
    prepared.sample.longitude_latitude = center_of(prepared.info);
  }
  prepared.info.bands = image.bands;
  const ImageInfo& info = prepared.info;
  const auto refuse = [&](const std::string& what, const std::string& hint) {
    throw BadSample(fmt::format("{} has {}.", source.name, what), hint);
  };
  if (options.size != 0 && (info.width != options.size || info.height != options.size)) {
    refuse(fmt::format("{} x {} pixels, {} x {} were asked for", info.width, info.height,
                       options.size, options.size),
           hint_for_size());
  }
  if (!is_first) {
    if (info.bands != kind.info.bands) {
      refuse(fmt::format("{} bands, the images before have {}", info.bands, kind.info.bands),
             "keep images of other bands in a dataset of their own, or leave them out with "
             "--skip-bad.");
    }
    const bool has_one_shape = kind.encoding != RecordEncoding::kFile;
    if (has_one_shape && (info.width != kind.info.width || info.height != kind.info.height)) {
      refuse(fmt::format("{} x {} pixels, the images before have {} x {}", info.width, info.height,
                         kind.info.width, kind.info.height),
             hint_for_size());
    }
    if (has_one_shape && info.type != kind.info.type) {
      refuse(fmt::format("{} pixels, the images before have {}", pixel_type_name(info.type),
                         pixel_type_name(kind.info.type)),
             "convert the images to one type, or leave the others out with --skip-bad.");
    }
  }
  if (keeps_file) {
    prepared.bytes = bytes_of(source);
  } else {
    prepared.bytes = std::move(image.pixels);
  }
  return prepared;
}

RecordLayout layout_of(const PackOptions& options, const Kind& kind, const Dataset& dataset) {
  RecordLayout layout;
  layout.encoding = kind.encoding;
  layout.type = kind.info.type;
  layout.bands = kind.info.bands;
  if (kind.encoding != RecordEncoding::kFile) {
    layout.height = kind.info.height;
    layout.width = kind.info.width;
  }
  layout.class_names = dataset.class_names();
  std::vector<std::string> names = options.band_names;
  if (names.empty()) {
    for (size_t i = 0; std::cmp_less(i, layout.bands); ++i) {
      const auto band = options.bands.empty() ? i : static_cast<size_t>(options.bands[i]);
      const auto known = dataset.band_names();
      if (band < known.size()) names.push_back(known[band]);
    }
  }
  const auto check = [&](size_t count, const char* what) {
    if (count != 0 && std::cmp_not_equal(count, layout.bands)) {
      throw UsageError(
          fmt::format("pack: {} {} are given for {} bands.", count, what, layout.bands));
    }
  };
  check(names.size(), "band names");
  check(options.scale.size(), "scales");
  check(options.offset.size(), "offsets");
  if (names.empty() && options.scale.empty() && options.offset.empty()) return layout;
  for (size_t b = 0; std::cmp_less(b, layout.bands); ++b) {
    BandInfo band;
    band.name = names.empty() ? fmt::format("band_{}", b) : names[b];
    if (!options.scale.empty()) band.scale = options.scale[b];
    if (!options.offset.empty()) band.offset = options.offset[b];
    layout.band_info.push_back(band);
  }
  return layout;
}

// Where the samples go.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void add(const Prepared& prepared) = 0;
  // Adds what is known of the output to the report.
  virtual void finish(Json* report) = 0;
};

class ShardSink : public Sink {
 public:
  ShardSink(const PackOptions& options, RecordLayout layout, const std::string& source)
      : directory_(options.output),
        writer_(directory_, std::move(layout),
                {static_cast<uint64_t>(options.shard_mb) << 20, options.overwrite, source}) {}

  void add(const Prepared& prepared) override {
    Record record;
    record.name = prepared.sample.name;
    record.label = prepared.sample.label;
    record.longitude_latitude = prepared.sample.longitude_latitude;
    record.bytes = prepared.bytes;
    writer_.add(record, &prepared.statistics);
  }

  void finish(Json* report) override {
    const Json manifest = writer_.finish();
    (*report)["shards"] = manifest["shards"].size();
    (*report)["bytes"] = manifest["bytes"];
    (*report)["sha256"] = sha256_hex_of_file(directory_ / kManifestName);
  }

 private:
  fs::path directory_;
  ShardSetWriter writer_;
};

std::string_view text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string npy_bytes(const Prepared& prepared) {
  const ImageInfo& info = prepared.info;
  return npy_header(info.type, {info.height, info.width, info.bands}) +
         std::string(text_of(prepared.bytes));
}

bool is_safe_name(const std::string& name) {
  return !name.empty() && !name.starts_with('/') && name != ".." && !name.starts_with("../") &&
         name.find("/../") == std::string::npos;
}

// "a/b.tif" -> "a/b.npy" for pixels; the name itself for files kept as they are.
std::string file_name_for(const Prepared& prepared, RecordEncoding encoding) {
  const std::string& name = prepared.sample.name;
  if (!is_safe_name(name)) {
    throw UsageError(fmt::format("pack: the name `{}` does not stay inside of the output.", name));
  }
  if (encoding == RecordEncoding::kFile) return name;
  const size_t slash = name.rfind('/');
  const size_t dot = name.rfind('.');
  const bool has_extension =
      dot != std::string::npos && (slash == std::string::npos || dot > slash);
  return (has_extension ? name.substr(0, dot) : name) + ".npy";
}

class TarSink : public Sink {
 public:
  TarSink(const PackOptions& options, RecordEncoding encoding, std::vector<std::string> class_names)
      : path_(options.output), encoding_(encoding), class_names_(std::move(class_names)) {
    if (path_.extension() != ".tar") {
      throw UsageError(fmt::format("output {} is not named .tar.", options.output));
    }
    if (fs::exists(path_) && !options.overwrite) {
      throw UsageError(fmt::format("output {} exists already.", options.output),
                       "choose another output, or replace it with --overwrite.");
    }
    writer_ = std::make_unique<AtomicFileWriter>(path_);
  }

  void add(const Prepared& prepared) override {
    const std::string name = file_name_for(prepared, encoding_);
    // A dot in the middle would end the sample's key too early.
    const size_t slash = name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1;
    const size_t dot = name.rfind('.');
    std::string key = name.substr(0, dot);
    std::replace(key.begin() + static_cast<std::ptrdiff_t>(slash), key.end(), '.', '_');
    if (!keys_.insert(key).second) {
      throw UsageError(fmt::format("pack: {} and another sample have the same key `{}` in the "
                                   "archive.",
                                   prepared.sample.name, key),
                       "rename one of them.");
    }
    Json json = {{"name", prepared.sample.name}};
    if (prepared.sample.label >= 0) {
      json["label"] = prepared.sample.label;
      json["class"] = class_names_.at(static_cast<size_t>(prepared.sample.label));
    }
    if (prepared.sample.longitude_latitude) {
      json["longitude"] = (*prepared.sample.longitude_latitude)[0];
      json["latitude"] = (*prepared.sample.longitude_latitude)[1];
    }
    const std::string extension = name.substr(dot);
    if (encoding_ == RecordEncoding::kFile) {
      append_tar_member(*writer_, key + extension, text_of(prepared.bytes));
    } else {
      append_tar_member(*writer_, key + extension, npy_bytes(prepared));
    }
    if (prepared.sample.label >= 0) {
      append_tar_member(*writer_, key + ".cls", fmt::format("{}", prepared.sample.label));
    }
    append_tar_member(*writer_, key + ".json",
                      json.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  void finish(Json* report) override {
    append_tar_end(*writer_);
    (*report)["shards"] = 1;
    (*report)["bytes"] = writer_->bytes_written();
    writer_->publish();
    (*report)["sha256"] = sha256_hex_of_file(path_);
  }

 private:
  fs::path path_;
  RecordEncoding encoding_;
  std::vector<std::string> class_names_;
  std::unique_ptr<AtomicFileWriter> writer_;
  std::set<std::string> keys_;
};

// Writes into OUTPUT.partial (or OUTPUT/.partial where the folder is there already), so that what
// an error leaves is never taken for the whole.
class FolderSink : public Sink {
 public:
  FolderSink(const PackOptions& options, RecordEncoding encoding)
      : directory_(fs::weakly_canonical(options.output)), encoding_(encoding) {
    if (!directory_.has_filename()) directory_ = directory_.parent_path();
    if (fs::exists(directory_) && !fs::is_empty(directory_) && !options.overwrite) {
      throw UsageError(fmt::format("output {} is not empty.", options.output),
                       "choose another output, or write over it with --overwrite.");
    }
    staging_ = fs::exists(directory_) ? directory_ / ".partial"
                                      : fs::path(directory_.string() + ".partial");
    if (fs::exists(staging_)) {
      throw UsageError(fmt::format("{} is there, the rest of an interrupted call or of one that "
                                   "still runs.",
                                   staging_.string()),
                       "remove it when nothing writes into it any more.");
    }
    fs::create_directories(staging_);
  }

  ~FolderSink() override {
    std::error_code ignored;
    fs::remove_all(staging_, ignored);
  }

  void add(const Prepared& prepared) override {
    const std::string name = file_name_for(prepared, encoding_);
    if (!names_.insert(name).second) {
      throw UsageError(fmt::format("pack: two samples would be written to {}.", name),
                       "rename one of them.");
    }
    const std::string bytes = encoding_ == RecordEncoding::kFile
                                  ? std::string(text_of(prepared.bytes))
                                  : npy_bytes(prepared);
    write_file(staging_ / name, bytes);
    bytes_ += bytes.size();
  }

  void finish(Json* report) override {
    if (!fs::exists(directory_)) {
      fs::rename(staging_, directory_);
    } else {
      for (const std::string& name : names_) {
        fs::create_directories((directory_ / name).parent_path());
        fs::rename(staging_ / name, directory_ / name);
      }
    }
    (*report)["shards"] = names_.size();
    (*report)["bytes"] = bytes_;
  }

 private:
  // Not flushed one by one: a flush per file would take hours for a million.
  static void write_file(const fs::path& path, const std::string& bytes) {
    fs::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) {
      throw Error(fmt::format("cannot write {} ({} bytes).", path.string(), bytes.size()),
                  "look at the free space and the permissions of the folder.");
    }
  }

  fs::path directory_;
  fs::path staging_;
  RecordEncoding encoding_;
  std::set<std::string> names_;
  uint64_t bytes_ = 0;
};

bool lies_in(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

// What is packed must not be written over, nor be read back as a part of itself.
void check_output(const PackOptions& options) {
  const fs::path root = fs::weakly_canonical(options.data.root);
  const fs::path output = fs::weakly_canonical(options.output);
  if (!lies_in(output, root) && !lies_in(root, output)) return;
  throw UsageError(fmt::format("pack: the output {} and the data set {} lie in one another.",
                               options.output, options.data.root),
                   "give an --output beside the data set.");
}

std::unique_ptr<Sink> make_sink(const PackOptions& options, const Kind& kind,
                                const Dataset& dataset) {
  if (options.format == "tar") {
    return std::make_unique<TarSink>(options, kind.encoding, dataset.class_names());
  }
  if (options.format == "folder") return std::make_unique<FolderSink>(options, kind.encoding);
  return std::make_unique<ShardSink>(options, layout_of(options, kind, dataset),
                                     dataset.description());
}

}  // namespace

void PackOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.add("output", &output, "folder of the shards or files, or name of the .tar");
  fields.add("format", &format, "record shards, one WebDataset archive, or a plain folder")
      .one_of({"shards", "tar", "folder"});
  fields
      .add("encoding", &encoding,
           "file: images kept byte for byte; raw: decoded pixels; lz4: compressed pixels; auto: "
           "file for JPEG, raw for the rest")
      .one_of({"auto", "file", "raw", "lz4"});
  fields.add("bands", &bands, "0-based bands to keep; empty: all");
  fields.add("size", &size, "height and width every image must have; 0: any, or as the first")
      .at_least(0);
  fields.add("band_names", &band_names, "of the packed bands");
  fields.add("scale", &scale, "per band: physical value = scale * stored + offset");
  fields.add("offset", &offset, "per band");
  fields.add("shard_mb", &shard_mb, "largest size of a shard in MiB").at_least(1);
  fields.add("workers", &workers, "threads that read and decode; 0: all cores").at_least(0);
  fields.add("overwrite", &overwrite, "replace an output that is there already");
}

Json pack_dataset(const PackOptions& options) {
  if (options.output.empty()) {
    throw UsageError("pack: no output.", "give one with --output FOLDER.");
  }
  const std::unique_ptr<Dataset> dataset = open_dataset(options.data);
  check_output(options);
  Kind kind;
  std::unique_ptr<Sink> sink;
  int64_t skipped = 0;
  int64_t records = 0;
  int64_t labelled = 0;
  Json skipped_names = Json::array();
  const auto skip = [&](const Prepared& prepared) {
    if (!options.data.skip_bad) throw BadSample(*prepared.problem, prepared.hint);
    ++skipped;
    log_warning(*prepared.problem + " It is left out.");
    if (skipped_names.size() < kMostListed) {
      skipped_names.push_back({{"name", prepared.sample.name}, {"reason", *prepared.problem}});
    }
  };
  const auto prepare_safely = [&](int64_t index, bool is_first) {
    try {
      return prepare(*dataset, index, options, kind, is_first);
    } catch (const BadSample& error) {
      Prepared prepared;
      prepared.sample = dataset->sample(index);
      prepared.problem = error.message();
      prepared.hint = error.hint();
      return prepared;
    }
  };

  // The first usable sample says what kind of records there will be.
  int64_t first = 0;
  for (; first < dataset->size(); ++first) {
    const Prepared prepared = prepare_safely(first, true);
    if (prepared.problem) {
      skip(prepared);
      continue;
    }
    kind.info = prepared.info;
    kind.encoding = choose_encoding(options, prepared.info);
    sink = make_sink(options, kind, *dataset);
    break;
  }
  if (!sink) {
    throw Error(fmt::format("pack: none of the {} samples of {} is usable.", dataset->size(),
                            dataset->description()),
                "list what is wrong with `swath data verify`.");
  }
  for (int64_t begin = first; begin < dataset->size(); begin += kChunk) {
    show_progress(fmt::format("pack: {} of {}", begin, dataset->size()));
    const int64_t count = std::min(kChunk, dataset->size() - begin);
    std::vector<Prepared> chunk(static_cast<size_t>(count));
    parallel_for(count, options.workers, [&](int64_t i) {
      chunk[static_cast<size_t>(i)] = prepare_safely(begin + i, false);
    });
    for (const Prepared& prepared : chunk) {
      if (prepared.problem) {
        skip(prepared);
        continue;
      }
      sink->add(prepared);
      ++records;
      if (prepared.sample.label >= 0) ++labelled;
    }
  }
  end_progress();
  Json report = {{"output", options.output},
                 {"format", options.format},
                 {"encoding", record_encoding_name(kind.encoding)},
                 {"records", records},
                 {"labelled", labelled},
                 {"skipped", skipped},
                 {"skipped_names", skipped_names}};
  sink->finish(&report);
  return report;
}

}  // namespace swath::data
