#include "eval/finetune.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/tensor/torch.h"
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

models::ClassifierOptions four_classes() {
  models::ClassifierOptions options;
  options.num_classes = 4;
  return options;
}

FinetuneInputs toy_inputs(models::Classifier& classifier) {
  FinetuneInputs inputs;
  inputs.classifier = &classifier;
  inputs.train = std::make_shared<ToyDataset>(24, 4, 16, 1);
  inputs.test = std::make_shared<ToyDataset>(10, 4, 16, 2);
  inputs.normalization = toy_normalization();
  return inputs;
}

FinetuneOptions quick_options() {
  FinetuneOptions options;
  options.epochs = 12;
  options.batch_size = 16;
  options.schedule.base_lr = 3e-2;
  options.layer_decay = 0.9;
  options.transform.evaluation = "none";
  options.transform.scale_min = 0.6;
  options.transform.horizontal_flip = false;  // would turn one direction of the waves into another
  return options;
}

// mae, util/lr_decay.py: 0 for tokens, table and embedding, i + 1 for block i, depth + 1 for the
// rest.
TEST(Finetune, LayersOfParameters) {
  models::ModelOptions base;
  base.name = "vit_tiny";
  const auto twelve = models::make_classifier(base, four_classes(), 1);
  EXPECT_EQ(twelve->layer_of("cls_token"), 0);
  EXPECT_EQ(twelve->layer_of("pos_embed"), 0);
  EXPECT_EQ(twelve->layer_of("patch_embed.proj.weight"), 0);
  EXPECT_EQ(twelve->layer_of("blocks.0.norm1.weight"), 1);
  EXPECT_EQ(twelve->layer_of("blocks.11.mlp.fc2.bias"), 12);
  EXPECT_EQ(twelve->layer_of("fc_norm.weight"), 13);
  EXPECT_EQ(twelve->layer_of("head.bias"), 13);
  const auto rules = finetune_rules(*twelve, 0.65);
  EXPECT_DOUBLE_EQ(rules("head.weight", {10, 4}).lr_scale, 1);
  EXPECT_TRUE(rules("head.weight", {10, 4}).decay);
  EXPECT_FALSE(rules("head.bias", {10}).decay);
  EXPECT_NEAR(rules("blocks.11.attn.qkv.weight", {3, 3}).lr_scale, 0.65, 1e-12);
  EXPECT_NEAR(rules("cls_token", {1, 1, 4}).lr_scale, std::pow(0.65, 13), 1e-12);
}

TEST(Finetune, LearnsWhatAFrozenStatisticCannot) {
  const auto classifier = models::make_classifier(tiny_model(), four_classes(), 1);
  const Json report = run_finetune(toy_inputs(*classifier), quick_options());
  EXPECT_GT(report["top1"].get<double>(), 0.8);
  EXPECT_LT(report["history"].back()["train_loss"].get<double>(),
            report["history"][0]["train_loss"].get<double>() - 0.3);
  EXPECT_EQ(report["history"].size(), 12U);
  EXPECT_EQ(report["steps"], 72);
  EXPECT_EQ(report["confusion"].size(), 4U);
  EXPECT_TRUE(report.contains("macro_f1"));
  EXPECT_EQ(report["test_images"], 40);
}

TEST(Finetune, TestsAsOftenAsAskedAndAtTheEnd) {
  FinetuneOptions options = quick_options();
  options.epochs = 5;
  std::vector<Json> reports;
  for (const int64_t test_epochs : {1, 2, 0}) {
    options.test_epochs = test_epochs;
    const auto classifier = models::make_classifier(tiny_model(), four_classes(), 1);
    reports.push_back(run_finetune(toy_inputs(*classifier), options));
    for (const Json& line : reports.back()["history"]) {
      const int64_t epoch = line["epoch"];
      EXPECT_EQ(line.contains("top1"), epoch == 5 || (test_epochs > 0 && epoch % test_epochs == 0));
    }
  }
  // Tests change nothing of the training.
  EXPECT_EQ(reports[1]["history"].back(), reports[0]["history"].back());
  EXPECT_EQ(reports[2]["history"].back(), reports[0]["history"].back());
  EXPECT_EQ(reports[2]["top1"], reports[0]["top1"]);
  EXPECT_EQ(reports[2]["best_epoch"], 5);
}

