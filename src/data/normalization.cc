#include "data/normalization.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "data/parallel.h"

namespace swath::data {
namespace {

// Samples that are summed one after the other; the sum of doubles depends on the order, so the
// groups must not depend on the number of threads.
constexpr int64_t kGroup = 64;
// Enough to outvote a stray image.
constexpr int64_t kVoters = 16;

// The band count that most of the first readable samples have, the first of them where none leads;
// 0: none is readable.
int64_t usual_bands(const Dataset& dataset, const std::function<int64_t(int64_t)>& index_of,
                    int64_t count) {
  std::map<int64_t, int64_t> votes;
  int64_t usual = 0;
  int64_t voters = 0;
  std::vector<std::byte> scratch;
  for (int64_t i = 0; i < count && voters < kVoters; ++i) {
    try {
      const int64_t bands = read_image_info(dataset.source(index_of(i), &scratch)).bands;
      ++voters;
      if (++votes[bands] > votes[usual]) usual = bands;
    } catch (const BadSample&) {
      continue;  // the reason is found again, and reported, with all others
    }
  }
  return usual;
}

}  // namespace

void NormalizationOptions::describe(FieldTable& fields) {
  fields.add("bands", &bands, "0-based bands; empty: all");
  fields.add("most_samples", &most_samples, "samples looked at, a seeded choice; 0: all")
      .at_least(0);
  fields.add("seed", &seed, "of that choice").at_least(0);
  fields.add("workers", &workers, "threads; 0: all cores").at_least(0);
  fields.add("skip_bad", &skip_bad, "leave out unusable samples");
}

BandNormalization compute_normalization(const Dataset& dataset,
                                        const NormalizationOptions& options) {
  const int64_t size = dataset.size();
  if (size == 0) throw UsageError(fmt::format("{} is empty.", dataset.description()));
  const int64_t count = options.most_samples == 0 ? size : std::min(size, options.most_samples);
  const Permutation order(static_cast<uint64_t>(size), static_cast<uint64_t>(options.seed), 0);
  const int64_t groups = (count + kGroup - 1) / kGroup;
  std::vector<BandStatistics> of_group(static_cast<size_t>(groups));
  const auto index_of = [&](int64_t i) {
    return count == size ? i : static_cast<int64_t>(order(static_cast<uint64_t>(i)));
  };
  const int64_t usual = options.bands.empty() ? usual_bands(dataset, index_of, count) : 0;
  const auto skipped = options.skipped ? options.skipped : std::make_shared<SkippedList>();
  DecodeOptions decode;
  decode.bands = options.bands;
  parallel_for(
      groups, options.workers,
      [&](int64_t group) {
        std::vector<std::byte> scratch;
        Image image;
        for (int64_t i = group * kGroup; i < std::min(count, (group + 1) * kGroup); ++i) {
          const int64_t index = index_of(i);
          try {
            const ImageSource source = dataset.source(index, &scratch);
            ImageReader reader(source);
            if (usual != 0 && reader.info().bands != usual) {
              throw BadSample(fmt::format("{}: has {} bands, most images have {}.", source.name,
                                          reader.info().bands, usual),
                              "select bands that all images have, or leave others out with "
                              "`--skip-bad`.");
            }
            of_group[static_cast<size_t>(group)].add(reader, decode, source.name, &image);
          } catch (const BadSample& error) {
            if (!options.skip_bad) throw;
            skipped->add(dataset.sample(index).name, error.message());
          }
        }
      },
      "band statistics, groups of 64");
  BandNormalization result;
  for (const BandStatistics& statistics : of_group) result.statistics.merge(statistics);
  if (result.statistics.images() == 0) {
    throw Error(fmt::format("none of {} samples of {} is usable.", count, dataset.description()),
                "list what is wrong with `swath data verify`.");
  }
  result.band_names = band_names_of(dataset, options.bands, result.statistics.bands());
  result.source = dataset.description();
  return result;
}

std::vector<std::string> band_names_of(const Dataset& dataset, const std::vector<int64_t>& bands,
                                       int64_t count) {
  const std::vector<std::string> known = dataset.band_names();
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t band = bands.empty() ? i : bands.at(static_cast<size_t>(i));
    const bool is_named = std::cmp_less(band, known.size());
    names.push_back(is_named ? known[static_cast<size_t>(band)] : fmt::format("band_{}", band));
  }
  return names;
}

Json to_json(const BandNormalization& normalization) {
  return {{"bands", normalization.band_names},
          {"source", normalization.source},
          {"statistics", normalization.statistics.to_json()}};
}

BandNormalization band_normalization_from_json(const Json& json, const std::string& origin) {
  if (!json.is_object() || !json.contains("bands") || !json.contains("statistics")) {
    throw Error(fmt::format("{} holds no normalisation.", origin),
                "compute it again with `swath data inspect`.");
  }
  BandNormalization normalization;
  normalization.band_names = json["bands"].get<std::vector<std::string>>();
  normalization.source = json.value("source", "");
  normalization.statistics = BandStatistics::from_json(json["statistics"], origin);
  if (std::cmp_not_equal(normalization.band_names.size(), normalization.statistics.bands())) {
    throw Error(fmt::format("{} names {} bands and has statistics of {}.", origin,
                            normalization.band_names.size(), normalization.statistics.bands()));
  }
  return normalization;
}

void save_normalization(const BandNormalization& normalization, const std::filesystem::path& path) {
  write_file_atomically(
      path, to_json(normalization).dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

BandNormalization load_normalization(const std::filesystem::path& path) {
  return band_normalization_from_json(Json::parse(read_file(path), nullptr, false), path.string());
}

}  // namespace swath::data
