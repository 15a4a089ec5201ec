// Per-band mean and standard deviation of a dataset, computed once and stored with the run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/skipped_list.h"
#include "data/statistics.h"
#include "data/transform.h"

namespace swath::data {

struct NormalizationOptions {
  std::vector<int64_t> bands;    // 0-based selection, in the transform's order; empty: all
  int64_t most_samples = 20000;  // a seeded choice of this many; 0: all
  int64_t seed = 0;
  int64_t workers = 0;  // 0: all cores
  bool skip_bad = false;
  std::shared_ptr<SkippedList> skipped;  // where they are listed; none: only in the log

  void describe(FieldTable& fields);
};

// What is known of the selected bands.
struct BandNormalization {
  std::vector<std::string> band_names;  // see band_names_of()
  BandStatistics statistics;
  std::string source;  // the dataset's description

  Normalization normalization() const { return statistics.normalization(); }
};

// Streams whole images through BandStatistics. The result does not depend on the number of threads:
// fixed groups of samples are summed one by one and merged in order. Throws BadSample for an
// unusable image (unless skip_bad), such as one of another band count than most of the first have.
BandNormalization compute_normalization(const Dataset& dataset,
                                        const NormalizationOptions& options);

// {"bands": [names], "source": ..., "statistics": {...}}; load throws Error naming the file.
Json to_json(const BandNormalization& normalization);
BandNormalization band_normalization_from_json(const Json& json, const std::string& origin);
void save_normalization(const BandNormalization& normalization, const std::filesystem::path& path);
BandNormalization load_normalization(const std::filesystem::path& path);

// Names of the `count` bands selected by `bands` (empty: the first ones): the dataset's own, or
// "band_3" where it has none.
std::vector<std::string> band_names_of(const Dataset& dataset, const std::vector<int64_t>& bands,
                                       int64_t count);

}  // namespace swath::data
