#include "data/modis/product_labels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "data/clouds/cloud_labels.h"
#include "data/modis/chip_cutter.h"
#include "data/modis/granule.h"
#include "data/modis/hdf4_file.h"
#include "data/modis/product_files.h"
#include "data/modis/synthetic_scene.h"

namespace swath::data::modis {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMostListed = 100;

// AICCA leaves out what is thicker before it takes means and deviations.
constexpr const char* kThickness = "Cloud_Optical_Thickness";
constexpr double kLargestThickness = 100;

// Written at 1 km in MOD06_L2 files, collection 6 on [MOD06 file specification].
constexpr std::array<const char*, 4> kProperties = {
    kThickness, "Cloud_Effective_Radius", "cloud_top_pressure_1km", "cloud_top_temperature_1km"};

// A field of one value per pixel, in its physical units; NaN where there is none.
struct PixelField {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<double> values;
};

PixelField read_field(const Hdf4File& file, const std::string& name) {
  const ArrayInfo& info = file.array(name);
  if (info.shape.size() != 2) {
    throw BadGranule("layout",
                     fmt::format("{}: `{}` has {} dimensions, not one value per pixel.",
                                 file.path().string(), name, info.shape.size()),
                     "name a field of rows and columns at 1 km.");
  }
  PixelField field{info.shape[0], info.shape[1], file.read_numbers(name)};
  const auto attribute = [&](const char* key) -> std::optional<double> {
    const auto numbers = file.numbers(name, key);
    return numbers && !numbers->empty() ? std::optional(numbers->front()) : std::nullopt;
  };
  const std::optional<double> fill = attribute("_FillValue");
  const double scale = attribute("scale_factor").value_or(1);
  const double offset = attribute("add_offset").value_or(0);
  for (double& value : field.values) {
    value = fill && value == *fill ? kNoValue : (value - offset) * scale;
  }
  return field;
}

// Rows and columns of a field that a chip covers.
struct Window {
  int64_t row = 0;
  int64_t column = 0;
  int64_t height = 0;
  int64_t width = 0;

  template <class Take>
  void for_each(const PixelField& field, const Take& take) const {
    for (int64_t y = row; y < row + height; ++y) {
      const double* values = field.values.data() + y * field.columns + column;
      for (int64_t x = 0; x < width; ++x) {
        if (!std::isnan(values[x])) take(values[x]);
      }
    }
  }
};

// The value of most pixels, if it holds so large a share of all of them; ties go to the lower one.
std::optional<int64_t> most_frequent(const PixelField& field, const Window& window,
                                     double min_share) {
  std::map<int64_t, int64_t> counts;
  window.for_each(field, [&](double value) { ++counts[std::llround(value)]; });
  int64_t most = 0;
  int64_t found = 0;
  for (const auto& [value, count] : counts) {
    if (count > most) {
      most = count;
      found = value;
    }
  }
  const auto needed = min_share * static_cast<double>(window.height * window.width);
  return most > 0 && static_cast<double>(most) >= needed ? std::optional(found) : std::nullopt;
}

std::pair<double, double> mean_and_deviation(const PixelField& field, const Window& window) {
  double sum = 0;
  int64_t count = 0;
  window.for_each(field, [&](double value) {
    sum += value;
    ++count;
  });
  if (count == 0) return {kNoValue, kNoValue};
  const double mean = sum / static_cast<double>(count);
  double squares = 0;
  window.for_each(field, [&](double value) { squares += (value - mean) * (value - mean); });
  return {mean, std::sqrt(squares / static_cast<double>(count))};
}

std::string class_name_of(const std::string& field, int64_t value) {
  if (field == kRegimeField && value >= 0 && value < kCloudRegimes) {
    return cloud_regime_name(static_cast<CloudRegime>(value));
  }
  if (field == "Cloud_Phase_Infrared_1km") {  // [attribute of the field]
    switch (value) {
      case 0:
        return "clear";
      case 1:
        return "water";
      case 2:
        return "ice";
      case 3:
        return "mixed";
      case 6:
        return "undetermined";
      default:
        break;
    }
  }
  return fmt::format("value_{}", value);
}

GranuleName name_of(const clouds::Granule& granule) {
  GranuleName name;
  name.platform = granule.platform;
  name.year = granule.year();
  name.day_of_year = granule.date % 1000;
  name.hour = granule.start / 100;
  name.minute = granule.start % 100;
  return name;
}

// What one MOD06 file says of its granule.
struct Product {
  fs::path path;
  PixelField field;
  std::map<std::string, PixelField> properties;

