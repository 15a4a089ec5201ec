#include "models/model_options.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace swath::models {
namespace {

ModelOptions named(const std::string& name) {
  ModelOptions options;
  options.name = name;
  return options;
}

std::string message_of(const ModelOptions& options) {
  try {
    resolve(options);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(ModelOptions, PresetsResolve) {
  for (const std::string& name : model_names()) {
    if (is_swin(name)) {
      EXPECT_EQ(resolve_swin(named(name)).name, name);
      continue;
    }
    const VitDimensions d = resolve(named(name));
    EXPECT_EQ(d.name, name);
    EXPECT_EQ(d.channels, 3);
  }
  EXPECT_TRUE(resolve(named("vit_5b")).gated_mlp);
  EXPECT_EQ(resolve(named("vit_5b_2816")).mlp, 11264);
}

TEST(ModelOptions, OverridesReplaceThePreset) {
  ModelOptions options = named("vit_base");
  options.width = 384;
  options.heads = 6;
  options.channels = 13;
  options.mlp_kind = "gated";
  const VitDimensions d = resolve(options);
  EXPECT_EQ(d.width, 384);
  EXPECT_EQ(d.mlp, 1536);  // the preset's ratio
  EXPECT_EQ(d.channels, 13);
  EXPECT_TRUE(d.gated_mlp);
}

TEST(ModelOptions, KeptPatchesAreRoundedDown) {
  const auto kept = [](int64_t size, int64_t patch) {
    ModelOptions options = named("vit_base");
    options.image_size = size;
    options.patch = patch;
    return resolve(options).num_kept();
  };
  EXPECT_EQ(kept(224, 16), 49);
  EXPECT_EQ(kept(224, 14), 64);
  EXPECT_EQ(kept(512, 14), 324);
  EXPECT_EQ(kept(518, 14), 342);
}

TEST(ModelOptions, RemainderIsCroppedOrRefused) {
  ModelOptions options = named("vit_huge");
  options.image_size = 512;
  const VitDimensions d = resolve(options);
  EXPECT_EQ(d.grid(), 36);
  EXPECT_EQ(d.used_size(), 504);
  EXPECT_FALSE(d.crop_center);
  options.remainder = "center";
  EXPECT_TRUE(resolve(options).crop_center);
  options.remainder = "refuse";
  EXPECT_NE(message_of(options).find("504"), std::string::npos) << message_of(options);
}

TEST(ModelOptions, MistakesNameBothSides) {
  EXPECT_NE(message_of(named("vit_bass")).find("vit_base"), std::string::npos);
  ModelOptions heads = named("vit_base");
  heads.heads = 7;
  EXPECT_NE(message_of(heads).find("768"), std::string::npos);
  EXPECT_NE(message_of(heads).find('7'), std::string::npos);
  ModelOptions ratio = named("vit_base");
  ratio.mask_ratio = 1;
  EXPECT_NE(message_of(ratio).find("mask_ratio"), std::string::npos);
  ratio.mask_ratio = 0;
  EXPECT_NE(message_of(ratio).find("mask_ratio"), std::string::npos);
  ModelOptions patch = named("vit_base");
  patch.image_size = 8;
  EXPECT_NE(message_of(patch).find('8'), std::string::npos);
}

TEST(ModelOptions, FieldsRoundTripThroughToml) {
  ModelOptions options = named("vit_tiny");
  options.mask_ratio = 0.6;
  options.norm_pix_loss = false;
  const std::string text = make_field_table(options).to_toml();
  ModelOptions copy;
  make_field_table(copy).apply_toml(text, "test");
  EXPECT_EQ(make_field_table(copy).to_toml(), text);
}

}  // namespace
}  // namespace swath::models
