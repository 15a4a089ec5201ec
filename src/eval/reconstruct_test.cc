#include "eval/reconstruct.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "core/tensor/torch.h"
#include "eval/toy_dataset.h"
#include "models/registry.h"

namespace swath::eval {
namespace {
namespace fs = std::filesystem;

const uint8_t* pixel(const data::Image& image, int64_t x, int64_t y) {
  return image.as<uint8_t>() + (y * image.width + x) * 3;
}

TEST(Reconstruct, GridByHand) {
  // Two pixels high and wide, three bands; the first band runs from 0 to 3.
  const at::Tensor original = torch::tensor(
      {{{{0.0F, 1.0F}, {2.0F, 3.0F}}, {{5.0F, 5.0F}, {5.0F, 6.0F}}, {{0.0F, 0.0F}, {1.0F, 1.0F}}}});
  const at::Tensor reconstruction = original + 100;
  const at::Tensor removed = torch::tensor({{{true, false}, {false, false}}});
  ReconstructOptions options;
  options.low_percentile = 0;
  options.high_percentile = 100;
  options.zoom = 2;
  options.gap = 1;
  const data::Image grid = draw_grid(original, reconstruction, removed, options);
  EXPECT_EQ(grid.width, 3 * 5 + 1);
  EXPECT_EQ(grid.height, 5 + 1);
  EXPECT_EQ(pixel(grid, 0, 0)[0], 255);  // the gap
  EXPECT_EQ(pixel(grid, 1, 1)[0], 0);
  EXPECT_EQ(pixel(grid, 2, 2)[0], 0);   // enlarged
  EXPECT_EQ(pixel(grid, 3, 1)[0], 85);  // 1 / 3 of 255
  EXPECT_EQ(pixel(grid, 3, 3)[1], 255);
  EXPECT_EQ(pixel(grid, 1, 3)[2], 255);
  EXPECT_EQ(pixel(grid, 6, 1)[0], 128);   // removed
  EXPECT_EQ(pixel(grid, 8, 1)[0], 85);    // kept
  EXPECT_EQ(pixel(grid, 11, 1)[0], 255);  // far too bright: clipped

  options.rgb = {1};
  EXPECT_EQ(pixel(draw_grid(original, reconstruction, removed, options), 3, 3)[0], 255);
  options.rgb = {0, 7, 1};
  EXPECT_THROW(draw_grid(original, reconstruction, removed, options), UsageError);
  options.rgb = {0, 1};
  EXPECT_THROW(draw_grid(original, reconstruction, removed, options), UsageError);
}

TEST(Reconstruct, EachPictureHasItsOwnLevels) {
  // A bright picture from 0 to 100, a dark one from 0 to 40, and one that hardly differs: 49 to 51.
  const at::Tensor original = torch::tensor({{{{0.0F, 50.0F}, {100.0F, 100.0F}}},
                                             {{{0.0F, 20.0F}, {40.0F, 40.0F}}},
                                             {{{49.0F, 50.0F}, {51.0F, 51.0F}}}});
  ReconstructOptions options;
  options.low_percentile = 0;
  options.high_percentile = 100;
  options.zoom = 1;
  options.gap = 0;
  const data::Image grid =
      draw_grid(original, original, torch::zeros({3, 2, 2}, torch::kBool), options);
  EXPECT_EQ(pixel(grid, 1, 0)[0], 128);
  EXPECT_EQ(pixel(grid, 0, 1)[0], 255);
  EXPECT_EQ(pixel(grid, 1, 2)[0], 128);
  EXPECT_EQ(pixel(grid, 0, 3)[0], 255);
  EXPECT_EQ(pixel(grid, 0, 4)[0], 115);  // range 20 about 50: 9 / 20 of 255
  EXPECT_EQ(pixel(grid, 0, 5)[0], 140);
}

TEST(Reconstruct, WritesAPictureOfEachSample) {
  models::ModelOptions model;
  model.name = "vit_pico";
  model.width = 32;
  model.depth = 1;
  model.heads = 2;
  model.mlp = 64;
  model.patch = 4;
  model.image_size = 16;
  model.channels = 3;
  const auto mae = models::make_mae(model, 1);
  ReconstructInputs inputs;
  inputs.model = mae.get();
  inputs.dataset = std::make_shared<ToyDataset>(3, 4, 16, 1);
  inputs.normalization = toy_normalization();
  inputs.transform.kind = "none";
  inputs.transform.size = 16;
  ReconstructOptions options;
  options.samples = 3;
  const fs::path path = fs::path(testing::TempDir()) / "swath_reconstruct.png";
  fs::remove(path);
  const Json report = run_reconstruct(inputs, options, path);
  EXPECT_EQ(report["samples"].size(), 3U);
  EXPECT_TRUE(std::isfinite(report["mean_squared_error"].get<double>()));
  const data::Image image = data::decode_image(data::ImageSource::from_file(path));
  EXPECT_EQ(image.width, 3 * 132 + 4);
  EXPECT_EQ(image.height, 3 * 132 + 4);
  // Three quarters of the middle column are gray.
  int64_t gray = 0;
  for (int64_t y = 4; y < 132; ++y) {
    for (int64_t x = 136; x < 264; ++x) {
      const uint8_t* value = pixel(image, x, y);
      gray += value[0] == 128 && value[1] == 128 && value[2] == 128;
    }
  }
  EXPECT_NEAR(static_cast<double>(gray) / (128 * 128), 0.75, 0.01);
  EXPECT_EQ(run_reconstruct(inputs, options, path), report);
}

}  // namespace
}  // namespace swath::eval
