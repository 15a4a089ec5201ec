#include "eval/clouds.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "core/error.h"
#include "core/log.h"
#include "eval/baselines.h"
#include "eval/clustering.h"
#include "eval/kmeans.h"
#include "eval/metrics.h"

namespace swath::eval {
namespace {

constexpr int64_t kSymmetries = 8;
constexpr int64_t kRotations = 4;
const std::vector<std::string> kMethods = {"probe",    "untrained", "band_statistics",
                                           "majority", "finetune",  "scratch"};
// What the table averages over draws.
const std::vector<std::string> kMainScores = {"top1", "top5", "balanced_accuracy", "macro_f1",
                                              "kappa"};

// An encoder that sees every image in another attitude.
class TurnedEncoder : public models::Encoder {
 public:
  TurnedEncoder(models::Encoder& encoder, int64_t symmetry)
      : encoder_(encoder), symmetry_(symmetry) {}
  at::Tensor forward_features(const at::Tensor& images_BCHW, UnitRunner& runner) override {
    return encoder_.forward_features(apply_symmetry(images_BCHW, symmetry_), runner);
  }
  torch::nn::Module& module() override { return encoder_.module(); }
  const ModelSpec& spec() const override { return encoder_.spec(); }

 private:
  models::Encoder& encoder_;
  int64_t symmetry_;
};

// A classifier whose only token is its logits, so that all that reads features reads them.
class LogitsEncoder : public models::Encoder {
 public:
  explicit LogitsEncoder(models::Classifier& classifier) : classifier_(classifier) {}
  at::Tensor forward_features(const at::Tensor& images_BCHW, UnitRunner& runner) override {
    return classifier_.logits(images_BCHW, runner).unsqueeze(1);
  }
  torch::nn::Module& module() override { return classifier_.module(); }
  const ModelSpec& spec() const override { return classifier_.spec(); }

 private:
  models::Classifier& classifier_;
};

// Scores of the test chips, upright and, where asked for, in the other attitudes.
using ScoresBySymmetry = std::vector<at::Tensor>;

class Comparison {
 public:
  Comparison(const CloudInputs& inputs, const CloudOptions& options)
      : inputs_(inputs),
        options_(options),
        class_names_(inputs.test->class_names()),
        num_classes_(static_cast<int64_t>(class_names_.size())),
        num_symmetries_(options.turns ? kSymmetries : 1),
        evaluation_(
            options.transform.for_evaluation(inputs.encoder->spec().image_size, inputs.bands),
            inputs.normalization) {
    check();
  }

  Json run() {
    Json report;
    for (const std::string& method : kMethods) {
      if (std::find(options_.methods.begin(), options_.methods.end(), method) ==
          options_.methods.end()) {
        continue;
      }
      log_info(fmt::format("clouds: {}.", method));
      if (method == "probe") measure_frozen(method, inputs_.encoder);
      if (method == "untrained") measure_frozen(method, inputs_.untrained);
      if (method == "band_statistics") measure_frozen(method, nullptr);
      if (method == "majority") measure_majority();
      if (method == "finetune") measure_trained(method, /*is_pretrained=*/true);
      if (method == "scratch") measure_trained(method, /*is_pretrained=*/false);
    }
    ConfusionMatrix matrix(num_classes_);
    matrix.add(inputs_.groups.labels, inputs_.groups.labels);
    report["classes"] = num_classes_;
    report["class_names"] = class_names_;
    report["test_images"] = inputs_.test->size();
    report["test_granules"] = inputs_.groups.num_groups();
    report["prior"] = matrix.prior();
    report["table"] = table();
    report["top1"] = nullptr;
    for (const Json& row : report["table"]) {
      if (row["fraction"] == 1.0 && report["top1"].is_null()) report["top1"] = row["top1"]["mean"];
    }
    report["clusters"] = clusters_;
    report["rows"] = rows_;
    return report;
  }

