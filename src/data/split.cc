#include "data/split.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "data/geolocation.h"
#include "data/list_file.h"
#include "data/location_split.h"
#include "data/parallel.h"

namespace swath::data {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFormat = "swath-split";
constexpr const char* kContentsName = "contents.sha256";
constexpr const char* kProbeImagesName = "probe_images.txt";
constexpr int64_t kMillionAidImages = 10'000;  // labelled ones: the set's own training part
constexpr size_t kMostListed = 100;

struct Sides {
  std::vector<int64_t> train;
  std::vector<int64_t> test;
  int64_t in_margin = 0;  // left out
};

SplitOptions with_preset(SplitOptions options) {
  const SplitOptions plain;
  if (!options.preset.empty() && (options.train_ratio != plain.train_ratio ||
                                  options.train_per_class != plain.train_per_class ||
                                  options.train_total != plain.train_total)) {
    throw UsageError(
        fmt::format("split: the preset {} sets the share for training, and train_ratio, "
                    "train_per_class or train_total sets it as well.",
                    options.preset),
        "leave out --preset, or the numbers.");
  }
  if (options.preset == "ucm") {
    options.train_ratio = 0.5;
  } else if (options.preset == "aid") {
    options.train_ratio = 0.2;
  } else if (options.preset == "nwpu") {
    options.train_ratio = 0.1;
  } else if (options.preset == "millionaid") {
    options.train_total = 1000;
  } else if (!options.preset.empty()) {
    throw UsageError(fmt::format("no split preset `{}`.", options.preset),
                     "use ucm, aid, nwpu or millionaid, or give --train_ratio.");
  }
  return options;
}

// "55" for half and half, "28" for 20 %; "1000" for a count; the percentage where tenths do not do.
std::string ratio_tag(const SplitOptions& options) {
  if (options.by == "location") return "location";
  if (options.train_total > 0) return fmt::format("{}", options.train_total);
  if (options.train_per_class > 0) return fmt::format("{}", options.train_per_class);
  const double tenths = options.train_ratio * 10;
  if (std::abs(tenths - std::round(tenths)) < 1e-9) {
    return fmt::format("{}{}", std::llround(tenths), 10 - std::llround(tenths));
  }
  return fmt::format("{:g}p", options.train_ratio * 100);
}

// The text that is hashed, after "<seed>:". Where the images lie (all in one folder, or train and
// test folders above the classes) does not change it.
std::string hashed_name(const std::string& name, const std::string& class_name) {
  if (name.starts_with(class_name + "/")) return name;
  return class_name + "/" + name.substr(name.rfind('/') + 1);
}

std::vector<int64_t> rank(const Dataset& dataset, const std::vector<int64_t>& samples,
                          const std::string& seed_text) {
  const std::vector<std::string>& classes = dataset.class_names();
  std::vector<std::pair<std::string, int64_t>> ranked;
  ranked.reserve(samples.size());
  for (const int64_t index : samples) {
    const Sample sample = dataset.sample(index);
    const std::string text =
        hashed_name(sample.name, classes.at(static_cast<size_t>(sample.label)));
    ranked.emplace_back(sha256_hex(fmt::format("{}:{}", seed_text, text)), index);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<int64_t> order;
  order.reserve(ranked.size());
  for (const auto& [hash, index] : ranked) order.push_back(index);
  return order;
}

std::vector<std::vector<int64_t>> samples_by_class(const Dataset& dataset) {
  std::vector<std::vector<int64_t>> by_class(dataset.class_names().size());
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const int64_t label = dataset.sample(i).label;
    if (label < 0 || std::cmp_greater_equal(label, by_class.size())) {
      throw UsageError(fmt::format("split: {} of {} has no class.", dataset.sample(i).name,
                                   dataset.description()));
    }
    by_class[static_cast<size_t>(label)].push_back(i);
  }
  return by_class;
}

Sides split_by_class(const Dataset& dataset, const SplitOptions& options, int64_t seed) {
  const auto by_class = samples_by_class(dataset);
  const std::string seed_text = fmt::format("{}", seed);
  Sides sides;
  if (options.train_total > 0) {
    if (options.train_total >= dataset.size()) {
      throw UsageError(fmt::format("split: {} training images of {} leave none for the test.",
                                   options.train_total, dataset.size()),
                       "give the list of all labelled images, or lower --train_total.");
    }
    std::vector<int64_t> all(static_cast<size_t>(dataset.size()));
    for (int64_t i = 0; i < dataset.size(); ++i) all[static_cast<size_t>(i)] = i;
    const std::vector<int64_t> order = rank(dataset, all, seed_text);
    sides.train.assign(order.begin(), order.begin() + options.train_total);
    sides.test.assign(order.begin() + options.train_total, order.end());
    return sides;
  }
  for (size_t c = 0; c < by_class.size(); ++c) {
    const auto count = static_cast<int64_t>(by_class[c].size());
    const int64_t train = options.train_per_class > 0
                              ? options.train_per_class
                              : std::llround(options.train_ratio * static_cast<double>(count));
    if (train < 1 || train >= count) {
      throw UsageError(
          fmt::format("split: class {} has {} images, too few: {} would be for training and {} for "
                      "the test.",
                      dataset.class_names()[c], count, train, std::max<int64_t>(0, count - train)),
          "add images to the class, remove its folder, or change --train_ratio or "
          "--train_per_class.");
    }
    const std::vector<int64_t> order = rank(dataset, by_class[c], seed_text);
    sides.train.insert(sides.train.end(), order.begin(), order.begin() + train);
    sides.test.insert(sides.test.end(), order.begin() + train, order.end());
  }
  return sides;
}

using Places = std::vector<std::array<double, 2>>;  // longitude, latitude of each sample

Places places_of(const Dataset& dataset, int64_t workers) {
  Places places(static_cast<size_t>(dataset.size()));
  parallel_for(dataset.size(), workers, [&](int64_t i) {
    const auto place = longitude_latitude_of(dataset, i);
    if (!place) {
      throw UsageError(
          fmt::format("split: {} has no coordinates, so it cannot be split by location.",
                      dataset.sample(i).name),
          "use georeferenced images or records with coordinates, or --by class.");
    }
    places[static_cast<size_t>(i)] = *place;
  });
  return places;
}

Sides split_by_location(const Dataset& dataset, const Places& places, const SplitOptions& options,
                        int64_t seed) {
  const BlockGrid grid(options.block_degrees);
  const size_t classes = std::max<size_t>(1, dataset.class_names().size());
  BlockHistogram blocks;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const Sample sample = dataset.sample(i);
    const auto [longitude, latitude] = places[static_cast<size_t>(i)];
    auto& histogram = blocks[grid.block_of(longitude, latitude)];
    histogram.resize(classes);
    ++histogram[static_cast<size_t>(std::max<int64_t>(0, sample.label))];
  }
  const std::set<BlockKey> test_blocks =
      choose_test_blocks(blocks, 1 - options.train_ratio, static_cast<uint64_t>(seed));
  Sides sides;
  std::vector<int64_t> train_count(classes, 0);
  std::vector<int64_t> test_count(classes, 0);
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const Sample sample = dataset.sample(i);
    const auto [longitude, latitude] = places[static_cast<size_t>(i)];
    const auto label = static_cast<size_t>(std::max<int64_t>(0, sample.label));
    if (test_blocks.contains(grid.block_of(longitude, latitude))) {
      sides.test.push_back(i);
      ++test_count[label];
    } else if (grid.is_near(test_blocks, longitude, latitude, options.margin_degrees)) {
      ++sides.in_margin;
    } else {
      sides.train.push_back(i);
      ++train_count[label];
    }
  }
  for (size_t c = 0; c < classes; ++c) {
    if (train_count[c] > 0 && test_count[c] > 0) continue;
    const std::string name = dataset.class_names().empty() ? "(none)" : dataset.class_names()[c];
    throw UsageError(fmt::format("split: class {} lies in too few places: {} train and {} test "
                                 "samples with blocks of {} degrees (seed {}).",
                                 name, train_count[c], test_count[c], options.block_degrees, seed),
                     "use smaller --block_degrees, a smaller --margin_degrees, or another seed.");
  }
  return sides;
}

