#include "data/clouds/label_chips.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "data/clouds/cloud_labels.h"
#include "data/clouds/label_join.h"
#include "data/clouds/label_map.h"
#include "data/clouds/labelled_chips.h"
#include "data/list_file.h"

namespace swath::data::clouds {
namespace fs = std::filesystem;
namespace {

constexpr std::array<Part, 3> kParts = {Part::kTrain, Part::kValidation, Part::kTest};

// Every chip with what is known of it, by index.
struct Chips {
  std::vector<std::string> names;
  std::vector<ChipPlace> places;
  std::vector<int64_t> classes;  // -1: no label, or a dropped one
  std::vector<Part> parts;       // by time, whether it has a label or not
};

Chips read_chips(const Dataset& dataset, std::vector<ChipPlace> places, const TimeSplit& split) {
  Chips chips;
  chips.places = std::move(places);
  for (int64_t i = 0; i < dataset.size(); ++i) {
    chips.names.push_back(dataset.sample(i).name);
    chips.parts.push_back(split.part_of(chips.places[static_cast<size_t>(i)].granule));
  }
  chips.classes.assign(chips.names.size(), -1);
  return chips;
}

std::map<int64_t, int64_t> count_raw(const CloudLabels& labels) {
  std::map<int64_t, int64_t> counts = labels.others.raw;
  for (const int64_t raw : labels.raw) ++counts[raw];
  return counts;
}

// All raw values are looked up before anything is joined, so that the message names every one that
// the map lacks.
void check_map(const LabelMap& map, const std::map<int64_t, int64_t>& counts) {
  std::string unmapped;
  for (const auto& [raw, count] : counts) {
    if (!map.knows(raw))
      unmapped += fmt::format("{}{} ({} labels)", unmapped.empty() ? "" : ", ", raw, count);
  }
  if (unmapped.empty()) return;
  throw UsageError(fmt::format("labels: the map does not know the raw values {}.", unmapped),
                   "say in the map what they stand for, a class or `drop`; label_map in "
                   "docs/clouds.md shows how.");
}

class ListWriter {
 public:
  ListWriter(const Chips& chips, const std::vector<std::string>& class_names, fs::path directory)
      : chips_(chips), class_names_(class_names), directory_(std::move(directory)) {}

  void write(const std::string& file, const std::vector<int64_t>& indices, Json entry) {
    ListFile list;
    list.class_names = class_names_;
    std::vector<int64_t> per_class(class_names_.size(), 0);
    for (const int64_t i : indices) {
      const auto at = static_cast<size_t>(i);
      list.names.add(chips_.names[at], chips_.classes[at]);
      ++per_class[static_cast<size_t>(chips_.classes[at])];
    }
    entry["per_class"] = per_class;
    put(file, list, std::move(entry));
  }

  void write_names(const std::string& file, const std::vector<int64_t>& indices, Json entry) {
    ListFile list;
    for (const int64_t i : indices) list.names.add(chips_.names[static_cast<size_t>(i)]);
    put(file, list, std::move(entry));
  }

  Json take() { return std::move(entries_); }

 private:
  void put(const std::string& file, const ListFile& list, Json entry) {
    const std::string text = list_file_text(list);
    write_file_atomically(directory_ / file, text);
    entry["file"] = file;
    entry["images"] = list.names.size();
    entry["sha256"] = sha256_hex(text);
    entries_.push_back(std::move(entry));
  }

