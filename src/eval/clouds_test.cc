#include "eval/clouds.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "data/subset_dataset.h"
#include "eval/toy_dataset.h"
#include "models/registry.h"

namespace swath::eval {
namespace {

models::ModelOptions tiny_model() {
  models::ModelOptions options;
  options.name = "vit_pico";
  options.width = 32;
  options.depth = 2;
  options.heads = 2;
  options.mlp = 64;
  options.patch = 4;
  options.image_size = 16;
  options.channels = 3;
  return options;
}

// Toy images as chips of granules of eight, of which two shares of the labels are drawn.
struct Fixture {
  decltype(models::make_encoder(tiny_model(), 1)) encoder = models::make_encoder(tiny_model(), 1);
  decltype(encoder) untrained = models::make_encoder(tiny_model(), 2);
  CloudInputs inputs;
  CloudOptions options;

  Fixture() {
    inputs.encoder = encoder.get();
    inputs.untrained = untrained.get();
    inputs.make_classifier = [](bool is_pretrained, uint64_t seed) {
      models::ClassifierOptions classifier;
      classifier.num_classes = 4;
      return models::make_classifier(tiny_model(), classifier, is_pretrained ? seed : seed + 100);
    };
    const auto train = std::make_shared<ToyDataset>(24, 4, 16, 1);
    const auto few = [&](int64_t first) {
      std::vector<int64_t> indices;
      for (int64_t i = 0; i < 16; ++i) indices.push_back(first + i);
      return std::make_shared<data::SubsetDataset>(train, indices);
    };
    inputs.trainings = {{1, 0, train}, {0.2, 0, few(0)}, {0.2, 1, few(40)}};
    inputs.test = std::make_shared<ToyDataset>(10, 4, 16, 2);
    for (int64_t i = 0; i < inputs.test->size(); ++i) {
      inputs.groups.labels.push_back(i % 4);
      inputs.groups.groups.push_back(i / 8);
    }
    inputs.groups.property_names = {"pressure"};
    inputs.groups.properties.resize(1);
    for (const int64_t label : inputs.groups.labels) {
      inputs.groups.properties[0].push_back(500 + 10 * static_cast<double>(label));
    }
    inputs.groups.subsets = {{"platform Terra", {0, 1, 2, 3}}};
    inputs.normalization = toy_normalization();
    options.logistic.num_c = 3;
    options.logistic.c_min = 1e-2;
    options.finetune.epochs = 2;
    options.finetune.batch_size = 16;
    options.finetune_draws = 1;
    options.finetune_min_steps = 7;
  }
};

TEST(Clouds, OneTableOfAllMethodsOverShares) {
  Fixture fixture;
  const Json report = run_clouds(fixture.inputs, fixture.options);
  std::map<std::string, int> rows;
  for (const Json& row : report["rows"]) {
    ++rows[row["method"].get<std::string>()];
    // 96 images are six steps an epoch, two epochs; 16 are one, of which seven are asked for.
    const int64_t expected_steps = row["fraction"] == 1.0 ? 12 : 7;
    EXPECT_EQ(row.value("steps", expected_steps), expected_steps);
    EXPECT_TRUE(row.contains("kappa") && row.contains("confusion") && row.contains("agreement"));
    EXPECT_LE(row["intervals"]["top1"][0].get<double>(), row["top1"].get<double>());
    EXPECT_GE(row["intervals"]["top1"][1].get<double>(), row["top1"].get<double>());
  }
  // Three lists; the trained methods leave the second draw out.
  EXPECT_EQ(rows, (std::map<std::string, int>{{"probe", 3},
                                              {"untrained", 3},
                                              {"band_statistics", 3},
                                              {"majority", 3},
                                              {"finetune", 2},
                                              {"scratch", 2}}));
  EXPECT_EQ(report["table"].size(), 12U);
  EXPECT_EQ(report["table"][0]["method"], "probe");
  EXPECT_EQ(report["table"][0]["fraction"], 0.2);
  EXPECT_EQ(report["table"][0]["top1"]["count"], 2);
  EXPECT_EQ(report["table"][1]["train_images"]["mean"], 96);
  EXPECT_EQ(report["top1"], report["table"][1]["top1"]["mean"]);
  EXPECT_EQ(report["test_granules"], 5);
  EXPECT_EQ(report["prior"], Json({0.25, 0.25, 0.25, 0.25}));
  std::set<std::string> clustered;
  for (const auto& [method, value] : report["clusters"].items()) clustered.insert(method);
  EXPECT_EQ(clustered, (std::set<std::string>{"band_statistics", "probe", "untrained"}));
  EXPECT_EQ(report["clusters"]["probe"]["ari"]["count"], 5);
}

// What must hold whatever is learned: the classes have equal shares, a constant prediction is the
// same in every attitude, and so are sums over pixels.
TEST(Clouds, BaselinesAreWhatTheySay) {
  Fixture fixture;
  fixture.options.methods = {"band_statistics", "majority"};
  const Json report = run_clouds(fixture.inputs, fixture.options);
  for (const Json& row : report["rows"]) {
    EXPECT_EQ(row["agreement"]["symmetries"], 1);
    if (row["method"] != "majority") continue;
    EXPECT_EQ(row["top1"], 0.25);
    EXPECT_EQ(row["kappa"], 0);
    EXPECT_EQ(row["top5"], 1);
  }
  // The last class has a colour of its own; the others are told by the direction of waves alone.
  for (const Json& row : report["rows"]) {
    if (row["method"] != "band_statistics" || row["fraction"] != 1.0) continue;
    EXPECT_GT(row["recall"][3].get<double>(), 0.9);
    EXPECT_LT(row["top1"].get<double>(), 0.75);
  }
}

TEST(Clouds, IsTheSameEveryTimeAndWithACache) {
  Fixture fixture;
  fixture.options.methods = {"probe"};
  const Json first = run_clouds(fixture.inputs, fixture.options);
  EXPECT_EQ(run_clouds(fixture.inputs, fixture.options), first);
  const auto cache = std::filesystem::temp_directory_path() / "swath_clouds_test_cache";
  std::filesystem::remove_all(cache);
  fixture.options.features.cache = cache.string();
  EXPECT_EQ(run_clouds(fixture.inputs, fixture.options), first);
  // Waves turned by a right angle are another class: hardly any prediction can stay.
  EXPECT_LT(first["rows"][0]["agreement"]["rotations"].get<double>(), 0.9);
  EXPECT_EQ(run_clouds(fixture.inputs, fixture.options), first);
  std::filesystem::remove_all(cache);
}

TEST(Clouds, SymmetriesAreTheEightOfTheSquare) {
  const at::Tensor image = at::arange(9, at::kFloat).reshape({1, 1, 3, 3});
  std::set<std::string> seen;
  for (int64_t symmetry = 0; symmetry < 8; ++symmetry) {
    const at::Tensor turned = apply_symmetry(image, symmetry);
    EXPECT_TRUE(at::equal(std::get<0>(turned.view(-1).sort()), image.view(-1)));
    EXPECT_EQ(turned[0][0][1][1].item<float>(), 4);
    std::string text;
    for (int64_t i = 0; i < 9; ++i) text += fmt::format("{}", turned.view(-1)[i].item<float>());
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 8U);
  EXPECT_TRUE(at::equal(apply_symmetry(image, 0), image));
}

TEST(Clouds, RefusesListsThatDoNotFitTogether) {
  Fixture fixture;
  fixture.inputs.trainings.erase(fixture.inputs.trainings.begin());
  EXPECT_THROW(run_clouds(fixture.inputs, fixture.options), UsageError);
  Fixture other;
  auto renamed = std::make_shared<ToyDataset>(24, 4, 16, 1);
  renamed->rename_classes({"a", "b", "c", "d"});
  other.inputs.trainings[1].train = renamed;
  EXPECT_THROW(run_clouds(other.inputs, other.options), UsageError);
  Fixture third;
  third.inputs.groups.labels.pop_back();
  EXPECT_THROW(run_clouds(third.inputs, third.options), UsageError);
}

}  // namespace
}  // namespace swath::eval