ListFile list_of(const Dataset& dataset, std::vector<int64_t> indices) {
  std::sort(indices.begin(), indices.end());  // readable, and independent of the hash order
  ListFile list;
  list.class_names = dataset.class_names();
  for (const int64_t index : indices) {
    const Sample sample = dataset.sample(index);
    list.names.add(sample.name, list.class_names.empty() ? -1 : sample.label);
  }
  return list;
}

Json counts_per_class(const ListFile& list) {
  Json counts = Json::object();
  std::vector<int64_t> count(list.class_names.size(), 0);
  for (int64_t i = 0; i < list.names.size(); ++i) {
    if (list.names.label(i) >= 0) ++count[static_cast<size_t>(list.names.label(i))];
  }
  for (size_t c = 0; c < count.size(); ++c) counts[list.class_names[c]] = count[c];
  return counts;
}

// Pairs of different samples with equal bytes, as lists of indices.
std::vector<std::vector<int64_t>> groups_of_duplicates(const std::vector<std::string>& hashes) {
  std::unordered_map<std::string_view, std::vector<int64_t>> by_hash;
  for (size_t i = 0; i < hashes.size(); ++i) by_hash[hashes[i]].push_back(static_cast<int64_t>(i));
  std::vector<std::vector<int64_t>> groups;
  for (auto& [hash, indices] : by_hash) {
    if (indices.size() > 1) groups.push_back(std::move(indices));
  }
  std::sort(groups.begin(), groups.end());
  return groups;
}

