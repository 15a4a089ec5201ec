#include "data/clouds/label_join.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "core/error.h"

namespace swath::data::clouds {
namespace {

constexpr size_t kBins = 10;

using IndicesByGranule = std::map<Granule, std::vector<int64_t>>;

IndicesByGranule by_granule(const std::vector<ChipPlace>& places) {
  IndicesByGranule indices;
  for (size_t i = 0; i < places.size(); ++i) {
    indices[places[i].granule].push_back(static_cast<int64_t>(i));
  }
  return indices;
}

const ChipPlace& at(const std::vector<ChipPlace>& places, int64_t index) {
  return places[static_cast<size_t>(index)];
}

// "Terra from 2012-05-02 to 2012-05-04"
std::string range_text(const std::vector<ChipPlace>& places, const OtherLabels& others = {}) {
  std::map<Platform, std::pair<Granule, Granule>> ranges = others.spans;
  for (const ChipPlace& place : places) {
    auto& range =
        ranges.try_emplace(place.granule.platform, place.granule, place.granule).first->second;
    range.first = std::min(range.first, place.granule);
    range.second = std::max(range.second, place.granule);
  }
  std::vector<std::string> texts;
  for (const auto& [platform, range] : ranges) {
    texts.push_back(fmt::format("{} from {} to {}", platform_name(platform), range.first.day_text(),
                                range.second.day_text()));
  }
  return fmt::format("{}", fmt::join(texts, " and "));
}

class Join {
 public:
  Join(const std::vector<ChipPlace>& chips, const CloudLabels& labels, double limit_km)
      : chips_(chips), labels_(labels), limit_km_(limit_km), taken_(labels.raw.size(), false) {
    result_.label_of_chip.assign(chips.size(), -1);
    result_.distance_km.assign(chips.size(), std::numeric_limits<double>::quiet_NaN());
    result_.limit_km = limit_km;
  }

  JoinResult run(bool by_pixel) {
    result_.by = by_pixel ? "pixel" : "nearest";
    const IndicesByGranule chips = by_granule(chips_);
    IndicesByGranule labels = by_granule(labels_.places);
    result_.labels_without_granule = labels_.others.count;
    for (auto& [granule, of_granule] : labels) {
      drop_duplicates(&of_granule, by_pixel);
      if (!chips.contains(granule)) {
        result_.labels_without_granule += static_cast<int64_t>(of_granule.size());
      }
    }
    for (const auto& [granule, of_granule] : chips) {
      const auto found = labels.find(granule);
      if (found == labels.end()) {
        result_.chips_without_granule += static_cast<int64_t>(of_granule.size());
      } else if (by_pixel) {
        join_by_pixel(of_granule, found->second);
      } else {
        join_nearest(of_granule, found->second);
      }
    }
    const auto num_chips = static_cast<int64_t>(chips_.size());
    result_.chips_too_far = num_chips - result_.matched - result_.chips_without_granule;
    result_.labels_too_far = labels_.size() + labels_.others.count - result_.matched -
                             result_.labels_without_granule - result_.duplicate_labels;
    return std::move(result_);
  }

 private:
  void pair_up(int64_t chip, int64_t label) {
    result_.label_of_chip[static_cast<size_t>(chip)] = label;
    result_.distance_km[static_cast<size_t>(chip)] = distance(chip, label);
    taken_[static_cast<size_t>(label)] = true;
    ++result_.matched;
  }

  double distance(int64_t chip, int64_t label) const {
    const ChipPlace& a = at(chips_, chip);
    const ChipPlace& b = at(labels_.places, label);
    if (!a.has_position() || !b.has_position()) return std::numeric_limits<double>::quiet_NaN();
    return great_circle_km(a.latitude, a.longitude, b.latitude, b.longitude);
  }

  // Leaves one label of each place: files may overlap. Of two that differ one must be wrong.
  void drop_duplicates(std::vector<int64_t>* of_granule, bool by_pixel) {
    std::map<std::pair<double, double>, int64_t> seen;
    std::vector<int64_t> distinct;
    for (const int64_t label : *of_granule) {
      const ChipPlace& place = at(labels_.places, label);
      const std::pair<double, double> key = by_pixel
                                                ? std::pair<double, double>(place.row, place.column)
                                                : std::pair(place.latitude, place.longitude);
      const auto [known, is_new] = seen.emplace(key, label);
      if (is_new) {
        distinct.push_back(label);
        continue;
      }
      const int64_t first = labels_.raw[static_cast<size_t>(known->second)];
      const int64_t second = labels_.raw[static_cast<size_t>(label)];
      if (first != second) {
        throw UsageError(fmt::format("labels: {} has two labels at {} {}, {} {}: {} and {}.",
                                     place.granule.text(), by_pixel ? "row" : "latitude", key.first,
                                     by_pixel ? "column" : "longitude", key.second, first, second),
                         "keep one of the two: a chip has one label.");
      }
      ++result_.duplicate_labels;
    }
    *of_granule = std::move(distinct);
  }

