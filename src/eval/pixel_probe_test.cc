#include "eval/pixel_probe.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/tensor/torch.h"

namespace swath::eval {
namespace {

TEST(PixelProbe, TargetsAreSharesOfLabelledPixels) {
  const at::Tensor labels = torch::tensor({{0, 0, 1, 1},  //
                                           {0, 255, 1, 2},
                                           {255, 255, 2, 2},
                                           {255, 255, 2, 2}},
                                          torch::kByte)
                                .unsqueeze(0);
  const at::Tensor targets = patch_targets(labels, 2, 3);
  const at::Tensor expected = torch::tensor(
      {{{0.75, 0.0, 0.0}, {0.0, 0.75, 0.25}, {0.0, 0.0, 0.0}, {0.0, 0.0, 1.0}}}, torch::kDouble);
  EXPECT_TRUE(torch::equal(targets, expected));
}

// Four patches per image, the token tells the class of the patch.
PixelSet toy(int64_t images, uint64_t seed, bool informative = true) {
  torch::manual_seed(seed);
  const at::Tensor classes = torch::randint(0, 3, {images, 4}, torch::kLong);
  PixelSet set;
  set.tokens_NLD = torch::randn({images, 4, 5}) * 0.3;
  if (informative) set.tokens_NLD.slice(2, 0, 3) += torch::one_hot(classes, 3) * 3;
  set.labels_NHW =
      classes.view({images, 2, 2}).to(torch::kByte).repeat_interleave(4, 1).repeat_interleave(4, 2);
  return set;
}

TEST(PixelProbe, LearnsAMapAndIgnoresTheUnlabelled) {
  PixelSet train = toy(60, 1);
  PixelSet test = toy(30, 2);
  test.labels_NHW.slice(1, 0, 1).fill_(255);  // the first row of pixels
  const PixelProbeResult result = run_pixel_probe(train, test, 3, {}, 0);
  EXPECT_EQ(result.confusion.total(), 30 * 7 * 8);
  // Bilinear interpolation blurs the borders between patches; inside, all is right.
  EXPECT_GT(result.pixel_accuracy, 0.9);
  EXPECT_GT(result.mean_iou, 0.8);
  const at::Tensor corner = result.predictions_NHW.slice(1, 7, 8).slice(2, 7, 8).flatten();
  EXPECT_TRUE(torch::equal(corner, test.labels_NHW.slice(1, 7, 8).slice(2, 7, 8).flatten()));
  const Json json = to_json(result, {"water", "forest", "city"});
  EXPECT_EQ(json["pixels"], 30 * 7 * 8);
  EXPECT_TRUE(json["iou"].contains("forest"));

  const PixelProbeResult noise = run_pixel_probe(toy(60, 3, false), toy(60, 4, false), 3, {}, 0);
  EXPECT_NEAR(noise.pixel_accuracy, 1.0 / 3, 3 * std::sqrt(2.0 / 9 / 240) + 0.03);
}

TEST(PixelProbe, RastersMustFitTheGrid) {
  PixelSet set = toy(10, 1);
  set.labels_NHW = set.labels_NHW.slice(1, 0, 7).slice(2, 0, 7);
  EXPECT_THROW(run_pixel_probe(set, set, 3, {}, 0), Error);
  PixelSet unlabelled = toy(10, 1);
  unlabelled.labels_NHW.fill_(255);
  EXPECT_THROW(run_pixel_probe(unlabelled, unlabelled, 3, {}, 0), Error);
}

}  // namespace
}  // namespace swath::eval
