#include "apps/labelled_sets.h"

#include <fmt/format.h>

#include <unordered_set>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/clouds/label_chips.h"
#include "data/split.h"
#include "eval/probe.h"

namespace swath::apps {
namespace fs = std::filesystem;
namespace {

std::shared_ptr<const data::Dataset> open_list(data::DatasetOptions options, const fs::path& list) {
  options.list = list.string();
  return data::open_dataset(options);
}

// What `swath data label` wrote beside a list.
std::string derived_labels(const fs::path& list) {
  const fs::path labels = list.parent_path() / data::clouds::kLabelsFile;
  return fs::exists(labels) ? Json::parse(read_file(labels)).value("derived", "") : "";
}

// The lists of one repeat, named by split.json.
std::pair<fs::path, fs::path> lists_of_repeat(const fs::path& split, int64_t repeat) {
  const Json description = Json::parse(read_file(split / "split.json"));
  std::vector<fs::path> train, test;
  for (const Json& list : description.at("lists")) {
    (list.at("part") == "train" ? train : test)
        .push_back(split / list.at("file").get<std::string>());
  }
  const auto index = static_cast<size_t>(repeat);
  if (index >= train.size()) {
    throw UsageError(fmt::format("split {} has {} repeats; number {} was asked for.",
                                 split.string(), train.size(), repeat),
                     "make more with `swath data split --repeats N`, or lower repeats.");
  }
  return {train[index], test[index]};
}

}  // namespace

void check_disjoint(const data::Dataset& train, const data::Dataset& test) {
  std::unordered_set<std::string> names;
  for (int64_t i = 0; i < train.size(); ++i) names.insert(train.sample(i).name);
  for (int64_t i = 0; i < test.size(); ++i) {
    const std::string name = test.sample(i).name;
    if (!names.contains(name)) continue;
    throw UsageError(fmt::format("{} is in the training data ({}) and in the test data ({}).", name,
                                 train.description(), test.description()),
                     "take it out of one of the lists: what was learned is no test.");
  }
}

void LabelledOptions::describe(FieldTable& fields) {
  fields.section("data", data);
  fields.add("test_root", &test_root, "test images, when they lie apart from data.root");
  fields.add("train_list", &train_list, "list of training images below data.root");
  fields.add("test_list", &test_list, "list of test images below data.root");
  fields.add("split", &split, "directory written by `swath data split`");
  fields.add("train_ratio", &train_ratio, "share of each class when a split has to be made")
      .at_least(0)
      .at_most(1);
}

void LabelledOptions::expand() {
  for (std::string* path : {&data.root, &test_root, &train_list, &test_list, &split}) {
    *path = expand_environment(*path);
  }
}

void check_repeats(const LabelledOptions& options, int64_t repeats) {
  const bool is_fixed = !options.test_root.empty() || !options.train_list.empty();
  if (is_fixed && repeats > 1) {
    throw UsageError(fmt::format("repeats {}: one pair of lists or folders is one split.", repeats),
                     "give a split directory with several repeats, or repeats=1.");
  }
  if (!options.split.empty()) lists_of_repeat(options.split, repeats - 1);
}

LabelledSets open_labelled_sets(const LabelledOptions& options, int64_t repeat,
                                const fs::path& directory) {
  LabelledSets sets;
  if (options.train_list.empty() != options.test_list.empty()) {
    throw UsageError("give both train_list and test_list, or neither.");
  }
  if (!options.test_root.empty()) {
    std::error_code missing;
    if (fs::equivalent(options.data.root, options.test_root, missing)) {
      throw UsageError(fmt::format("data.root and test_root are both {}.", options.test_root),
                       "leave test_root out: a split is made, and what was learned is no test.");
    }
    sets.train = data::open_dataset(options.data);
    data::DatasetOptions test = options.data;
    test.root = options.test_root;
    sets.test = data::open_dataset(test);
  } else if (!options.train_list.empty()) {
    sets.train = open_list(options.data, options.train_list);
    sets.test = open_list(options.data, options.test_list);
    sets.derived = derived_labels(options.train_list);
    if (sets.derived.empty()) sets.derived = derived_labels(options.test_list);
  } else {
    fs::path lists = options.split;
    if (options.split.empty()) {
      lists = directory / fmt::format("split-{}", repeat);
      data::SplitOptions split;
      split.data = options.data;
      split.output = lists.string();
      split.train_ratio = options.train_ratio;
      split.first_seed = repeat;
      split.repeats = 1;
      split.duplicates = "report";
      split.overwrite = true;
      data::make_split(split);
    } else {
      data::check_split(lists, *data::open_dataset(options.data));
    }
    const auto [train, test] = lists_of_repeat(lists, options.split.empty() ? 0 : repeat);
    sets.train = open_list(options.data, train);
    sets.test = open_list(options.data, test);
  }
  if (options.test_root.empty()) check_disjoint(*sets.train, *sets.test);
  sets.test = eval::with_classes_of(sets.test, *sets.train);
  return sets;
}

}  // namespace swath::apps