  void join_by_pixel(const std::vector<int64_t>& chips, const std::vector<int64_t>& labels) {
    std::map<std::pair<int32_t, int32_t>, int64_t> label_at;
    for (const int64_t label : labels) {
      const ChipPlace& place = at(labels_.places, label);
      label_at[{place.row, place.column}] = label;
    }
    for (const int64_t chip : chips) {
      const ChipPlace& place = at(chips_, chip);
      const auto found = label_at.find({place.row, place.column});
      if (found == label_at.end()) continue;
      if (taken_[static_cast<size_t>(found->second)]) {
        throw UsageError(fmt::format("labels: two chips are at row {}, column {} of {}.", place.row,
                                     place.column, place.granule.text()),
                         "keep one of the two: a label belongs to one chip.");
      }
      pair_up(chip, found->second);
    }
  }

  void join_nearest(const std::vector<int64_t>& chips, const std::vector<int64_t>& labels) {
    std::vector<std::tuple<double, int64_t, int64_t>> pairs;
    std::map<int64_t, int64_t> labels_within_limit;
    for (const int64_t chip : chips) {
      for (const int64_t label : labels) {
        const double km = distance(chip, label);
        if (!(km <= limit_km_)) continue;
        pairs.emplace_back(km, chip, label);
        ++labels_within_limit[chip];
      }
    }
    std::sort(pairs.begin(), pairs.end());
    for (const auto& [km, chip, label] : pairs) {
      if (result_.label_of_chip[static_cast<size_t>(chip)] >= 0) continue;
      if (taken_[static_cast<size_t>(label)]) continue;
      pair_up(chip, label);
      if (labels_within_limit[chip] > 1) ++result_.ambiguous;
    }
  }

  const std::vector<ChipPlace>& chips_;
  const CloudLabels& labels_;
  double limit_km_;
  std::vector<bool> taken_;
  JoinResult result_;
};

bool all_have_pixels(const std::vector<ChipPlace>& places) {
  return std::all_of(places.begin(), places.end(), [](const auto& p) { return p.has_pixel(); });
}

bool all_have_positions(const std::vector<ChipPlace>& places) {
  return std::all_of(places.begin(), places.end(), [](const auto& p) { return p.has_position(); });
}

}  // namespace

Json JoinResult::to_json() const {
  std::array<int64_t, kBins> counts{};
  int64_t measured = 0;
  double largest = 0;
  for (const double km : distance_km) {
    if (std::isnan(km)) continue;
    const auto bin = static_cast<size_t>(limit_km > 0 ? kBins * km / limit_km : 0);
    ++counts[std::min(bin, kBins - 1)];
    largest = std::max(largest, km);
    ++measured;
  }
  Json json{{"by", by},
            {"matched", matched},
            {"chips_without_granule", chips_without_granule},
            {"chips_too_far", chips_too_far},
            {"labels_without_granule", labels_without_granule},
            {"labels_too_far", labels_too_far},
            {"duplicate_labels", duplicate_labels},
            {"ambiguous", ambiguous}};
  if (measured > 0) {
    Json edges = Json::array();
    for (size_t bin = 0; bin <= kBins; ++bin) {
      edges.push_back(limit_km * static_cast<double>(bin) / kBins);
    }
    json["distances"] = {{"measured", measured},
                         {"largest_km", largest},
                         {"bin_edges_km", std::move(edges)},
                         {"counts", counts}};
  }
  return json;
}

JoinResult join_labels(const std::vector<ChipPlace>& chips, const CloudLabels& labels,
                       const std::string& by, double limit_km) {
  const bool labels_have_pixels = all_have_pixels(labels.places);
  const bool by_pixel = by == "pixel" || (by == "auto" && labels_have_pixels);
  if (by_pixel && (!labels_have_pixels || !all_have_pixels(chips))) {
    throw UsageError(fmt::format("labels: {} do not say at which row and column they lie.",
                                 labels_have_pixels ? "chips" : "labels"),
                     "join them by position with --join nearest.");
  }
  if (!by_pixel && (!all_have_positions(labels.places) || !all_have_positions(chips))) {
    throw UsageError(
        fmt::format("labels: {} have no latitude and longitude.",
                    all_have_positions(labels.places) ? "chips" : "labels"),
        "NetCDF labels have rows and columns: join them with --join pixel. Chips have positions "
        "when they were cut with the granule's geolocation.");
  }
  JoinResult result = Join(chips, labels, limit_km).run(by_pixel);
  if (result.matched == 0) {
    throw UsageError(
        fmt::format("labels: none of {} chips ({}) has a label: there are {} labels ({}).",
                    chips.size(), range_text(chips), labels.size() + labels.others.count,
                    range_text(labels.places, labels.others)),
        "check that platform and dates of chips and labels are the same.");
  }
  return result;
}

}  // namespace swath::data::clouds
