// For tests: labels and chips whose places are known.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "data/clouds/cloud_labels.h"
#include "data/list_file.h"
#include "data/record_shard.h"
#include "data/shard_set.h"
#include "data/test_files.h"

namespace swath::data::clouds::test {

inline ChipPlace place_at(const Granule& granule, int32_t row, int32_t column) {
  ChipPlace place;
  place.granule = granule;
  place.row = row;
  place.column = column;
  // Chips of 128 km on a straight swath that starts at 20 N, 40 W; granules of a day lie apart.
  place.latitude = 20 - row / 111.2;
  place.longitude = -40 + column / 111.2 + granule.start / 100.0;
  return place;
}

// The labels of `rows` x `columns` chips of each granule: raw = first + place modulo classes, with
// one property.
inline CloudLabels label_grid(const std::vector<Granule>& granules, int32_t rows, int32_t columns,
                              int64_t first, int64_t classes) {
  CloudLabels labels;
  labels.property_names = {"Cloud_Top_Pressure_mean"};
  for (const Granule& granule : granules) {
    for (int32_t i = 0; i < rows * columns; ++i) {
      labels.places.push_back(place_at(granule, i / columns * 128, i % columns * 128));
      labels.raw.push_back(first + i % classes);
      labels.properties.push_back(i % 5 == 4 ? std::numeric_limits<double>::quiet_NaN()
                                             : 500 + 100.0 * static_cast<double>(i % classes));
    }
  }
  return labels;
}

inline std::string chip_name(const ChipPlace& place) {
  return fmt::format("{}/r{:05}c{:05}", place.granule.name(), place.row, place.column);
}

// Record shards with an 8 x 8 chip of two bands at every place; structure differs from chip to
// chip.
inline void write_chips(const std::filesystem::path& directory,
                        const std::vector<ChipPlace>& places) {
  RecordLayout layout;
  layout.type = PixelType::kUint16;
  layout.height = 8;
  layout.width = 8;
  layout.bands = 2;
  layout.band_info = {{"28", 1, 0}, {"31", 1, 0}};
  ShardSetOptions options;
  options.source = "synthetic chips";
  ShardSetWriter writer(directory, layout, options);
  for (size_t i = 0; i < places.size(); ++i) {
    std::vector<uint16_t> pixels = data::test::random_pixels<uint16_t>(128, i, 50);
    for (size_t p = 0; p < pixels.size(); ++p) {
      const size_t row = p / 16;
      const size_t column = p / 2 % 8;
      const bool is_wave = i % 2 == 0 && (row + column) % 2 == 0;
      pixels[p] = static_cast<uint16_t>(pixels[p] + 400 * (i % 3) + (is_wave ? 200 : 0) +
                                        (i % 2 == 1 && row < 4 ? 200 : 0));
    }
    Record record;
    record.name = chip_name(places[i]);
    record.longitude_latitude = {{places[i].longitude, places[i].latitude}};
    record.bytes = data::test::bytes_of(pixels);
    writer.add(record);
  }
  writer.finish();
}

}  // namespace swath::data::clouds::test