  Product(const fs::path& file_path, const std::string& field_name, const clouds::Granule& granule)
      : path(file_path) {
    const Hdf4File file(path);
    check_pair(file, name_of(granule), "the granule of the chips");
    if (!file.has_array(field_name)) {
      throw BadGranule("missing_data_set",
                       fmt::format("{}: has no field `{}`; it has: {}.", path.string(), field_name,
                                   fmt::join(file.array_names(), ", ")),
                       "name one of its fields with --field, or leave it out with --skip-bad.");
    }
    field = read_field(file, field_name);
    for (const char* name : kProperties) {
      if (file.has_array(name)) properties.emplace(name, read_field(file, name));
    }
    if (const auto thickness = properties.find(kThickness); thickness != properties.end()) {
      std::ranges::replace_if(
          thickness->second.values, [](double value) { return value > kLargestThickness; },
          kNoValue);
    }
  }
};

void check_covers(const fs::path& path, const std::string& name, const PixelField& field,
                  const Window& window) {
  if (window.row + window.height <= field.rows && window.column + window.width <= field.columns) {
    return;
  }
  throw BadGranule("layout",
                   fmt::format("{}: `{}` has {} x {} pixels; a chip of {} x {} starts at row {}, "
                               "column {}.",
                               path.string(), name, field.rows, field.columns, window.height,
                               window.width, window.row, window.column),
                   "give a field at 1 km, and the files that the chips were cut from.");
}

// The chips of a folder, granule by granule: so a file is read once.
struct Chips {
  std::unique_ptr<Dataset> dataset;
  std::vector<clouds::ChipPlace> places;
  std::map<clouds::Granule, std::vector<int64_t>> of_granule;

  explicit Chips(const DatasetOptions& options)
      : dataset(open_dataset(options)), places(clouds::chip_places(*dataset)) {
    for (size_t i = 0; i < places.size(); ++i) {
      if (!places[i].has_pixel()) {
        throw UsageError(fmt::format("labels: the name {} does not say where on its granule the "
                                     "chip lies.",
                                     dataset->sample(static_cast<int64_t>(i)).name),
                         "cut chips with `swath chips`.");
      }
      of_granule[places[i].granule].push_back(static_cast<int64_t>(i));
    }
  }

  std::vector<Window> windows(const std::vector<int64_t>& members) const {
    std::vector<Window> windows;
    std::vector<std::byte> scratch;
    for (const int64_t chip : members) {
      const ImageInfo info = read_image_info(dataset->source(chip, &scratch));
      const clouds::ChipPlace& place = places[static_cast<size_t>(chip)];
      windows.push_back({place.row, place.column, info.height, info.width});
    }
    return windows;
  }
};

clouds::CloudLabels no_labels(const ProductLabelOptions& options) {
  clouds::CloudLabels labels;
  labels.form = options.form;
  labels.derived = fmt::format("most frequent {} of each chip's pixels", options.field);
  for (const char* name : kProperties) {
    labels.property_names.push_back(fmt::format("{}_mean", name));
    labels.property_names.push_back(fmt::format("{}_std", name));
  }
  return labels;
}

// The labels of chips of one granule; a chip of which no value holds enough gets none.
clouds::CloudLabels label_granule(const Product& product, const Chips& chips,
                                  const std::vector<int64_t>& members,
                                  const std::vector<Window>& windows,
                                  const ProductLabelOptions& options) {
  clouds::CloudLabels labels = no_labels(options);
  for (size_t i = 0; i < members.size(); ++i) {
    const Window& window = windows[i];
    check_covers(product.path, options.field, product.field, window);
    const auto value = most_frequent(product.field, window, options.min_share);
    if (!value) continue;
    labels.places.push_back(chips.places[static_cast<size_t>(members[i])]);
    labels.raw.push_back(*value);
    for (const char* name : kProperties) {
      const auto property = product.properties.find(name);
      std::pair<double, double> summary = {kNoValue, kNoValue};
      if (property != product.properties.end()) {
        check_covers(product.path, name, property->second, window);
        summary = mean_and_deviation(property->second, window);
      }
      labels.properties.insert(labels.properties.end(), {summary.first, summary.second});
    }
  }
  return labels;
}

// Files that cannot be used, and chips without a label by reason.
class Losses {
 public:
  void add(const std::string& reason, int64_t chips) { chips_[reason] += chips; }
  void add(const fs::path& file, const BadSample& error, int64_t chips) {
    const auto* granule = dynamic_cast<const BadGranule*>(&error);
    const std::string reason = granule == nullptr ? "unreadable" : granule->reason();
    add(reason, chips);
    ++num_files_;
    if (files_.size() >= kMostListed) return;
    log_warning(fmt::format("labels: {} chips get no label: {}", chips, error.message()));
    files_.push_back(
        {{"name", file.filename().string()}, {"reason", reason}, {"message", error.message()}});
  }