  const Chips& chips_;
  const std::vector<std::string>& class_names_;
  fs::path directory_;
  Json entries_ = Json::array();
};

std::vector<int64_t> labelled_of(const Chips& chips, Part part) {
  std::vector<int64_t> indices;
  for (size_t i = 0; i < chips.names.size(); ++i) {
    if (chips.parts[i] == part && chips.classes[i] >= 0) {
      indices.push_back(static_cast<int64_t>(i));
    }
  }
  return indices;
}

Json describe_part(const Chips& chips, const std::vector<int64_t>& indices) {
  std::set<Granule> granules;
  std::set<std::string> days;
  std::map<std::string, int64_t> platforms;
  for (const int64_t i : indices) {
    const Granule& granule = chips.places[static_cast<size_t>(i)].granule;
    granules.insert(granule);
    days.insert(granule.day_text());
    ++platforms[platform_name(granule.platform)];
  }
  Json json{{"chips", indices.size()},
            {"granules", granules.size()},
            {"days", days.size()},
            {"platforms", platforms}};
  if (!days.empty()) json["time"] = {*days.begin(), *days.rbegin()};
  return json;
}

LabelledChips describe_chips(const Chips& chips, const CloudLabels& labels, const JoinResult& join,
                             const std::vector<std::string>& class_names) {
  LabelledChips described;
  described.property_names = labels.property_names;
  for (size_t i = 0; i < chips.names.size(); ++i) {
    if (chips.classes[i] < 0) continue;
    described.chips.push_back({chips.names[i], class_names[static_cast<size_t>(chips.classes[i])],
                               part_name(chips.parts[i]), chips.places[i]});
    const std::span<const double> row = labels.properties_of(join.label_of_chip[i]);
    described.properties.insert(described.properties.end(), row.begin(), row.end());
  }
  return described;
}

// What to do where no labelled chip is in a part.
std::string hint_for_empty(const TimeSplitOptions& split, Part part) {
  std::string hint;
  const auto& platforms = part == Part::kTest ? split.test_platforms : split.train_platforms;
  if (split.by == "years") {
    hint = "choose other years, or split sets of less than some years with --split.by days";
  } else {
    if (!platforms.empty()) {
      hint = fmt::format(
          "{} go to parts by their time alone, whatever the platform: none of {} with a label came "
          "to this part; ",
          split.by, fmt::join(platforms, " or "));
    }
    if (split.by == "granules") hint += "take --split.by days, or ";
    hint += "another --split.salt or larger shares";
  }
  return hint + (split.parts == "both" ? "; where the other part lies in another folder, say which "
                                         "is here with --split.parts."
                                       : ", the same for both folders.");
}

void check_parts(const std::map<Part, std::vector<int64_t>>& members, const Json& parts,
                 const TimeSplitOptions& split) {
  for (const Part part : {Part::kTrain, Part::kTest}) {
    const bool is_wanted = split.parts == "both" || split.parts == part_name(part);
    if (!is_wanted || !members.at(part).empty()) continue;
    throw UsageError(fmt::format("labels: no labelled chip is in the {} part: {}.", part_name(part),
                                 parts.dump()),
                     hint_for_empty(split, part));
  }
}

// Lists of other shares would stay beside the new ones, and belong to another split.
void remove_old_lists(const fs::path& directory) {
  const fs::path labels = directory / kLabelsFile;
  if (!fs::exists(labels)) return;
  const Json old = Json::parse(read_file(labels), nullptr, /*allow_exceptions=*/false);
  fs::remove(labels);
  if (!old.is_object()) return;
  for (const Json& list : old.value("lists", Json::array())) {
    const fs::path file = list.value("file", "");
    if (!file.empty() && file == file.filename()) fs::remove(directory / file);
  }
}

void check_options(const LabelOptions& options) {
  if (options.output.empty()) {
    throw UsageError("labels: no output is named.", "name a directory with --output.");
  }
  if (options.labels.empty()) {
    throw UsageError("labels: no labels are named.", "name their folder or file with --labels.");
  }
  if (options.fractions.empty()) throw UsageError("labels: fractions is empty.");
  for (const double fraction : options.fractions) {
    if (fraction > 0 && fraction <= 1) continue;
    throw UsageError(fmt::format("labels: {} is no fraction of the labels.", fraction),
                     "fractions lie above 0 and up to 1, such as '[0.01, 0.1, 1]'.");
  }
  if (fs::exists(fs::path(options.output) / kLabelsFile) && !options.overwrite) {
    throw UsageError(fmt::format("labels: {} holds lists already.", options.output),
                     "name another --output, or replace them with --overwrite.");
  }
}

}  // namespace

void LabelOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.add("labels", &labels, "folder or file of labels: NetCDF per granule, or CSV tables");
  fields.add("label_map", &label_map,
             "CSV `raw,class`: what each raw number stands for; empty: label_map.csv beside the "
             "labels, else the one for this form");
  fields
      .add("join", &join,
           "pixel: same granule, row and column; nearest: same granule, nearest centre; auto: "
           "pixel where the labels have rows and columns")
      .one_of({"auto", "pixel", "nearest"});
  fields.add("limit_km", &limit_km, "nearest: centres are at most so far apart").at_least(0);
  fields.section("split", split);
  fields.add("fractions", &fractions, "shares of the training labels that get lists of their own");
  fields.add("draws", &draws, "lists of each share below 1").at_least(1);
  fields.add("output", &output, "directory for the lists");
}

std::vector<int64_t> draw_fraction(const std::vector<int64_t>& indices,
                                   const std::vector<std::string>& names,
                                   const std::vector<int64_t>& classes,
                                   const std::vector<std::string>& class_names, double fraction,
                                   int64_t draw) {
  std::map<int64_t, std::vector<std::pair<std::string, int64_t>>> ranked;
  for (const int64_t i : indices) {
    const auto at = static_cast<size_t>(i);
    const std::string& class_name = class_names[static_cast<size_t>(classes[at])];
    ranked[classes[at]].emplace_back(
        sha256_hex(fmt::format("{}:{}/{}", draw, class_name, names[at])), i);
  }
  std::set<int64_t> chosen;
  for (auto& [label, members] : ranked) {
    std::sort(members.begin(), members.end());
    const auto wanted =
        std::max<int64_t>(1, std::llround(fraction * static_cast<double>(members.size())));
    for (int64_t k = 0; k < wanted; ++k) chosen.insert(members[static_cast<size_t>(k)].second);
  }
  std::vector<int64_t> drawn;
  for (const int64_t i : indices) {
    if (chosen.contains(i)) drawn.push_back(i);
  }
  return drawn;
}

