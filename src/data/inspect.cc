#include "data/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "core/random.h"
#include "data/geolocation.h"
#include "data/normalization.h"
#include "data/parallel.h"
#include "data/statistics.h"

namespace swath::data {
namespace {

constexpr int64_t kExamples = 3;
constexpr size_t kMostListed = 20;

struct Look {
  ImageInfo info;
  BandStatistics statistics;
  std::string problem;  // not empty: unusable
  std::optional<std::array<double, 2>> longitude_latitude;
};

Json to_json(const std::map<std::string, int64_t>& counts) {
  Json json = Json::object();
  for (const auto& [name, count] : counts) json[name] = count;
  return json;
}

}  // namespace

void InspectOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.add("samples", &samples, "samples decoded for value ranges; 0: all").at_least(0);
  fields.add("bands", &bands, "0-based bands; empty: all");
  fields.add("save_normalization", &save_normalization,
             "file for mean and standard deviation per band");
  fields.add("workers", &workers, "threads; 0: all cores").at_least(0);
}

Json inspect_dataset(const InspectOptions& options) {
  const std::unique_ptr<Dataset> dataset = open_dataset(options.data);
  const int64_t size = dataset->size();
  std::vector<int64_t> per_class(dataset->class_names().size(), 0);
  int64_t unlabelled = 0;
  Json examples = Json::array();
  for (int64_t i = 0; i < size; ++i) {
    const Sample sample = dataset->sample(i);
    if (sample.label >= 0 && std::cmp_less(sample.label, per_class.size())) {
      ++per_class[static_cast<size_t>(sample.label)];
    } else {
      ++unlabelled;
    }
    if (i < kExamples) examples.push_back(sample.name);
  }

  const int64_t count = options.samples == 0 ? size : std::min(size, options.samples);
  const Permutation order(static_cast<uint64_t>(size), 0, 0);
  std::vector<Look> looks(static_cast<size_t>(count));
  DecodeOptions decode;
  decode.bands = options.bands;
  parallel_for(count, options.workers, [&](int64_t i) {
    Look& look = looks[static_cast<size_t>(i)];
    const int64_t index = count == size ? i : static_cast<int64_t>(order(static_cast<uint64_t>(i)));
    try {
      std::vector<std::byte> scratch;
      const ImageSource source = dataset->source(index, &scratch);
      ImageReader reader(source);
      look.info = reader.info();
      Image image;
      look.statistics.add(reader, decode, source.name, &image);
      look.longitude_latitude = dataset->sample(index).longitude_latitude;
      if (!look.longitude_latitude) look.longitude_latitude = center_of(look.info);
    } catch (const BadSample& error) {
      look.problem = error.message();
    }
  });

  std::map<std::string, int64_t> formats, sizes, types, band_counts;
  int64_t georeferenced = 0;
  int64_t unusable_images = 0;
  BandNormalization normalization;
  Json unusable = Json::array();
  for (const Look& look : looks) {
    if (!look.problem.empty()) {
      ++unusable_images;
      if (unusable.size() < kMostListed) unusable.push_back(look.problem);
      continue;
    }
    ++formats[look.info.format];
    ++sizes[fmt::format("{}x{}", look.info.width, look.info.height)];
    ++types[pixel_type_name(look.info.type)];
    ++band_counts[fmt::format("{}", look.info.bands)];
    if (look.longitude_latitude) ++georeferenced;
    if (normalization.statistics.images() == 0 ||
        normalization.statistics.bands() == look.statistics.bands()) {
      normalization.statistics.merge(look.statistics);
    }
  }
  const BandStatistics& statistics = normalization.statistics;
  normalization.band_names = band_names_of(*dataset, options.bands, statistics.bands());
  normalization.source = dataset->description();
  Json bands = Json::array();
  const std::vector<double> variance =
      statistics.images() > 0 ? statistics.variance() : std::vector<double>();
  for (size_t b = 0; std::cmp_less(b, statistics.bands()); ++b) {
    bands.push_back({{"name", normalization.band_names[b]},
                     {"minimum", statistics.minimum()[b]},
                     {"maximum", statistics.maximum()[b]},
                     {"mean", statistics.mean()[b]},
                     {"standard_deviation", std::sqrt(variance[b])}});
  }
  if (!options.save_normalization.empty() && statistics.images() > 0) {
    save_normalization(normalization, options.save_normalization);
  }
  Json classes = Json::object();
  for (size_t c = 0; c < per_class.size(); ++c) classes[dataset->class_names()[c]] = per_class[c];
  return {{"dataset", dataset->description()},
          {"images", size},
          {"classes", classes},
          {"unlabelled", unlabelled},
          {"examples", examples},
          {"looked_at", count},
          {"formats", to_json(formats)},
          {"sizes", to_json(sizes)},
          {"pixel_types", to_json(types)},
          {"band_counts", to_json(band_counts)},
          {"georeferenced", georeferenced},
          {"bands", bands},
          {"unusable_images", unusable_images},
          {"unusable", unusable}};
}

}  // namespace swath::data
