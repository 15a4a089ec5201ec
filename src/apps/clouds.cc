#include "eval/clouds.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "apps/commands.h"
#include "apps/labelled_sets.h"
#include "apps/trained_model.h"
#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/tensor/device.h"
#include "core/tensor/torch.h"
#include "data/clouds/label_chips.h"
#include "data/clouds/labelled_chips.h"
#include "data/clouds/time_split.h"
#include "data/list_file.h"
#include "data/modis/granule_table.h"
#include "data/subset_dataset.h"
#include "models/checkpoint_import.h"
#include "ops/backend.h"

namespace swath::apps {
namespace fs = std::filesystem;
namespace {

struct CloudCommandOptions {
  RunOptions run;
  std::string weights = "model";
  data::DatasetOptions data;
  std::string lists;
  std::string test_root;
  std::string test_lists;
  models::ClassifierOptions classifier;
  eval::CloudOptions clouds;

  CloudCommandOptions() { classifier.label_smoothing = 0.1; }
  void describe(FieldTable& fields) {
    run.describe(fields);
    fields.add("weights", &weights, "which weights of the checkpoint").one_of({"model", "ema"});
    fields.section("data", data);
    fields.add("lists", &lists, "directory written by `swath data label`");
    fields.add("test_root", &test_root, "chips to test on, when they lie apart from data.root");
    fields.add("test_lists", &test_lists, "their lists: test.txt is taken from there");
    fields.section("classifier", classifier);
    clouds.describe(fields);
  }
};

// A directory of `swath data label`.
struct Lists {
  fs::path directory;
  Json labels;
  std::vector<std::string> class_names;
};

// `part`: train or test, which must be among the lists.
Lists read_lists(const std::string& directory, const std::string& part) {
  const fs::path file = fs::path(directory) / data::clouds::kLabelsFile;
  if (directory.empty() || !fs::exists(file)) {
    throw UsageError(fmt::format("clouds: {} holds no {}.",
                                 directory.empty() ? "no directory is named, which" : directory,
                                 data::clouds::kLabelsFile),
                     "make the lists with `swath data label`, and name them with --lists.");
  }
  Lists lists;
  lists.directory = directory;
  lists.labels = Json::parse(read_file(file));
  lists.class_names = lists.labels.at("classes").get<std::vector<std::string>>();
  const Json& all = lists.labels.at("lists");
  if (std::none_of(all.begin(), all.end(),
                   [&](const Json& list) { return list.at("part") == part; })) {
    throw UsageError(
        fmt::format("clouds: {} holds no {} list: --split.parts was {}.", directory, part,
                    lists.labels.at("split").value("parts", "both")),
        "--lists is for training, --test_lists for the test where it lies in another folder.");
  }
  return lists;
}

// The chips of one folder with their lists.
struct ListedChips {
  std::string root;
  std::shared_ptr<const data::Dataset> chips;
  Lists lists;
};

ListedChips open_listed(data::DatasetOptions options, const std::string& root,
                        const std::string& lists, const std::string& part,
                        const TrainedModel& trained) {
  options.root = root;
  ListedChips listed{root, data::open_dataset(options), read_lists(lists, part)};
  check_bands_of(trained, *listed.chips);
  return listed;
}

// Those of the test, which may lie in the training's folder or apart.
ListedChips open_test(const CloudCommandOptions& options, const ListedChips& training,
                      const TrainedModel& trained) {
  if (options.test_root.empty()) {
    return {training.root, training.chips, read_lists(options.lists, "test")};
  }
  ListedChips test =
      open_listed(options.data, options.test_root, options.test_lists, "test", trained);
  if (test.lists.class_names != training.lists.class_names) {
    throw UsageError(
        fmt::format("clouds: {} and {} have different classes.", options.lists, options.test_lists),
        "make both with one label map.");
  }
  data::clouds::check_same_split(training.lists.labels.at("split"), test.lists.labels.at("split"));
  return test;
}

// The chips of one list, with all classes of the directory whether the list has them or not.
std::shared_ptr<const data::Dataset> select(const std::shared_ptr<const data::Dataset>& chips,
                                            const Lists& lists, const std::string& file) {
  const fs::path path = lists.directory / file;
  data::ListFile list = data::read_list_file(path);
  list.class_names = lists.class_names;
  return data::select_by_list(chips, list, path.string(), /*skip_missing=*/false);
}

std::string season_of(const data::clouds::Granule& granule) {
  const char* const seasons[] = {"DJF", "MAM", "JJA", "SON"};
  return seasons[granule.month() % 12 / 3];
}

// Numbers granules from 0 as they come.
class GranuleNumbers {
 public:
  int64_t of(const data::clouds::Granule& granule) {
    return numbers_.emplace(granule, static_cast<int64_t>(numbers_.size())).first->second;
  }