 private:
  void check() {
    check_bands(inputs_.encoder->spec(), inputs_.normalization, inputs_.bands);
    if (inputs_.trainings.empty()) throw UsageError("clouds: there is no list of training chips.");
    if (static_cast<int64_t>(inputs_.groups.labels.size()) != inputs_.test->size()) {
      throw UsageError(fmt::format("clouds: {} test chips, places of {}.", inputs_.test->size(),
                                   inputs_.groups.labels.size()));
    }
    for (const CloudTraining& training : inputs_.trainings) {
      if (training.train->class_names() != class_names_) {
        throw UsageError(fmt::format("clouds: the classes of {} are not those of the test chips.",
                                     training.train->description()),
                         "make the lists again with `swath data label`.");
      }
      if (training.fraction == 1) all_ = &training;
    }
    if (all_ == nullptr) {
      throw UsageError("clouds: no list holds all training chips.",
                       "make the lists again with `swath data label`.");
    }
  }

  // Unusable test chips cannot be left out: places, groups and predictions go together by row.
  ExtractOptions strict(bool is_cached) const {
    ExtractOptions extract = options_.features;
    extract.skip_bad = false;
    if (!is_cached) extract.cache.clear();
    return extract;
  }

  FeatureSet extract(models::Encoder* encoder, const std::shared_ptr<const data::Dataset>& dataset,
                     int64_t symmetry) const {
    if (encoder == nullptr) return band_statistics(dataset, evaluation_, strict(false));
    encoder->module().to(inputs_.device);
    if (symmetry == 0) {
      return extract_features(*encoder, dataset, evaluation_, strict(true), inputs_.device);
    }
    // A cache knows weights and images, not the attitude.
    TurnedEncoder turned(*encoder, symmetry);
    return extract_features(turned, dataset, evaluation_, strict(false), inputs_.device);
  }

  // The rows of `all` that a list names.
  static FeatureSet select(const FeatureSet& all, const data::Dataset& list) {
    std::unordered_map<std::string_view, int64_t> row_of;
    for (int64_t i = 0; i < all.size(); ++i) row_of.emplace(all.names[static_cast<size_t>(i)], i);
    std::vector<int64_t> rows;
    FeatureSet chosen;
    for (int64_t i = 0; i < list.size(); ++i) {
      const data::Sample sample = list.sample(i);
      const auto found = row_of.find(sample.name);
      if (found == row_of.end()) {
        throw UsageError(fmt::format("clouds: {} is not among all training chips.", sample.name),
                         "make the lists again with `swath data label`.");
      }
      rows.push_back(found->second);
      chosen.names.push_back(sample.name);
      chosen.sample_ids.push_back(sample.id);
    }
    const at::Tensor index = at::tensor(rows, at::kLong);
    chosen.features_ND = all.features_ND.index_select(0, index).contiguous();
    chosen.labels_N = all.labels_N.index_select(0, index).contiguous();
    return chosen;
  }

  // `encoder` null: the statistics of the bands.
  void measure_frozen(const std::string& method, models::Encoder* encoder) {
    const FeatureSet all = extract(encoder, all_->train, 0);
    std::vector<FeatureSet> test;
    // Sums over pixels know no attitude.
    const int64_t symmetries = encoder == nullptr ? 1 : num_symmetries_;
    for (int64_t symmetry = 0; symmetry < symmetries; ++symmetry) {
      test.push_back(extract(encoder, inputs_.test, symmetry));
    }
    cluster(method, test.front());
    for (const CloudTraining& training : inputs_.trainings) {
      const FeatureSet train = select(all, *training.train);
      const LogisticSelection selection =
          select_logistic(train.features_ND, train.labels_N, num_classes_, /*standardize=*/true,
                          options_.logistic, inputs_.seed, training.groups);
      ScoresBySymmetry scores;
      for (const FeatureSet& features : test) {
        scores.push_back(selection.model.logits(features.features_ND));
      }
      add_row(method, training, scores)["c"] = selection.c;
    }
  }

