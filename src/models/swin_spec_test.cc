#include "models/swin_spec.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "models/model_list.h"
#include "models/model_options.h"

namespace swath::models {
namespace {

SwinDimensions dimensions(const std::string& name,
                          const std::function<void(ModelOptions&)>& change = {}) {
  ModelOptions options;
  options.name = name;
  if (change) change(options);
  return resolve_swin(options);
}

int64_t encoder_count(const std::string& name, int64_t channels) {
  return swin_spec(dimensions(name, [&](ModelOptions& o) { o.channels = channels; }))
      .parameter_count(true);
}

// The published sizes, counted by hand from Microsoft's shapes.
TEST(SwinSpec, ExactCountsOfThePublishedEncoders) {
  EXPECT_EQ(encoder_count("swin_v2_small", 3), 48959418);
  EXPECT_EQ(encoder_count("swin_v2_base", 3), 86893816);
  EXPECT_EQ(encoder_count("swin_v2_large", 3), 195202932);
  EXPECT_EQ(encoder_count("swin_v2_huge", 3), 655210922);
  EXPECT_EQ(encoder_count("swin_v2_giant", 3), 1060976996);
}

// Millions of parameters with six channels and patches of 4, encoder and with SimMIM's decoder.
TEST(SwinSpec, CountsOfThePostersSizes) {
  for (const auto& [name, encoder, total] :
       {std::tuple{"swin_v2_100m", 86.90, 93.20}, std::tuple{"swin_v2_600m", 655.23, 672.54},
        std::tuple{"swin_v2_1_4b", 1385.58, 1410.75},
        std::tuple{"swin_v2_3_6b", 3602.53, 3627.70}}) {
    const SwinDimensions d = dimensions(name);
    EXPECT_NEAR(static_cast<double>(swin_spec(d).parameter_count(true)) / 1e6, encoder, 0.006)
        << name;
    EXPECT_NEAR(static_cast<double>(simmim_spec(d).parameter_count(true)) / 1e6, total, 0.006)
        << name;
  }
}

struct Map {
  int64_t rows, columns, window_rows, window_columns, shift_rows, shift_columns;
  bool operator==(const Map&) const = default;
};
std::vector<Map> maps_of(const SwinDimensions& d) {
  std::vector<Map> maps;
  for (const SwinStage& s : d.stages) {
    maps.push_back(
        {s.rows, s.columns, s.window_rows, s.window_columns, s.shift_rows, s.shift_columns});
  }
  return maps;
}

TEST(SwinSpec, WindowsOf128Pixels) {
  const auto maps = [](int64_t patch) {
    return maps_of(dimensions("swin_v2_100m", [&](ModelOptions& o) { o.patch = patch; }));
  };
  EXPECT_EQ(maps(8),
            (std::vector<Map>{
                {16, 16, 8, 8, 4, 4}, {8, 8, 8, 8, 0, 0}, {4, 4, 4, 4, 0, 0}, {2, 2, 2, 2, 0, 0}}));
  EXPECT_EQ(
      maps(4),
      (std::vector<Map>{
          {32, 32, 8, 8, 4, 4}, {16, 16, 8, 8, 4, 4}, {8, 8, 8, 8, 0, 0}, {4, 4, 4, 4, 0, 0}}));
  EXPECT_EQ(maps(2).back(), (Map{8, 8, 8, 8, 0, 0}));
}

// A mosaic of 2 x 3 bands; 12 tokens take windows of 6.
TEST(SwinSpec, WindowsOfTheMosaic) {
  const auto mosaic = [](int64_t patch) {
    return dimensions("swin_v2_100m", [&](ModelOptions& o) {
      o.patch = patch;
      o.swin.tokens = "per_band";
    });
  };
  EXPECT_EQ(
      maps_of(mosaic(8)),
      (std::vector<Map>{
          {32, 48, 8, 8, 4, 4}, {16, 24, 8, 8, 4, 4}, {8, 12, 8, 6, 0, 3}, {4, 6, 4, 6, 0, 0}}));
  for (const auto& [patch, tokens] :
       {std::pair{8, 1536}, std::pair{4, 6144}, std::pair{2, 24576}}) {
    EXPECT_EQ(mosaic(patch).stages[0].tokens(), tokens);
    EXPECT_EQ(mosaic(patch).stride(), 8 * patch);
  }
  EXPECT_EQ(mosaic(4).tile_rows(), 2);
  EXPECT_EQ(mosaic(4).tile_columns(), 3);
}

// 13 bands are one row: of its 52 and 26 tokens 13 are nearest to 8.
TEST(SwinSpec, AMosaicOfAnyNumberOfBandsIsCutEvenly) {
  const auto mosaic = [](int64_t channels) {
    return maps_of(dimensions("swin_v2_100m", [&](ModelOptions& o) {
      o.patch = 8;
      o.channels = channels;
      o.swin.tokens = "per_band";
    }));
  };
  EXPECT_EQ(mosaic(13), (std::vector<Map>{{16, 208, 8, 8, 4, 4},
                                          {8, 104, 8, 8, 0, 4},
                                          {4, 52, 4, 13, 0, 6},
                                          {2, 26, 2, 13, 0, 6}}));
  for (int64_t channels = 1; channels <= 38; ++channels) {
    for (const Map& map : mosaic(channels)) {
      EXPECT_EQ(map.rows % map.window_rows, 0) << channels;
      EXPECT_EQ(map.columns % map.window_columns, 0) << channels;
      EXPECT_LE(map.window_columns, 37) << channels;
      EXPECT_EQ(map.shift_columns, map.window_columns == map.columns ? 0 : map.window_columns / 2)
          << channels;
    }
  }
}

TEST(SwinSpec, MasksSixtyPercentRoundedUp) {
  const SwinDimensions chips = dimensions("swin_v2_100m");
  EXPECT_EQ(chips.num_units(), 16);
  EXPECT_EQ(chips.num_masked(), 10);
  const SwinDimensions images =
      dimensions("swin_v2_base", [](ModelOptions& o) { o.image_size = 192, o.swin.window = 12; });
  EXPECT_EQ(images.num_units(), 36);
  EXPECT_EQ(images.num_masked(), 22);
}

TEST(SwinSpec, DecoderGivesTheStrideSquaredPerBand) {
  const auto channels = [](int64_t patch, const char* loss, const char* tokens) {
    return dimensions("swin_v2_100m",
                      [&](ModelOptions& o) {
                        o.patch = patch;
                        o.swin.loss = loss;
                        o.swin.tokens = tokens;
                      })
        .decoder_channels();
  };
  EXPECT_EQ(channels(8, "l1", "joint"), 24576);
  EXPECT_EQ(channels(4, "l1", "joint"), 6144);
  EXPECT_EQ(channels(2, "l1", "joint"), 1536);
  EXPECT_EQ(channels(4, "l1", "per_band"), 1024);
  EXPECT_EQ(channels(4, "cross_entropy", "joint"), 16384);
}

TEST(SwinSpec, UnitsInTheOrderOfTheForwardPass) {
  const SwinDimensions d = dimensions("swin_v2_pico");
  std::vector<std::string> names;
  for (const UnitSpec& unit : simmim_spec(d).units) names.push_back(unit.name);
  EXPECT_EQ(names, (std::vector<std::string>{"root", "layers.0.blocks.0", "layers.0.blocks.1",
                                             "layers.0.downsample", "layers.1.blocks.0",
                                             "layers.1.blocks.1", "decoder"}));
}

// performance of SwinV2-B: 24 blocks cost the same 2 (4 + 8) t w^2, attention 4 t n w.
TEST(SwinSpec, TrainingFlops) {
  const SwinDimensions d = dimensions("swin_v2_100m");
  const double blocks = 24 * 2.0 * 12 * 1024 * 128 * 128;
  // The last three stages halve t w twice and see 64, 64, 16 tokens.
  const double attention = 4.0 * 128 * 1024 * (2 * 64 + 2 * 64 / 2. + 18 * 64 / 4. + 2 * 16 / 8.);
  const double merging = 2.0 * 8 * (256 * 128. * 128 + 64 * 256. * 256 + 16 * 512. * 512);
  const double embed = 2.0 * 1024 * 96 * 128;
  const double decoder = 2.0 * 16 * 1024 * 6144;
  EXPECT_NEAR(
      simmim_spec(d).train_flops / (3 * (blocks + attention + merging + decoder) + 2 * embed), 1,
      1e-12);
}

// Golden positions of decay^(n + 1 - id) for [2, 2, 18, 2].
TEST(SwinSpec, LayersOfFineTuning) {
  const SwinDimensions d = dimensions("swin_v2_base");
  EXPECT_EQ(swin_layer_of(d, "patch_embed.norm.weight"), 0);
  EXPECT_EQ(swin_layer_of(d, "mask_token"), 0);
  EXPECT_EQ(swin_layer_of(d, "layers.0.blocks.0.attn.qkv.weight"), 1);
  EXPECT_EQ(swin_layer_of(d, "layers.0.downsample.norm.bias"), 2);
  EXPECT_EQ(swin_layer_of(d, "layers.2.blocks.17.norm1.weight"), 22);
  EXPECT_EQ(swin_layer_of(d, "layers.2.downsample.reduction.weight"), 22);
  EXPECT_EQ(swin_layer_of(d, "layers.3.blocks.1.mlp.fc1.weight"), 24);
  EXPECT_EQ(swin_layer_of(d, "norm.weight"), 25);
  EXPECT_EQ(swin_layer_of(d, "head.weight"), 25);
}

TEST(SwinSpec, AnotherSizeKeepsThePretrainedWindows) {
  ModelOptions options;
  options.name = "swin_v2_100m";
  const SwinDimensions d = resolve_swin(resized(options, 256));
  EXPECT_EQ(d.stages[3].window_rows, 8);
  EXPECT_EQ(d.stages[3].pretrained_rows, 4);
  EXPECT_EQ(d.stages[2].pretrained_columns, 8);
}

// The poster's accounting: 13.51 GiB of gradients are 3.63 G float32 values.
TEST(SwinSpec, MemoryInThePostersAccounting) {
  const Json row = memory_of(simmim_spec(dimensions("swin_v2_3_6b")), 64);
  constexpr double kGib = 1 << 30;
  EXPECT_NEAR(row["gradients"].get<double>() / kGib, 13.51, 0.005);
  EXPECT_EQ(row["optimizer"], row["gradients"]);
  EXPECT_EQ(row["batch"], 64 * 6 * 128 * 128 * 4);
  EXPECT_EQ(row["total"].get<int64_t>() + row["optimizer"].get<int64_t>(),
            row["total_adamw"].get<int64_t>());
  EXPECT_EQ(memory_table(32).size(), model_names().size());
}

void expect_refused(const std::function<void(ModelOptions&)>& change, const std::string& message) {
  try {
    dimensions("swin_v2_100m", change);
    FAIL() << message;
  } catch (const UsageError& error) {
    EXPECT_NE(error.message().find(message), std::string::npos) << error.message();
  }
}

TEST(SwinSpec, RefusesWhatDoesNotFit) {
  expect_refused([](ModelOptions& o) { o.image_size = 96; }, "stage 1 has 12 tokens a side");
  expect_refused([](ModelOptions& o) { o.patch = 3; }, "image_size 128 cannot be divided");
  expect_refused([](ModelOptions& o) { o.swin.mask_unit = 48; }, "swin.mask_unit 48");
  expect_refused([](ModelOptions& o) { o.depth = 12; }, "takes no model.depth");
  expect_refused([](ModelOptions& o) { o.swin.target_window = 46; }, "is even");
  expect_refused([](ModelOptions& o) { o.swin.masks = "per_band"; }, "share their tokens");
  expect_refused([](ModelOptions& o) { o.swin.mask_ratio = 1; }, "masks 16 of 16");
  expect_refused([](ModelOptions& o) { o.swin.pretrained_windows = {8, 8}; }, "2 values for 4");
  ModelOptions vit;
  vit.swin.window = 7;
  EXPECT_THROW(resolve(vit), UsageError);
  vit.name = "swin_v2_tiny";
  EXPECT_THROW(resolve(vit), UsageError);
}

}  // namespace
}  // namespace swath::models
