#include "eval/feature_places.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "core/csv.h"
#include "core/error.h"
#include "data/modis/granule_table.h"
#include "eval/places_table.h"
#include "eval/standardize.h"

namespace swath::eval {
namespace fs = std::filesystem;

bool FeaturePlaces::is_any_known() const {
  return std::any_of(places.begin(), places.end(),
                     [](const FeaturePlace& place) { return place.is_known(); });
}

FeaturePlaces places_of(const FeatureSet& features, const data::Dataset& dataset) {
  std::unordered_map<uint64_t, int64_t> index_of;
  for (int64_t i = 0; i < dataset.size(); ++i) index_of.emplace(dataset.sample(i).id, i);
  FeaturePlaces result;
  std::vector<std::byte> scratch;
  for (size_t i = 0; i < features.names.size(); ++i) {
    const auto index = index_of.find(features.sample_ids[i]);
    if (index == index_of.end()) {
      throw Error(fmt::format("{}: {} is not there, but its features are.", dataset.description(),
                              features.names[i]),
                  "remove the cache of features, and compute them again.");
    }
    const data::Sample sample = dataset.sample(index->second);
    FeaturePlace place;
    place.longitude_latitude = sample.longitude_latitude;
    place.granule = data::clouds::parse_granule(sample.name);
    if (place.granule) place.pixel = data::clouds::parse_pixel(sample.name);
    if (place.is_on_swath() && result.chip_size == 0) {
      result.chip_size = data::read_image_info(dataset.source(index->second, &scratch)).width;
    }
    result.places.push_back(place);
  }
  return result;
}

KMeansResult cluster_features(const FeatureSet& features, int64_t clusters, uint64_t seed) {
  KMeansOptions options;
  options.clusters = clusters;
  return numbered_by_size(
      kmeans(features.features_ND / feature_deviations(features.features_ND), options, seed));
}

std::string places_text(const FeatureSet& features, const FeaturePlaces& places,
                        const std::vector<int64_t>& clusters) {
  std::string text = std::string(kPlacesHeader) + "\n";
  for (size_t i = 0; i < places.places.size(); ++i) {
    const FeaturePlace& place = places.places[i];
    text += csv_cell(features.names[i]) + ",";
    text += place.longitude_latitude ? csv_number((*place.longitude_latitude)[0]) + "," +
                                           csv_number((*place.longitude_latitude)[1]) + ","
                                     : ",,";
    text += place.granule ? fmt::format("{},{},", place.granule->name(),
                                        data::clouds::platform_name(place.granule->platform))
                          : ",,";
    text += place.pixel ? fmt::format("{},{},", place.pixel->row, place.pixel->column) : ",,";
    text += clusters.empty() ? "\n" : fmt::format("{}\n", clusters[i]);
  }
  return text;
}

Json describe_places(const FeaturePlaces& places, const fs::path& chips) {
  std::map<data::clouds::Granule, int64_t> chips_of;
  int64_t placed = 0;
  for (const FeaturePlace& place : places.places) {
    if (place.longitude_latitude) ++placed;
    if (place.granule) ++chips_of[*place.granule];
  }
  // `chips` may be the folder, or its manifest or one shard.
  const fs::path folder = fs::is_directory(chips) ? chips : chips.parent_path();
  const auto marks = data::modis::read_synthetic_marks(folder);
  Json granules = Json::array();
  Json synthetic = marks ? Json(0) : Json();
  for (const auto& [granule, count] : chips_of) {
    Json mark;
    if (marks) {
      if (const auto found = marks->find(granule.name()); found != marks->end()) {
        mark = found->second;
        synthetic = synthetic.get<int64_t>() + (found->second ? 1 : 0);
      }
    }
    granules.push_back({{"name", granule.name()},
                        {"platform", data::clouds::platform_name(granule.platform)},
                        {"chips", count},
                        {"synthetic", mark}});
  }
  const fs::path quick_looks = folder / data::modis::kQuickLookFolder;
  return Json{
      {"placed", placed},
      {"chip_size", places.chip_size},
      {"granules", granules},
      {"synthetic", synthetic},
      // A report may be made from another directory.
      {"quick_looks",
       fs::is_directory(quick_looks) ? fs::weakly_canonical(quick_looks).string() : std::string()}};
}

}  // namespace swath::eval