// The first pair of equal samples with one in train and one in test.
std::optional<std::pair<int64_t, int64_t>> duplicate_across(
    const std::vector<std::vector<int64_t>>& groups, const std::unordered_set<int64_t>& train,
    const std::unordered_set<int64_t>& test) {
  for (const std::vector<int64_t>& group : groups) {
    for (const int64_t a : group) {
      for (const int64_t b : group) {
        if (train.contains(a) && test.contains(b)) return std::pair{a, b};
      }
    }
  }
  return std::nullopt;
}

std::string contents_text(const Dataset& dataset, const std::vector<std::string>& hashes) {
  std::string text;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    text += fmt::format("{}  {}\n", hashes[static_cast<size_t>(i)], dataset.sample(i).name);
  }
  return text;
}

std::unordered_map<std::string, std::string> parse_contents(const std::string& text) {
  std::unordered_map<std::string, std::string> hashes;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (line.size() > 66) hashes.emplace(line.substr(66), line.substr(0, 64));
    if (end == std::string::npos) break;
    begin = end + 1;
  }
  return hashes;
}

Json read_split_json(const fs::path& directory) {
  const fs::path path = directory / "split.json";
  if (!fs::exists(path)) {
    throw UsageError(fmt::format("{} is not a split: it has no split.json.", directory.string()),
                     "make one with `swath data split`.");
  }
  Json split = Json::parse(read_file(path), nullptr, false);
  if (!split.is_object() || split.value("format", "") != kFormat || !split.contains("lists") ||
      !split.contains("contents")) {
    throw UsageError(fmt::format("{} is damaged or of another program.", path.string()),
                     "make the split again with `swath data split`.");
  }
  return split;
}

// Throws unless `directory/file` has the stored SHA-256; returns its text.
std::string read_stored(const fs::path& directory, const Json& entry) {
  const fs::path path = directory / entry.at("file").get<std::string>();
  if (!fs::exists(path)) {
    throw UsageError(fmt::format("{} is missing from the split.", path.string()),
                     "restore it, or make the split again with `swath data split`.");
  }
  std::string text = read_file(path);
  const std::string found = sha256_hex(text);
  const auto expected = entry.at("sha256").get<std::string>();
  if (found != expected) {
    throw UsageError(fmt::format("{} was changed after the split: its SHA-256 is {}, split.json "
                                 "says {}.",
                                 path.string(), found, expected),
                     "restore it, or make the split again with `swath data split`.");
  }
  return text;
}

void refuse_changed(const std::string& name, const fs::path& directory, const std::string& found,
                    const std::string& stored) {
  if (found == stored) return;
  throw UsageError(fmt::format("{} was changed after the split {}: its SHA-256 is {}, "
                               "contents.sha256 says {}.",
                               name, directory.string(), found, stored),
                   "restore the file, or make the split of these data again with `swath data split "
                   "--overwrite`.");
}

bool names_list(const Json& split, const std::string& file) {
  const auto& lists = split["lists"];
  return std::any_of(lists.begin(), lists.end(), [&](const Json& entry) {
    return entry.at("file").get<std::string>() == file;
  });
}

}  // namespace

void SplitOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.add("output", &output, "directory for the lists");
  fields.add("preset", &preset, "ucm, aid, nwpu or millionaid: the splits of the papers")
      .one_of({"", "ucm", "aid", "nwpu", "millionaid"});
  fields.add("by", &by, "class: stratified; location: whole blocks of the Earth")
      .one_of({"class", "location"});
  fields.add("train_ratio", &train_ratio, "share of each class for training")
      .at_least(0.0)
      .at_most(1.0);
  fields.add("train_per_class", &train_per_class, "images per class for training; 0: by ratio")
      .at_least(0);
  fields
      .add("train_total", &train_total,
           "training images over all classes, not stratified; 0: by ratio")
      .at_least(0);
  fields.add("first_seed", &first_seed, "seed of the first repeat").at_least(0);
  fields.add("repeats", &repeats, "splits with rising seeds").at_least(1).at_most(1000);
  fields.add("duplicates", &duplicates, "exact duplicates across train and test")
      .one_of({"report", "refuse"});
  fields.add("block_degrees", &block_degrees, "by location: side of a block")
      .at_least(0.0)
      .at_most(180);
  fields
      .add("margin_degrees", &margin_degrees,
           "by location: train samples closer than this to a test block are left out")
      .at_least(0.0)
      .at_most(90);
  fields.add("workers", &workers, "threads that read and hash; 0: all cores").at_least(0);
  fields.add("overwrite", &overwrite, "replace a split that is there already");
}

std::vector<std::string> content_hashes(const Dataset& dataset, int64_t workers) {
  std::vector<std::string> hashes(static_cast<size_t>(dataset.size()));
  parallel_for(
      dataset.size(), workers,
      [&](int64_t i) {
        std::vector<std::byte> scratch;
        const ImageSource source = dataset.source(i, &scratch);
        const std::string_view bytes(reinterpret_cast<const char*>(source.bytes.data()),
                                     source.bytes.size());
        hashes[static_cast<size_t>(i)] =
            source.bytes.empty() ? sha256_hex_of_file(source.path) : sha256_hex(bytes);
      },
      "hash");
  return hashes;
}

std::vector<int64_t> rank_class(const Dataset& dataset, const std::vector<int64_t>& samples,
                                const std::string& seed_text) {
  return rank(dataset, samples, seed_text);
}