Json label_chips(const LabelOptions& options) {
  // 1. What there is.
  check_options(options);
  const std::unique_ptr<Dataset> dataset = open_dataset(options.data);
  std::vector<ChipPlace> places = chip_places(*dataset);
  const TimeSplit split(options.split, places);
  std::set<Granule> granules;
  for (const ChipPlace& place : places) granules.insert(place.granule);
  const CloudLabels labels = read_cloud_labels(options.labels, &granules);
  const LabelMap map = read_label_map(options.label_map, options.labels, labels.form);
  const std::map<int64_t, int64_t> raw_counts = count_raw(labels);
  for (const auto& [raw, count] : raw_counts) {
    const bool is_kept = map.knows(raw) && map.class_of(raw) >= 0;
    log_info(fmt::format("labels: raw {}: {} labels, {}.", raw, count,
                         is_kept ? map.class_names()[static_cast<size_t>(map.class_of(raw))]
                         : map.knows(raw) ? std::string("dropped")
                                          : std::string("not in the map")));
  }
  check_map(map, raw_counts);
  if (!labels.derived.empty()) {
    log_warning(
        fmt::format("labels: derived from known fields ({}): good to try the pipeline, no "
                    "finding about clouds.",
                    labels.derived));
  }

  // 2. Which chip has which class, and on which side of the split it is.
  Chips chips = read_chips(*dataset, std::move(places), split);
  const JoinResult join = join_labels(chips.places, labels, options.join, options.limit_km);
  int64_t dropped = 0;
  for (size_t i = 0; i < chips.names.size(); ++i) {
    if (join.label_of_chip[i] < 0) continue;
    chips.classes[i] = map.class_of(labels.raw[static_cast<size_t>(join.label_of_chip[i])]);
    if (chips.classes[i] == LabelMap::kDrop) ++dropped;
  }
  Json parts = Json::object();
  std::map<Part, std::vector<int64_t>> members;
  for (const Part part : kParts) {
    members[part] = labelled_of(chips, part);
    parts[part_name(part)] = describe_part(chips, members[part]);
  }
  parts["none"] = describe_part(chips, labelled_of(chips, Part::kNone));
  check_parts(members, parts, options.split);

  // 3. The lists.
  const fs::path directory = options.output;
  remove_old_lists(directory);
  fs::create_directories(directory);
  ListWriter writer(chips, map.class_names(), directory);
  for (const Part part : kParts) {
    if (members[part].empty()) continue;
    writer.write(fmt::format("{}.txt", part_name(part)), members[part],
                 {{"part", part_name(part)}, {"fraction", 1.0}, {"draw", 0}});
  }
  for (const double fraction : options.fractions) {
    if (members[Part::kTrain].empty() || fraction == 1) continue;
    for (int64_t draw = 0; draw < options.draws; ++draw) {
      writer.write(fmt::format("train_{}_{}.txt", fraction, draw),
                   draw_fraction(members[Part::kTrain], chips.names, chips.classes,
                                 map.class_names(), fraction, draw),
                   {{"part", "train_fraction"}, {"fraction", fraction}, {"draw", draw}});
    }
  }
  std::vector<int64_t> held_out;
  for (size_t i = 0; i < chips.names.size(); ++i) {
    if (split.is_held_out(chips.places[i].granule)) {
      held_out.push_back(static_cast<int64_t>(i));
    }
  }
  if (!held_out.empty()) writer.write_names("held_out.txt", held_out, {{"part", "held_out"}});
  write_file_atomically(
      directory / kLabelledChipsFile,
      labelled_chips_text(describe_chips(chips, labels, join, map.class_names())));
  write_file_atomically(directory / kLabelMapFile, map.text());

  // 4. What was done.
  Json raw_json = Json::object();
  for (const auto& [raw, count] : raw_counts) raw_json[fmt::format("{}", raw)] = count;
  Json result{{"form", labels.form},
              {"derived", labels.derived},
              {"chips", chips.names.size()},
              {"labels", labels.size() + labels.others.count},
              {"raw_counts", std::move(raw_json)},
              {"dropped", dropped},
              {"join", join.to_json()},
              {"classes", map.class_names()},
              {"parts", std::move(parts)},
              {"split", split.to_json()},
              {"fractions", options.fractions},
              {"draws", options.draws},
              {"lists", writer.take()}};
  write_file_atomically(directory / kLabelsFile, result.dump(1));
  result["output"] = options.output;
  return result;
}

}  // namespace swath::data::clouds