  void cluster(const std::string& method, const FeatureSet& test) {
    if (options_.kmeans_seeds == 0) return;
    KMeansOptions kmeans_options;
    kmeans_options.clusters = num_classes_;
    if (test.size() < num_classes_) {
      log_warning(fmt::format("clouds: {} test chips are too few for {} clusters.", test.size(),
                              num_classes_));
      return;
    }
    std::vector<double> rand;
    std::vector<double> information;
    for (int64_t seed = 0; seed < options_.kmeans_seeds; ++seed) {
      const KMeansResult result =
          kmeans(test.features_ND, kmeans_options, inputs_.seed + static_cast<uint64_t>(seed));
      rand.push_back(adjusted_rand_index(inputs_.groups.labels, result.clusters));
      information.push_back(adjusted_mutual_information(inputs_.groups.labels, result.clusters));
    }
    clusters_[method] = Json{{"clusters", num_classes_},
                             {"ari", to_json(mean_and_sd(rand))},
                             {"ami", to_json(mean_and_sd(information))}};
  }

  void measure_majority() {
    for (const CloudTraining& training : inputs_.trainings) {
      at::Tensor counts_K = at::zeros({num_classes_}, at::kFloat);
      for (int64_t i = 0; i < training.train->size(); ++i) {
        counts_K[training.train->sample(i).label] += 1;
      }
      const at::Tensor scores_NK =
          counts_K.expand({inputs_.test->size(), num_classes_}).contiguous();
      add_row("majority", training, {scores_NK});
    }
  }

  void measure_trained(const std::string& method, bool is_pretrained) {
    for (const CloudTraining& training : inputs_.trainings) {
      if (options_.finetune_draws > 0 && training.draw >= options_.finetune_draws) continue;
      // Draws differ in what is learned and in how it starts.
      const uint64_t seed = inputs_.seed + static_cast<uint64_t>(training.draw);
      const auto classifier = inputs_.make_classifier(is_pretrained, seed);
      FinetuneInputs finetune;
      finetune.classifier = classifier.get();
      finetune.train = training.train;
      finetune.test = inputs_.test;
      finetune.normalization = inputs_.normalization;
      finetune.bands = inputs_.bands;
      finetune.device = inputs_.device;
      finetune.seed = seed;
      const Json trained =
          run_finetune(finetune, training_options(is_pretrained, training.train->size()));
      LogitsEncoder logits(*classifier);
      ScoresBySymmetry scores;
      for (int64_t symmetry = 0; symmetry < num_symmetries_; ++symmetry) {
        TurnedEncoder turned(logits, symmetry);
        ExtractOptions extract = strict(false);
        extract.pooling = "cls";
        scores.push_back(
            extract_features(turned, inputs_.test, evaluation_, extract, inputs_.device)
                .features_ND);
      }
      Json& row = add_row(method, training, scores);
      for (const char* key : {"steps", "seconds", "history"}) row[key] = trained.at(key);
    }
  }

  // A small share of the labels gets more epochs, so that rows do not measure the number of steps.
  // Random weights have no layers to spare: one learning rate for all.
  FinetuneOptions training_options(bool is_pretrained, int64_t images) const {
    FinetuneOptions finetune = options_.finetune;
    const int64_t steps_per_epoch = std::max<int64_t>(1, images / finetune.batch_size);
    finetune.epochs = std::max(
        finetune.epochs, (options_.finetune_min_steps + steps_per_epoch - 1) / steps_per_epoch);
    if (!is_pretrained) finetune.layer_decay = 1;
    return finetune;
  }

  // The reference stays valid until the next row.
  Json& add_row(const std::string& method, const CloudTraining& training,
                const ScoresBySymmetry& scores) {
    Json row{{"method", method},
             {"fraction", training.fraction},
             {"draw", training.draw},
             {"train_images", training.train->size()}};
    row.update(score_groups(inputs_.groups, as_floats(scores.front()), num_classes_, inputs_.seed));
    std::vector<std::vector<int64_t>> predictions;
    for (const at::Tensor& scores_NK : scores) {
      predictions.push_back(predict_classes(as_floats(scores_NK), num_classes_));
    }
    if (options_.turns) {
      const auto first = static_cast<std::ptrdiff_t>(
          std::min<size_t>(predictions.size(), static_cast<size_t>(kRotations)));
      row["agreement"] = {
          {"rotations", share_in_agreement({predictions.begin(), predictions.begin() + first})},
          {"symmetries", share_in_agreement(predictions)}};
    }
    log_info(fmt::format("clouds: {} on {:g} % of the labels: top-1 {:.4f}.", method,
                         100 * training.fraction, row["top1"].get<double>()));
    rows_.push_back(std::move(row));
    return rows_.back();
  }