 private:
  std::map<data::clouds::Granule, int64_t> numbers_;
};

// Groups, properties and subsets of the test chips, in their order.
eval::TestGroups describe_test(const data::Dataset& test, const Lists& lists) {
  const data::clouds::LabelledChips chips =
      data::clouds::read_labelled_chips(lists.directory / data::clouds::kLabelledChipsFile);
  std::unordered_map<std::string_view, size_t> row_of;
  for (size_t i = 0; i < chips.chips.size(); ++i) row_of.emplace(chips.chips[i].name, i);
  eval::TestGroups groups;
  groups.property_names = chips.property_names;
  groups.properties.resize(chips.property_names.size());
  GranuleNumbers granules;
  for (int64_t i = 0; i < test.size(); ++i) {
    const data::Sample sample = test.sample(i);
    const auto row = row_of.find(sample.name);
    if (row == row_of.end()) {
      throw UsageError(
          fmt::format("clouds: {} does not say where {} lies.",
                      (lists.directory / data::clouds::kLabelledChipsFile).string(), sample.name),
          "make the lists again with `swath data label`.");
    }
    const data::clouds::ChipPlace& place = chips.chips[row->second].place;
    groups.labels.push_back(sample.label);
    groups.groups.push_back(granules.of(place.granule));
    const std::span<const double> values = chips.properties_of(static_cast<int64_t>(row->second));
    for (size_t p = 0; p < values.size(); ++p) groups.properties[p].push_back(values[p]);
    const auto add = [&](const std::string& name) { groups.subsets[name].push_back(i); };
    add(fmt::format("platform {}", data::clouds::platform_name(place.granule.platform)));
    add("season " + season_of(place.granule));
    if (place.has_position()) add(place.latitude < 0 ? "hemisphere south" : "hemisphere north");
  }
  return groups;
}

std::vector<eval::CloudTraining> open_trainings(const std::shared_ptr<const data::Dataset>& chips,
                                                const Lists& lists) {
  std::vector<eval::CloudTraining> trainings;
  for (const Json& list : lists.labels.at("lists")) {
    const std::string part = list.at("part");
    if (part != "train" && part != "train_fraction") continue;
    eval::CloudTraining training{
        list.at("fraction"), list.at("draw"), select(chips, lists, list.at("file")), {}};
    GranuleNumbers granules;
    for (const data::clouds::ChipPlace& place : data::clouds::chip_places(*training.train)) {
      training.groups.push_back(granules.of(place.granule));
    }
    trainings.push_back(std::move(training));
  }
  return trainings;
}

// The list of all training chips: every other one holds some of them.
const data::Dataset& all_of(const std::vector<eval::CloudTraining>& trainings) {
  const auto all = std::find_if(trainings.begin(), trainings.end(),
                                [](const auto& training) { return training.fraction == 1; });
  return *all->train;
}

// How many of the test chips the encoder has seen in pretraining; null where its data was another
// folder, or its lists are no longer those it was trained with.
Json count_seen(const TrainedModel& trained, const ListedChips& listed, const data::Dataset& test) {
  const data::DatasetOptions& pretraining = trained.options.data;
  std::error_code missing;
  if (!fs::equivalent(pretraining.root, listed.root, missing) || missing) return nullptr;
  const auto is_known = [](const std::string& list, const std::string& sha256) {
    return list.empty() || (fs::exists(list) && sha256_hex_of_file(list) == sha256);
  };
  if (!is_known(pretraining.list, pretraining.list_sha256) ||
      !is_known(pretraining.exclude_list, pretraining.exclude_list_sha256)) {
    return nullptr;
  }
  std::shared_ptr<const data::Dataset> learned;
  try {
    learned = data::open_dataset(pretraining);
  } catch (const UsageError&) {
    return nullptr;  // a listed chip is gone or changed
  }
  std::unordered_set<std::string> names;
  for (int64_t i = 0; i < learned->size(); ++i) names.insert(learned->sample(i).name);
  int64_t seen = 0;
  for (int64_t i = 0; i < test.size(); ++i) seen += names.contains(test.sample(i).name) ? 1 : 0;
  return seen;
}

// How many granules of the chips in both folders are synthetic, by the table that `swath chips`
// leaves beside them; null where there is none.
Json count_synthetic(const std::vector<std::pair<std::string, const data::Dataset*>>& sets) {
  std::set<data::clouds::Granule> synthetic;
  bool is_known = false;
  for (const auto& [root, chips] : sets) {
    // The root may be a folder, or its manifest or one shard.
    const fs::path folder = fs::is_directory(root) ? fs::path(root) : fs::path(root).parent_path();
    const auto marks = data::modis::read_synthetic_marks(folder);
    if (!marks) continue;
    is_known = true;
    for (const data::clouds::ChipPlace& place : data::clouds::chip_places(*chips)) {
      const auto mark = marks->find(place.granule.name());
      if (mark != marks->end() && mark->second) synthetic.insert(place.granule);
    }
  }
  return is_known ? Json(synthetic.size()) : Json();
}

std::string summary_of(const Json& result) {
  std::string text;
  for (const Json& row : result.at("table")) {
    if (row.at("fraction") != 1.0) continue;
    text += fmt::format("{:<16} top-1 {:5.1f} %, balanced {:5.1f} %\n",
                        row.at("method").get<std::string>(),
                        100 * row.at("top1").at("mean").get<double>(),
                        100 * row.at("balanced_accuracy").at("mean").get<double>());
  }
  const std::string derived = result.at("derived");
  const Json& seen = result.at("test_chips_seen");
  if (seen.is_number() && seen > 0) {
    text += fmt::format("The encoder was pretrained on {} of the {} test chips.\n",
                        seen.get<int64_t>(), result.at("test_images").get<int64_t>());
  }
  if (!derived.empty()) text += fmt::format("Labels are derived: {}.\n", derived);
  if (const Json& synthetic = result.at("synthetic"); synthetic.is_number() && synthetic > 0) {
    text += fmt::format("Synthetic granules: {}.\n", synthetic.get<int64_t>());
  }
  return text;
}

}  // namespace

Outcome run_clouds(const CommandSyntax& syntax, const Words& words) {
  CloudCommandOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  if (arguments.positionals.empty()) {
    throw UsageError("clouds: name a run directory or checkpoint.", syntax.example);
  }
  for (std::string* path :
       {&options.data.root, &options.lists, &options.test_root, &options.test_lists}) {
    *path = expand_environment(*path);
  }
  if (options.test_root.empty() != options.test_lists.empty()) {
    throw UsageError("clouds: test_root and test_lists go together.");
  }
  ops::set_backend(options.run.ops);
  if (options.run.threads > 0) at::set_num_threads(static_cast<int>(options.run.threads));

  // 1. The model, the chips and their lists.
  const TrainedModel trained = open_trained_model(arguments.positionals.front(), options.weights);
  const ListedChips training =
      open_listed(options.data, options.data.root, options.lists, "train", trained);
  const ListedChips test = open_test(options, training, trained);
  const auto encoder = trained_encoder(trained);
  const auto seed = static_cast<uint64_t>(options.run.seed);
  const auto untrained = untrained_encoder(trained, 0, seed);

  eval::CloudInputs inputs;
  inputs.encoder = encoder.get();
  inputs.untrained = untrained.get();
  inputs.trainings = open_trainings(training.chips, training.lists);
  inputs.test = select(test.chips, test.lists, "test.txt");
  const data::Dataset& all = all_of(inputs.trainings);
  // Chips are named after their granule and place: the same one has the same name anywhere.
  check_disjoint(all, *inputs.test);
  if (!options.test_root.empty()) {
    data::clouds::check_no_shared_day(data::clouds::chip_places(all),
                                      data::clouds::chip_places(*inputs.test));
  }
  inputs.groups = describe_test(*inputs.test, test.lists);
  inputs.normalization = trained.normalization();
  inputs.bands = trained.options.transform.bands;
  inputs.device = select_device(options.run.device);
  inputs.seed = seed;
  inputs.make_classifier = [&](bool is_pretrained, uint64_t classifier_seed) {
    models::ClassifierOptions classifier = options.classifier;
    classifier.num_classes = static_cast<int64_t>(training.lists.class_names.size());
    auto model = models::make_classifier(trained.options.model, classifier, classifier_seed);
    if (is_pretrained) {
      models::load_pretrained(model->module(), trained.options.model, trained.origin,
                              trained.tensors);
    }
    return model;
  };

  // 2. The comparison.
  const fs::path directory =
      make_output_directory(options.run.output, "clouds", arguments.overwrite);
  write_file_atomically(directory / "config.toml", fields.to_toml());
  options.clouds.features.model_settings = model_settings(trained);
  // What may fail on other files comes before hours of work.
  const Json seen = count_seen(trained, test, *inputs.test);
  const Json synthetic = count_synthetic({{training.root, &all}, {test.root, inputs.test.get()}});
  Json result = eval::run_clouds(inputs, options.clouds);
  result["checkpoint"] = trained.origin;
  result["dataset"] = options.data.root;
  result["lists"] = options.lists;
  if (!options.test_root.empty()) {
    result["test_dataset"] = options.test_root;
    result["test_lists"] = options.test_lists;
  }
  result["test_chips_seen"] = seen;
  result["form"] = training.lists.labels.at("form");
  std::string derived = training.lists.labels.at("derived");
  if (derived.empty()) derived = test.lists.labels.at("derived");
  result["derived"] = derived;
  result["synthetic"] = synthetic;
  result["output"] = directory.string();
  write_file_atomically(directory / "clouds.json", result.dump(1));
  outcome.text = summary_of(result) + fmt::format("Results in {}", directory.string());
  outcome.json = std::move(result);
  return outcome;
}

}  // namespace swath::apps
