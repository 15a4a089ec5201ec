#include "data/clouds/time_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/hash.h"

namespace swath::data::clouds {
namespace {

bool is_inside(int64_t year, const std::vector<int64_t>& years) {
  return year >= years.front() && year <= years.back();
}

void check_years(const std::vector<int64_t>& years, const char* name) {
  if (years.size() == 2 && years[0] <= years[1]) return;
  throw UsageError(fmt::format("labels: {} wants a first and a last year.", name),
                   fmt::format("for example --split.{} '[2018, 2019]'.", name));
}

std::vector<Platform> parse_platforms(const std::vector<std::string>& names) {
  std::vector<Platform> platforms;
  for (const std::string& name : names) {
    const std::optional<Platform> platform = parse_platform(name);
    if (!platform) throw UsageError(fmt::format("labels: `{}` is no platform.", name));
    platforms.push_back(*platform);
  }
  return platforms;
}

bool is_day(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  for (const size_t i : {0, 1, 2, 3, 5, 6, 8, 9}) {
    if (text[i] < '0' || text[i] > '9') return false;
  }
  return true;
}

// The first 52 bits of the SHA-256 as a number in [0, 1).
double share_of(const std::string& text) {
  const std::string hash = sha256_hex(text);
  return std::ldexp(static_cast<double>(std::stoull(hash.substr(0, 13), nullptr, 16)), -52);
}

bool is_among(Platform platform, const std::vector<Platform>& platforms) {
  return platforms.empty() ||
         std::find(platforms.begin(), platforms.end(), platform) != platforms.end();
}

}  // namespace

void TimeSplitOptions::describe(FieldTable& fields) {
  fields.add("by", &by, "what is kept together: years, or hashed days or granules")
      .one_of({"years", "days", "granules"});
  fields
      .add("parts", &parts,
           "which lists to write; train or test where the other part lies in another folder")
      .one_of({"both", "train", "test"});
  fields.add("train_years", &train_years, "first and last year of the training part");
  fields.add("validation_years", &validation_years, "first and last year of the validation part");
  fields.add("test_years", &test_years, "first and last year of the test part");
  fields.add("validation_share", &validation_share, "of days or granules").at_least(0).at_most(1);
  fields.add("test_share", &test_share, "of days or granules").at_least(0).at_most(1);
  fields.add("salt", &salt, "of the hash that gives days or granules to parts");
  fields.add("train_platforms", &train_platforms, "train and validate on these only; empty: both");
  fields.add("test_platforms", &test_platforms, "test on these only; empty: both");
  fields.add("exclude", &exclude, "days left out: platform:first:last, days as yyyy-mm-dd");
}

const char* part_name(Part part) {
  switch (part) {
    case Part::kTrain:
      return "train";
    case Part::kValidation:
      return "validation";
    case Part::kTest:
      return "test";
    case Part::kNone:
      break;
  }
  return "none";
}

TimeSplit::TimeSplit(const TimeSplitOptions& options, const std::vector<ChipPlace>& places)
    : options_(options),
      train_platforms_(parse_platforms(options.train_platforms)),
      test_platforms_(parse_platforms(options.test_platforms)) {
  if (options.by == "years") {
    check_years(options.train_years, "train_years");
    check_years(options.validation_years, "validation_years");
    check_years(options.test_years, "test_years");
    for (int64_t year = 1970; year < 2100; ++year) {
      const int64_t parts = (is_inside(year, options.train_years) ? 1 : 0) +
                            (is_inside(year, options.validation_years) ? 1 : 0) +
                            (is_inside(year, options.test_years) ? 1 : 0);
      if (parts <= 1) continue;
      throw UsageError(fmt::format("labels: the year {} is in two parts of the split.", year),
                       "give train_years, validation_years and test_years that do not overlap.");
    }
  } else if (options.validation_share + options.test_share >= 1) {
    throw UsageError(
        fmt::format("labels: shares of {} for validation and {} for the test leave "
                    "nothing for training.",
                    options.validation_share, options.test_share));
  }
  for (const std::string& text : options.exclude) {
    const size_t colon = text.find(':');
    const std::optional<Platform> platform = parse_platform(text.substr(0, colon));
    const std::string days = colon == std::string::npos ? "" : text.substr(colon + 1);
    if (!platform || days.size() != 21 || days[10] != ':' || !is_day(days.substr(0, 10)) ||
        !is_day(days.substr(11)) || days.substr(0, 10) > days.substr(11)) {
      throw UsageError(fmt::format("labels: `{}` excludes no days.", text),
                       "write platform:first:last, such as aqua:2021-12-10:2021-12-31.");
    }
    exclusions_.push_back({*platform, days.substr(0, 10), days.substr(11)});
  }
  if (options.by != "years" && options.parts == "both") divide_few_groups(places);
}

void TimeSplit::divide_few_groups(const std::vector<ChipPlace>& places) {
  std::set<std::string> groups;
  for (const ChipPlace& place : places) {
    groups.insert(group_of(place.granule));
    if (std::cmp_greater_equal(groups.size(), kFewGroups)) return;
  }
  std::vector<std::pair<double, std::string>> ranked;
  for (const std::string& group : groups) ranked.emplace_back(share_of(group), group);
  std::sort(ranked.begin(), ranked.end());
  const auto count = static_cast<int64_t>(ranked.size());
  // At least one, and one left for each part that is still to come.
  const auto members = [&](double share, int64_t most) {
    if (share == 0) return int64_t{0};
    return std::min(most, std::max<int64_t>(1, std::llround(share * static_cast<double>(count))));
  };
  const int64_t test = members(options_.test_share, count - 1);
  const int64_t validation = members(options_.validation_share, count - test - 1);
  for (int64_t i = 0; i < count; ++i) {
    few_groups_[ranked[static_cast<size_t>(i)].second] = i < test                ? Part::kTest
                                                         : i < test + validation ? Part::kValidation
                                                                                 : Part::kTrain;
  }
}

std::string TimeSplit::group_of(const Granule& granule) const {
  std::string text = fmt::format("{}:{}", options_.salt, granule.day_text());
  if (options_.by == "granules") text += fmt::format("/{:04}", granule.start);
  return text;
}

Part TimeSplit::part_of_year(int64_t year) const {
  if (is_inside(year, options_.train_years)) return Part::kTrain;
  if (is_inside(year, options_.validation_years)) return Part::kValidation;
  return is_inside(year, options_.test_years) ? Part::kTest : Part::kNone;
}

bool TimeSplit::is_boundary_day(const Granule& granule) const {
  if (granule.date % 1000 != 1) return false;
  const int64_t before = granule.year() - 1;
  return part_of_year(before) != Part::kNone &&
         part_of_year(before) != part_of_year(granule.year());
}

Part TimeSplit::part_by_time(const Granule& granule) const {
  if (options_.by == "years") return part_of_year(granule.year());
  const std::string group = group_of(granule);
  if (const auto found = few_groups_.find(group); found != few_groups_.end()) return found->second;
  const double share = share_of(group);
  if (share < options_.test_share) return Part::kTest;
  return share < options_.test_share + options_.validation_share ? Part::kValidation : Part::kTrain;
}

bool TimeSplit::is_held_out(const Granule& granule) const {
  const Part part = part_by_time(granule);
  return part == Part::kValidation || part == Part::kTest;
}

Part TimeSplit::part_of(const Granule& granule) const {
  const std::string day = granule.day_text();
  for (const Exclusion& exclusion : exclusions_) {
    if (granule.platform == exclusion.platform && day >= exclusion.first && day <= exclusion.last) {
      return Part::kNone;
    }
  }
  if (options_.by == "years" && is_boundary_day(granule)) return Part::kNone;
  const Part part = part_by_time(granule);
  if (options_.parts == (part == Part::kTest ? "train" : "test")) return Part::kNone;
  const auto& platforms = part == Part::kTest ? test_platforms_ : train_platforms_;
  return is_among(granule.platform, platforms) ? part : Part::kNone;
}

Json TimeSplit::to_json() const {
  Json json{{"by", options_.by},
            {"parts", options_.parts},
            {"train_platforms", options_.train_platforms},
            {"test_platforms", options_.test_platforms},
            {"exclude", options_.exclude}};
  if (options_.by == "years") {
    json["train_years"] = options_.train_years;
    json["validation_years"] = options_.validation_years;
    json["test_years"] = options_.test_years;
    return json;
  }
  json["validation_share"] = options_.validation_share;
  json["test_share"] = options_.test_share;
  json["salt"] = options_.salt;
  for (const auto& [group, part] : few_groups_) {
    json["groups"][group.substr(options_.salt.size() + 1)] = part_name(part);
  }
  return json;
}

void check_same_split(const Json& train, const Json& test) {
  std::set<std::string> keys;
  for (const Json* split : {&train, &test}) {
    for (const auto& [key, value] : split->items()) keys.insert(key);
  }
  keys.erase("parts");
  for (const std::string& key : keys) {
    const Json of_train = train.value(key, Json());
    const Json of_test = test.value(key, Json());
    if (of_train == of_test) continue;
    if (key == "groups") {
      throw UsageError(
          fmt::format("labels: fewer than {} days or granules were ranked within their own folder, "
                      "so that a day may be on another side of the test's folder.",
                      kFewGroups),
          "make the lists again with --split.parts train for the one folder and --split.parts test "
          "for the other: then the hash alone decides, the same way in both.");
    }
    throw UsageError(
        fmt::format("labels: {} is {} in the split of the training lists and {} in that of the "
                    "test lists.",
                    key, of_train.dump(), of_test.dump()),
        "make both with the same --split settings; only --split.parts may differ.");
  }
}

// Terra and Aqua pass the same weather three hours apart: on a day that both folders have, a test
// chip shows clouds that were learned from, whichever instrument saw them.
void check_no_shared_day(const std::vector<ChipPlace>& train, const std::vector<ChipPlace>& test) {
  std::set<std::string> learned;
  for (const ChipPlace& place : train) learned.insert(place.granule.day_text());
  std::set<std::string> shared;
  for (const ChipPlace& place : test) {
    const std::string day = place.granule.day_text();
    if (learned.contains(day)) shared.insert(day);
  }
  if (shared.empty()) return;
  throw UsageError(
      fmt::format("labels: {} days have training chips in one folder and test chips in "
                  "the other, the first is {}.",
                  shared.size(), *shared.begin()),
      "split both folders with the same settings, by years or by days: granules of a "
      "day share its weather.");
}

}  // namespace swath::data::clouds