  // Rows of the same method and share as one, by method and rising share.
  Json table() const {
    std::map<std::tuple<size_t, double>, std::vector<const Json*>> cells;
    for (const Json& row : rows_) {
      const auto method =
          std::find(kMethods.begin(), kMethods.end(), row["method"].get<std::string>());
      cells[{static_cast<size_t>(method - kMethods.begin()), row["fraction"].get<double>()}]
          .push_back(&row);
    }
    Json table = Json::array();
    for (const auto& [key, rows] : cells) {
      Json line{{"method", kMethods[std::get<0>(key)]}, {"fraction", std::get<1>(key)}};
      const auto add = [&](const std::string& name, const auto& value_of) {
        std::vector<double> values;
        for (const Json* row : rows) values.push_back(value_of(*row));
        line[name] = to_json(mean_and_sd(values));
      };
      add("train_images", [](const Json& row) { return row["train_images"].get<double>(); });
      for (const std::string& name : kMainScores) {
        add(name, [&](const Json& row) { return row[name].get<double>(); });
      }
      for (const char* name : {"rotations", "symmetries"}) {
        if (!options_.turns) continue;
        add(name, [&](const Json& row) { return row["agreement"][name].get<double>(); });
      }
      table.push_back(std::move(line));
    }
    return table;
  }

  const CloudInputs& inputs_;
  const CloudOptions& options_;
  std::vector<std::string> class_names_;
  int64_t num_classes_;
  int64_t num_symmetries_;
  data::Transform evaluation_;
  const CloudTraining* all_ = nullptr;
  Json rows_ = Json::array();
  Json clusters_ = Json::object();
};

}  // namespace

CloudOptions::CloudOptions() {
  transform.evaluation = "none";
  // As swath probes chips: a mean of patches, which every architecture has.
  features.pooling = "mean";
  // SwinV2's, whose blocks are many.
  finetune.layer_decay = 0.75;
  finetune.clip_norm = 5;
  finetune.epochs = 30;
  finetune.test_epochs = 0;
  finetune.transform.evaluation = "none";
  finetune.transform.training = "none";
  finetune.transform.dihedral = true;
  finetune.transform.horizontal_flip = false;
}

void CloudOptions::describe(FieldTable& fields) {
  fields.add("methods", &methods, "rows of the comparison").one_of(kMethods);
  fields.add("turns", &turns, "also predict each test chip turned and mirrored: eight passes");
  fields.add("kmeans_seeds", &kmeans_seeds, "k-means runs on the frozen features; 0: none")
      .at_least(0);
  fields
      .add("finetune_min_steps", &finetune_min_steps,
           "least steps of finetune and scratch; small shares of the labels get more epochs")
      .at_least(0);
  fields
      .add("finetune_draws", &finetune_draws,
           "draws of each share that finetune and scratch train on; 0: all")
      .at_least(0);
  fields.section("features", features);
  fields.section("transform", transform);
  fields.section("logistic", logistic);
  fields.section("finetune", finetune);
}

at::Tensor apply_symmetry(const at::Tensor& images_BCHW, int64_t symmetry) {
  const at::Tensor mirrored = symmetry >= kRotations ? images_BCHW.flip({3}) : images_BCHW;
  return at::rot90(mirrored, symmetry % kRotations, {2, 3}).contiguous();
}

Json run_clouds(const CloudInputs& inputs, const CloudOptions& options) {
  return Comparison(inputs, options).run();
}

}  // namespace swath::eval