Json make_split(const SplitOptions& requested) {
  const SplitOptions options = with_preset(requested);
  if (options.output.empty()) {
    throw UsageError("split: no output directory.", "give one with --output DIRECTORY.");
  }
  const std::unique_ptr<Dataset> dataset = open_dataset(options.data);
  if (dataset->class_names().empty() && options.by == "class") {
    throw UsageError(fmt::format("split: {} has no classes.", dataset->description()),
                     "use one folder per class, a list `name class index`, or --by location.");
  }
  const bool is_millionaid = options.preset == "millionaid";
  if (is_millionaid && dataset->size() != kMillionAidImages) {
    throw UsageError(
        fmt::format("split: the preset millionaid is for the set's {} labelled images, {} has {}.",
                    kMillionAidImages, dataset->description(), dataset->size()),
        "give the folder or list of those; --train_total 1000 splits another set.");
  }
  const fs::path directory(options.output);
  if (fs::exists(directory / "split.json") && !options.overwrite) {
    throw UsageError(fmt::format("output {} already holds a split.", directory.string()),
                     "choose another output, or replace it with --overwrite.");
  }
  const std::vector<std::string> hashes = content_hashes(*dataset, options.workers);
  const auto duplicates = groups_of_duplicates(hashes);
  const Places places = options.by == "location" ? places_of(*dataset, options.workers) : Places();

  // Everything is computed before anything is written.
  std::map<std::string, std::string> texts;
  Json lists = Json::array();
  int64_t crossing = 0;
  Json first_counts;
  std::set<int64_t> probed;
  const std::string tag = ratio_tag(options);
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    const int64_t seed = options.first_seed + repeat;
    const Sides sides = options.by == "location"
                            ? split_by_location(*dataset, places, options, seed)
                            : split_by_class(*dataset, options, seed);
    const std::unordered_set<int64_t> train(sides.train.begin(), sides.train.end());
    const std::unordered_set<int64_t> test(sides.test.begin(), sides.test.end());
    if (const auto pair = duplicate_across(duplicates, train, test)) {
      const std::string message =
          fmt::format("split: {} (train) and {} (test) have the same bytes (seed {}).",
                      dataset->sample(pair->first).name, dataset->sample(pair->second).name, seed);
      if (options.duplicates == "refuse") {
        throw UsageError(message, "remove one of the two, or keep both with --duplicates=report.");
      }
      log_warning(message);
      ++crossing;
    }
    const ListFile train_list = list_of(*dataset, sides.train);
    const ListFile test_list = list_of(*dataset, sides.test);
    for (const auto& [part, list] :
         {std::pair{"train", &train_list}, std::pair{"valid", &test_list}}) {
      const std::string file = fmt::format("{}_labels_{}_{}.txt", part, tag, seed);
      const std::string text = list_file_text(*list);
      lists.push_back({{"file", file},
                       {"part", part == std::string_view("train") ? "train" : "test"},
                       {"seed", seed},
                       {"images", list->names.size()},
                       {"per_class", counts_per_class(*list)},
                       {"sha256", sha256_hex(text)}});
      if (options.by == "location") lists.back()["left_out_in_margin"] = sides.in_margin;
      texts.emplace(file, text);
    }
    if (is_millionaid) {
      probed.insert(sides.train.begin(), sides.train.end());
      probed.insert(sides.test.begin(), sides.test.end());
    }
    if (repeat == 0) first_counts = {train_list.names.size(), test_list.names.size()};
  }

  Json duplicate_names = Json::array();
  for (const auto& group : duplicates) {
    if (duplicate_names.size() == kMostListed) break;
    Json names = Json::array();
    for (const int64_t index : group) names.push_back(dataset->sample(index).name);
    duplicate_names.push_back(names);
  }
  const std::string contents = contents_text(*dataset, hashes);
  std::string all_lists;
  for (const auto& [file, text] : texts) all_lists += text;
  Json split = {
      {"format", kFormat},
      {"version", 1},
      {"dataset", dataset->description()},
      {"rule", options.by == "location" ? "blocks ranked by sha256(\"<seed>:block/<row>/<column>\")"
                                        : "ranked by sha256(\"<seed>:<class>/<file>\"), ascending"},
      {"by", options.by},
      {"preset", options.preset},
      {"images", dataset->size()},
      {"classes", dataset->class_names()},
      {"train", first_counts[0]},
      {"test", first_counts[1]},
      {"repeats", options.repeats},
      {"lists", lists},
      {"contents", {{"file", kContentsName}, {"sha256", sha256_hex(contents)}}},
      {"duplicate_groups", duplicates.size()},
      {"duplicate_names", duplicate_names},
      {"duplicates", options.duplicates},
      {"repeats_with_duplicates_across", crossing},
      {"sha256", sha256_hex(all_lists)}};
  if (options.by == "location") {
    split["block_degrees"] = options.block_degrees;
    split["margin_degrees"] = options.margin_degrees;
    split["train_ratio"] = options.train_ratio;
  }
  if (is_millionaid) {
    ListFile names;
    for (const int64_t index : probed) names.names.add(dataset->sample(index).name);
    const std::string text = list_file_text(names);
    split["probe_images"] = {
        {"file", kProbeImagesName}, {"images", names.names.size()}, {"sha256", sha256_hex(text)}};
    texts.emplace(kProbeImagesName, text);
  }

  fs::create_directories(directory);
  // From here to the end the directory counts as no split.
  fs::remove(directory / "split.json");
  for (const auto& [file, text] : texts) write_file_atomically(directory / file, text);
  write_file_atomically(directory / kContentsName, contents);
  write_file_atomically(directory / "split.json",
                        split.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  split["output"] = directory.string();
  return split;
}