  int64_t chips(const std::string& reason) const { return chips_.at(reason); }
  int64_t num_files() const { return num_files_; }
  Json chips_json() const { return chips_; }
  Json files_json() const { return files_; }

 private:
  std::map<std::string, int64_t> chips_ = {{"mixed", 0}, {"no_product", 0}};
  int64_t num_files_ = 0;
  Json files_ = Json::array();
};

}  // namespace

void ProductLabelOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.add("products", &products, "folder of the MOD06_L2 / MYD06_L2 files of the chips");
  fields.add("field", &field, "whose most frequent value is a chip's class");
  fields
      .add("min_share", &min_share, "of the chip's pixels that must have this value; else no label")
      .at_least(0)
      .at_most(1);
  clouds::describe_label_form(fields, &form);
  fields.add("output", &output, "directory for the labels");
}

Json product_labels(const ProductLabelOptions& options) {
  const fs::path directory = clouds::new_label_directory(options.output, options.overwrite);
  const FilesByGranule files =
      ProductFolder(options.products).files_of("06_L2", Duplicates::kNewest);
  const Chips chips(options.data);
  clouds::CloudLabels labels = no_labels(options);
  Losses losses;
  int64_t granules = 0;
  for (const auto& [granule, members] : chips.of_granule) {
    show_progress(fmt::format("labels: granule {} of {}", ++granules, chips.of_granule.size()));
    const auto num_chips = std::ssize(members);
    const auto file = files.find(granule.text());
    if (file == files.end()) {
      losses.add("no_product", num_chips);
      continue;
    }
    const std::vector<Window> windows = chips.windows(members);
    try {
      const Product product(file->second, options.field, granule);
      const clouds::CloudLabels found = label_granule(product, chips, members, windows, options);
      labels.append(found);
      losses.add("mixed", num_chips - found.size());
    } catch (const BadSample& error) {
      if (!options.data.skip_bad) throw;
      losses.add(file->second, error, num_chips);
    }
  }
  end_progress();
  if (labels.size() == 0) {
    throw UsageError(
        fmt::format("labels: none of {} chips got a label: {} without a MOD06 file in "
                    "{}, {} without a value that {} of the pixels have; {} files cannot be used.",
                    chips.places.size(), losses.chips("no_product"), options.products,
                    losses.chips("mixed"), options.min_share, losses.num_files()),
        "name the folder of their MOD06 files with --products, or lower --min_share.");
  }
  std::map<int64_t, std::string> names;
  for (const int64_t raw : labels.raw) names.emplace(raw, class_name_of(options.field, raw));
  const int64_t written = clouds::write_labels_with_map(directory, labels, names);
  return {{"output", options.output},          {"form", options.form},
          {"derived", labels.derived},         {"labels", labels.size()},
          {"classes", names.size()},           {"files", written},
          {"unlabelled", losses.chips_json()}, {"bad", losses.files_json()}};
}

}  // namespace swath::data::modis
