#include "models/vit_spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "models/model_list.h"

namespace swath::models {
namespace {

VitDimensions preset(const std::string& name, int64_t image_size = 0, int64_t patch = 0) {
  ModelOptions options;
  options.name = name;
  options.image_size = image_size;
  options.patch = patch;
  return resolve(options);
}

// Table I of arXiv 2404.11706, in millions, to 1 %.
TEST(VitSpec, TableParametersAgreeWithTheTable) {
  const std::map<std::string, double> table = {
      {"vit_base", 87}, {"vit_huge", 635},     {"vit_1b", 914},   {"vit_3b", 3067},
      {"vit_5b", 5349}, {"vit_5b_2816", 5349}, {"vit_15b", 14720}};
  for (const auto& [name, millions] : table) {
    const auto count = static_cast<double>(table_params(preset(name)));
    EXPECT_NEAR(count / (millions * 1e6), 1, 0.01) << name;
  }
}

// Exact counts, worked out by hand in source_documents.md A2.
TEST(VitSpec, ExactCounts) {
  EXPECT_EQ(table_params(preset("vit_base")) / 1000, 86567);
  EXPECT_EQ(table_params(preset("vit_5b_plain")) / 1000000, 3807);
  EXPECT_EQ(table_params(preset("vit_5b")) / 1000, 5349481);
  EXPECT_EQ(encoder_params(preset("vit_base")), 85647360);
  EXPECT_EQ(encoder_params(preset("vit_huge")), 630435840);
  EXPECT_EQ(encoder_params(preset("vit_1b")), 907517952);
  EXPECT_EQ(encoder_params(preset("vit_3b")), 3047903232);
  EXPECT_EQ(encoder_params(preset("vit_5b_plain")), 3804960768);
  EXPECT_EQ(encoder_params(preset("vit_15b")), 14637450240);
  EXPECT_EQ(total_params(preset("vit_base")), 111655680);
  EXPECT_EQ(total_params(preset("vit_huge")), 656613964);
  EXPECT_EQ(total_params(preset("vit_1b")), 933827148);
  EXPECT_EQ(total_params(preset("vit_3b")), 3074867788);
  EXPECT_EQ(total_params(preset("vit_5b_plain")), 3831401036);
  EXPECT_EQ(total_params(preset("vit_15b")), 14665553484);
}

// performance.md's table, GFLOP per image and training step, to its last digit.
TEST(VitSpec, TrainingFlops) {
  const auto gflop = [](const VitDimensions& d) { return mae_spec(d).train_flops / 1e9; };
  EXPECT_NEAR(gflop(preset("vit_base")), 58.0, 0.05);
  EXPECT_NEAR(gflop(preset("vit_base", 0, 14)), 76.3, 0.05);
  EXPECT_NEAR(gflop(preset("vit_base", 512, 14)), 458.9, 0.05);
  EXPECT_NEAR(gflop(preset("vit_large")), 123.6, 0.05);
  EXPECT_NEAR(gflop(preset("vit_huge")), 290.3, 0.05);
  EXPECT_NEAR(gflop(preset("vit_1b", 512)), 2111.9, 0.05);
  EXPECT_NEAR(gflop(preset("vit_15b")), 5762.6, 0.05);
}

TEST(VitSpec, UnitsAreRootThenBlocksInOrder) {
  const ModelSpec spec = mae_spec(preset("vit_base"));
  ASSERT_EQ(spec.units.size(), 21);
  EXPECT_EQ(spec.units[0].name, "root");
  EXPECT_EQ(spec.units[1].name, "blocks.0");
  EXPECT_EQ(spec.units[12].name, "blocks.11");
  EXPECT_EQ(spec.units[13].name, "decoder_blocks.0");
  // Width 768 over 50 tokens: (8 + 4) 768 values of 4 bytes each.
  EXPECT_EQ(spec.units[1].activation_bytes, 50 * 12 * 768 * 4);
}

TEST(VitSpec, ClassifierHasHeadAndPooledNorm) {
  const ModelSpec spec = vit_spec(preset("vit_tiny"), 21, true);
  std::vector<std::string> names;
  for (const ParameterSpec& parameter : spec.units[0].parameters) names.push_back(parameter.name);
  EXPECT_NE(std::find(names.begin(), names.end(), "fc_norm.weight"), names.end());
  EXPECT_NE(std::find(names.begin(), names.end(), "head.bias"), names.end());
  EXPECT_EQ(std::find(names.begin(), names.end(), "norm.weight"), names.end());
}

TEST(VitSpec, ListHasEveryFieldOfTheContract) {
  const Json models = list_models();
  EXPECT_EQ(models.size(), model_names().size());
  for (const Json& model : models) {
    for (const char* field :
         {"name", "family", "width", "depth", "mlp", "heads", "patch", "image_size", "channels",
          "encoder_params", "table_params", "total_params", "flops_per_image"}) {
      EXPECT_TRUE(model.contains(field)) << field;
    }
    EXPECT_GT(model["flops_per_image"].get<double>(), 0);
  }
}

}  // namespace
}  // namespace swath::models