Json check_split(const fs::path& directory, const Dataset& dataset, int64_t workers) {
  const Json split = read_split_json(directory);
  const auto stored = parse_contents(read_stored(directory, split["contents"]));

  // 1. The files: present, with their bytes.
  const std::vector<std::string> hashes = content_hashes(dataset, workers);
  std::unordered_map<std::string, int64_t> index_of;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const std::string name = dataset.sample(i).name;
    index_of.emplace(name, i);
    const auto known = stored.find(name);
    if (known == stored.end()) continue;  // a file added later is in no list
    refuse_changed(name, directory, hashes[static_cast<size_t>(i)], known->second);
  }

  // 2. The lists: unchanged, disjoint, of known files.
  if (split.contains("probe_images")) read_stored(directory, split["probe_images"]);
  const auto duplicates = groups_of_duplicates(hashes);
  std::map<int64_t, std::map<std::string, std::unordered_set<int64_t>>> sides_of_seed;
  for (const Json& entry : split["lists"]) {
    read_stored(directory, entry);
    const fs::path path = directory / entry.at("file").get<std::string>();
    const ListFile list = read_list_file(path);
    auto& side = sides_of_seed[entry.at("seed")][entry.at("part")];
    for (int64_t i = 0; i < list.names.size(); ++i) {
      const std::string name(list.names.name(i));
      const auto found = index_of.find(name);
      if (found == index_of.end()) {
        throw UsageError(fmt::format("{} names {}, which is not in {}.", path.string(), name,
                                     dataset.description()),
                         "restore the file, or make the split again.");
      }
      if (!stored.contains(name)) {
        throw UsageError(
            fmt::format("{} names {}, which contents.sha256 does not.", path.string(), name),
            "make the split again.");
      }
      side.insert(found->second);
    }
    if (counts_per_class(list) != entry.at("per_class") && !list.class_names.empty()) {
      throw UsageError(fmt::format("{}: class counts differ from split.json.", path.string()),
                       "make the split again.");
    }
  }
  int64_t across = 0;
  for (auto& [seed, sides] : sides_of_seed) {
    const auto& train = sides["train"];
    const auto& test = sides["test"];
    for (const int64_t index : train) {
      if (!test.contains(index)) continue;
      throw UsageError(fmt::format("{} is in the train and in the test list of seed {} of {}.",
                                   dataset.sample(index).name, seed, directory.string()),
                       "make the split again with `swath data split --overwrite`.");
    }
    if (const auto pair = duplicate_across(duplicates, train, test)) {
      ++across;
      if (split.value("duplicates", "report") == "refuse") {
        throw UsageError(
            fmt::format("{} (train) and {} (test) of {} have the same bytes.",
                        dataset.sample(pair->first).name, dataset.sample(pair->second).name,
                        directory.string()),
            "remove one of the two and split again, or split with --duplicates=report.");
      }
    }
  }
  return {{"images", dataset.size()},
          {"lists", split["lists"].size()},
          {"classes", split["classes"].size()},
          {"repeats_with_duplicates_across", across},
          {"sha256", split["sha256"]}};
}

void check_listed_contents(const fs::path& list_path, const Dataset& dataset, int64_t workers) {
  const fs::path directory = list_path.parent_path();
  if (!fs::exists(directory / "split.json")) return;
  const Json split = read_split_json(directory);
  if (!names_list(split, list_path.filename().string())) return;
  const auto stored = parse_contents(read_stored(directory, split["contents"]));
  const ListFile list = read_list_file(list_path);
  std::vector<std::string> hashes;
  try {
    hashes = content_hashes(dataset, workers);
  } catch (const BadSample& error) {  // a damaged record: --skip-bad is no remedy here
    throw UsageError(fmt::format("{} The split {} needs it.", error.message(), directory.string()),
                     "restore it, or make the split again with `swath data split --overwrite`.");
  }
  // The samples are the listed ones in their order, less missing ones that were left out; a sample
  // may lie below a folder that the list does not name.
  int64_t line = 0;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const std::string name = dataset.sample(i).name;
    const auto is_listed_as = [&](std::string_view listed) {
      return name == listed || name.ends_with(fmt::format("/{}", listed));
    };
    while (line < list.names.size() && !is_listed_as(list.names.name(line))) ++line;
    const auto known =
        line < list.names.size() ? stored.find(std::string(list.names.name(line))) : stored.end();
    if (known == stored.end()) {
      throw UsageError(fmt::format("{} of {} is not in contents.sha256 beside the list.", name,
                                   list_path.string()),
                       "make the split again with `swath data split --overwrite`.");
    }
    refuse_changed(name, directory, hashes[static_cast<size_t>(i)], known->second);
    ++line;
  }
}

}  // namespace swath::data
