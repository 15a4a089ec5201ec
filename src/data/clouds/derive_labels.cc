#include "data/clouds/derive_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "data/clouds/chip_place.h"
#include "data/clouds/cloud_labels.h"

namespace swath::data::clouds {
namespace fs = std::filesystem;
namespace {

constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

template <class Pixel>
FieldSummary summarize(const Image& image, int64_t band) {
  const Pixel* pixels = image.as<Pixel>();
  const auto value = [&](int64_t row, int64_t column) {
    return static_cast<double>(pixels[(row * image.width + column) * image.bands + band]);
  };
  double sum = 0;
  double squares = 0;
  int64_t count = 0;
  double steps = 0;
  int64_t num_steps = 0;
  const auto add_step = [&](double a, double b) {
    if (!std::isfinite(a) || !std::isfinite(b)) return;
    steps += (a - b) * (a - b);
    ++num_steps;
  };
  for (int64_t row = 0; row < image.height; ++row) {
    for (int64_t column = 0; column < image.width; ++column) {
      const double here = value(row, column);
      if (row > 0) add_step(here, value(row - 1, column));
      if (column > 0) add_step(here, value(row, column - 1));
      if (!std::isfinite(here)) continue;
      sum += here;
      squares += here * here;
      ++count;
    }
  }
  if (count == 0) return {kNoValue, kNoValue, kNoValue};
  FieldSummary summary;
  const auto n = static_cast<double>(count);
  summary.mean = sum / n;
  const double variance = std::max(0.0, squares / n - summary.mean * summary.mean);
  summary.deviation = std::sqrt(variance);
  summary.texture =
      variance > 0 && num_steps > 0 ? steps / static_cast<double>(num_steps) / variance : 0;
  return summary;
}

// Cuts `order` into `parts` runs of equal length.
std::vector<std::vector<int64_t>> cut(const std::vector<int64_t>& order, int64_t parts) {
  std::vector<std::vector<int64_t>> runs(static_cast<size_t>(parts));
  for (size_t i = 0; i < order.size(); ++i) {
    runs[i * static_cast<size_t>(parts) / order.size()].push_back(order[i]);
  }
  return runs;
}

// The class of each summary: level * textures + texture.
std::vector<int64_t> classify(const std::vector<FieldSummary>& summaries, int64_t levels,
                              int64_t textures) {
  std::vector<int64_t> order(summaries.size());
  std::iota(order.begin(), order.end(), 0);
  const auto sort_by = [&](std::vector<int64_t>* indices, double FieldSummary::* value) {
    std::stable_sort(indices->begin(), indices->end(), [&](int64_t a, int64_t b) {
      return summaries[static_cast<size_t>(a)].*value < summaries[static_cast<size_t>(b)].*value;
    });
  };
  sort_by(&order, &FieldSummary::mean);
  std::vector<int64_t> classes(summaries.size());
  int64_t next = 0;
  for (std::vector<int64_t>& level : cut(order, levels)) {
    sort_by(&level, &FieldSummary::texture);
    if (level.empty()) continue;
    for (const std::vector<int64_t>& texture : cut(level, textures)) {
      for (const int64_t i : texture) classes[static_cast<size_t>(i)] = next;
      ++next;
    }
  }
  return classes;
}

}  // namespace

void DeriveOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.add("output", &output, "directory for the labels");
  describe_label_form(fields, &form);
  fields.add("band", &band, "0-based band that the classes are read from; below 0: from the last");
  fields.add("levels", &levels, "classes by the band's mean").at_least(1);
  fields.add("textures", &textures, "classes by the texture's scale within each level").at_least(1);
}

FieldSummary summarize_field(const Image& image, int64_t band) {
  const int64_t index = band < 0 ? image.bands + band : band;
  if (index < 0 || index >= image.bands) {
    throw UsageError(fmt::format("labels: there is no band {} in chips of {}.", band, image.bands));
  }
  switch (image.type) {
    case PixelType::kUint8:
      return summarize<uint8_t>(image, index);
    case PixelType::kUint16:
      return summarize<uint16_t>(image, index);
    case PixelType::kInt16:
      return summarize<int16_t>(image, index);
    case PixelType::kFloat32:
      break;
  }
  return summarize<float>(image, index);
}

Json derive_labels(const DeriveOptions& options) {
  const int64_t num_classes = options.levels * options.textures;
  if (num_classes > 42) {
    throw UsageError(fmt::format("labels: {} x {} classes; the forms have 42.", options.levels,
                                 options.textures));
  }
  const fs::path directory = new_label_directory(options.output, options.overwrite);
  const std::unique_ptr<Dataset> dataset = open_dataset(options.data);
  const std::vector<ChipPlace> places = chip_places(*dataset);

  // 1. One summary per chip; a chip without a value gets no label.
  CloudLabels labels;
  labels.form = options.form;
  const std::vector<std::string> bands = dataset->band_names();
  const int64_t place = options.band < 0 ? std::ssize(bands) + options.band : options.band;
  const bool has_name = place >= 0 && place < std::ssize(bands);
  labels.derived =
      fmt::format("mean and texture of band {} of the chips themselves",
                  has_name ? bands[static_cast<size_t>(place)] : fmt::format("{}", options.band));
  labels.property_names = {"field_mean", "field_std", "texture_mean"};
  std::vector<FieldSummary> summaries;
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < dataset->size(); ++i) {
    const FieldSummary summary =
        summarize_field(decode_image(dataset->source(i, &scratch)), options.band);
    show_progress(fmt::format("labels: chip {} of {}", i + 1, dataset->size()));
    if (std::isnan(summary.mean)) continue;
    summaries.push_back(summary);
    labels.places.push_back(places[static_cast<size_t>(i)]);
    labels.properties.insert(labels.properties.end(),
                             {summary.mean, summary.deviation, summary.texture});
  }
  end_progress();
  if (static_cast<int64_t>(summaries.size()) < num_classes) {
    throw UsageError(
        fmt::format("labels: {} chips cannot fill {} classes.", summaries.size(), num_classes),
        "give more chips, or ask for fewer levels and textures.");
  }

  // 2. Classes by rank, in the numbers of the form.
  const int64_t first = options.form == "table" ? 1 : 0;
  for (const int64_t c : classify(summaries, options.levels, options.textures)) {
    labels.raw.push_back(first + c);
  }
  std::map<int64_t, std::string> names;
  for (int64_t c = 0; c < num_classes; ++c) names[first + c] = fmt::format("derived_{}", c + 1);
  const int64_t files = write_labels_with_map(directory, labels, names);
  return {{"output", options.output}, {"form", options.form},   {"derived", labels.derived},
          {"labels", labels.size()},  {"classes", num_classes}, {"files", files}};
}

}  // namespace swath::data::clouds