TEST(Finetune, LastBlocksLeaveTheOthersBitIdentical) {
  const auto classifier = models::make_classifier(tiny_model(), four_classes(), 1);
  std::vector<std::pair<std::string, at::Tensor>> before;
  for (const auto& item : classifier->module().named_parameters()) {
    before.emplace_back(item.key(), item.value().detach().clone());
  }
  FinetuneOptions options = quick_options();
  options.epochs = 1;
  options.last_blocks = 1;
  run_finetune(toy_inputs(*classifier), options);
  const auto after = classifier->module().named_parameters();
  for (const auto& [name, value] : before) {
    const bool is_frozen = classifier->layer_of(name) <= 1;
    EXPECT_EQ(torch::equal(value, after[name]), is_frozen) << name;
  }
  options.last_blocks = 3;
  const auto other = models::make_classifier(tiny_model(), four_classes(), 1);
  EXPECT_THROW(run_finetune(toy_inputs(*other), options), UsageError);
}

TEST(Finetune, ClassCountsMustAgree) {
  models::ClassifierOptions five = four_classes();
  five.num_classes = 5;
  const auto classifier = models::make_classifier(tiny_model(), five, 1);
  EXPECT_THROW(run_finetune(toy_inputs(*classifier), quick_options()), UsageError);
}

TEST(Finetune, RunsWithDropPathSmoothingAndMixup) {
  models::ClassifierOptions options = four_classes();
  options.drop_path = 0.2;
  options.label_smoothing = 0.1;
  options.mixup = 0.8;
  FinetuneOptions finetune = quick_options();
  finetune.epochs = 1;
  std::vector<Json> reports;
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto classifier = models::make_classifier(tiny_model(), options, 1);
    reports.push_back(run_finetune(toy_inputs(*classifier), finetune));
  }
  EXPECT_EQ(reports[0]["history"], reports[1]["history"]);
  const auto plain = models::make_classifier(tiny_model(), four_classes(), 1);
  EXPECT_NE(run_finetune(toy_inputs(*plain), finetune)["history"], reports[0]["history"]);
}

models::ModelOptions tiny_swin() {
  models::ModelOptions options;
  options.name = "swin_v2_pico";
  options.image_size = 16;
  options.patch = 2;
  options.swin.mask_unit = 4;
  options.channels = 3;
  return options;
}

// Golden factors of Microsoft's fine-tuning for [2, 2, 18, 2] at 0.75, and what is not decayed.
TEST(Finetune, LayersOfASwin) {
  models::ModelOptions base;
  base.name = "swin_v2_tiny";
  base.image_size = 64;
  base.width = 32;
  base.heads = 1;
  base.swin.depths = {2, 2, 18, 2};
  const auto swin = models::make_classifier(base, four_classes(), 1);
  const auto rules = finetune_rules(*swin, 0.75);
  EXPECT_NEAR(rules("patch_embed.proj.weight", {3, 3}).lr_scale, 7.5254e-4, 1e-8);
  EXPECT_NEAR(rules("layers.0.blocks.0.attn.qkv.weight", {3, 3}).lr_scale, 1.00339e-3, 1e-8);
  EXPECT_DOUBLE_EQ(rules("layers.3.blocks.1.mlp.fc2.weight", {3, 3}).lr_scale, 0.75);
  EXPECT_DOUBLE_EQ(rules("head.weight", {3, 3}).lr_scale, 1);
  EXPECT_FALSE(rules("layers.0.blocks.0.attn.logit_scale", {2, 1, 1}).decay);
  EXPECT_FALSE(rules("layers.0.blocks.0.attn.cpb_mlp.2.weight", {2, 512}).decay);
  EXPECT_TRUE(rules("layers.0.downsample.reduction.weight", {4, 8}).decay);
}

TEST(Finetune, ASwinLearnsWhatAFrozenStatisticCannot) {
  const auto classifier = models::make_classifier(tiny_swin(), four_classes(), 1);
  FinetuneOptions options = quick_options();
  options.epochs = 30;
  const Json report = run_finetune(toy_inputs(*classifier), options);
  EXPECT_GT(report["top1"].get<double>(), 0.8);
}

}  // namespace
}  // namespace swath::eval
