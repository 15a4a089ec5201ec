// Where the images of a set of features lie, and which of them look alike to the encoder: what a
// map of features is drawn from.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/clouds/chip_place.h"
#include "data/dataset.h"
#include "eval/feature_set.h"
#include "eval/kmeans.h"

namespace swath::eval {

// What is known of the place of one image; each part may be missing.
struct FeaturePlace {
  std::optional<std::array<double, 2>> longitude_latitude;  // degrees, of the centre
  std::optional<data::clouds::Granule> granule;
  std::optional<data::clouds::ChipPixel> pixel;  // without a granule it says nothing

  bool is_on_swath() const { return granule && pixel; }
  bool is_known() const { return longitude_latitude || granule; }
};

struct FeaturePlaces {
  std::vector<FeaturePlace> places;  // in the order of the features
  // Pixels a side of a chip, of which all have the same size; 0: no image has a place on a swath.
  int64_t chip_size = 0;

  bool is_any_known() const;
};

// Positions are the dataset's; granule and pixel are read out of names as `swath chips` gives them.
FeaturePlaces places_of(const FeatureSet& features, const data::Dataset& dataset);

// k-means on standardised features, each of which counts the same so: cluster 0 is the largest.
// Throws what kmeans() throws.
KMeansResult cluster_features(const FeatureSet& features, int64_t clusters, uint64_t seed);

// The table of places_table.h: a line for each image. `clusters`: empty, or one of each.
std::string places_text(const FeatureSet& features, const FeaturePlaces& places,
                        const std::vector<int64_t>& clusters);

// {"placed": images with a position, "chip_size",
//  "granules": [{"name", "platform", "chips", "synthetic"}] in the order of platform and time,
//  "synthetic": granules, "quick_looks": folder of their pictures or ""}
// `chips`: the dataset's root. What its folder does not say about synthetic granules is null.
Json describe_places(const FeaturePlaces& places, const std::filesystem::path& chips);

}  // namespace swath::eval
