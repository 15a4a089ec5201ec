#include "data/crop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace swath::data {
namespace {

bool inside(const Region& region, int64_t width, int64_t height) {
  return region.left >= 0 && region.top >= 0 && region.width > 0 && region.height > 0 &&
         region.left + region.width <= width && region.top + region.height <= height;
}

Random random_of(uint64_t sample) { return Random(17, RandomPurpose::kTest, 0, sample); }

TEST(Crop, AreaIsUniformAndRatioLogUniform) {
  // In a square of 1000, scale 0.2 to 0.5 always fits at the first draw: no retry bends the
  // distribution, and its moments are those of the two uniform draws.
  const CropRange range{.scale_min = 0.2, .scale_max = 0.5};
  constexpr int kDraws = 20000;
  double area = 0;
  double area_squared = 0;
  double ratio = 0;
  double ratio_squared = 0;
  double left = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    Random random = random_of(i);
    const Region region = random_resized_crop(1000, 1000, range, random);
    ASSERT_TRUE(inside(region, 1000, 1000));
    const auto width = static_cast<double>(region.width);
    const auto height = static_cast<double>(region.height);
    const double share = width * height / 1e6;
    const double log_ratio = std::log(width / height);
    area += share / kDraws;
    area_squared += share * share / kDraws;
    ratio += log_ratio / kDraws;
    ratio_squared += log_ratio * log_ratio / kDraws;
    left += static_cast<double>(region.left) / (1000 - width + 1) / kDraws;
  }
  // Five standard errors of the sample moments.
  const double limit = std::log(4.0 / 3.0);
  EXPECT_NEAR(area, 0.35, 5 * 0.0866 / std::sqrt(kDraws));
  EXPECT_NEAR(area_squared - area * area, 0.3 * 0.3 / 12, 2e-4);
  EXPECT_NEAR(ratio, 0, 5 * limit / std::sqrt(3.0 * kDraws));
  EXPECT_NEAR(ratio_squared, limit * limit / 3, 1e-3);
  EXPECT_NEAR(left, 0.5, 5 * 0.289 / std::sqrt(kDraws) + 1e-3);
}

TEST(Crop, WhenNothingFitsTheCentreWithinTheRatiosIsTaken) {
  Random random = random_of(0);
  // 10 x 1000: no crop of 90 % of the area has a ratio of 3/4 or more.
  const CropRange range{.scale_min = 0.9, .scale_max = 1.0};
  const Region tall = random_resized_crop(10, 1000, range, random);
  EXPECT_EQ(tall.width, 10);
  EXPECT_EQ(tall.height, 13);  // round(10 / 0.75)
  EXPECT_EQ(tall.left, 0);
  EXPECT_EQ(tall.top, (1000 - 13) / 2);
  const Region wide = random_resized_crop(1000, 10, range, random);
  EXPECT_EQ(wide.width, 13);  // round(10 * 4 / 3)
  EXPECT_EQ(wide.height, 10);
  // The whole image lies within the ratios, but areas over 1 never fit.
  const CropRange too_large{.scale_min = 1.5, .scale_max = 2.0};
  const Region whole = random_resized_crop(100, 90, too_large, random);
  EXPECT_EQ(whole.width, 100);
  EXPECT_EQ(whole.height, 90);
}

TEST(Crop, TheProbesSingleDrawIsClamped) {
  const CropRange range{.scale_min = 0.08, .scale_max = 1.0};
  int clamped = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    Random random = random_of(i);
    const Region region = single_draw_crop(100, 60, range, random);
    ASSERT_TRUE(inside(region, 100, 60));
    if (region.height == 60) {
      EXPECT_EQ(region.top, 0);
      ++clamped;
    }
  }
  // Heights over 60 need an area over 0.45 at ratio 3/4 and over 0.8 at 4/3: about 40 % of draws.
  EXPECT_GT(clamped, 500);
  EXPECT_LT(clamped, 1100);
}

TEST(Crop, AWindowTouchesEveryCorner) {
  bool first = false;
  bool last = false;
  for (uint64_t i = 0; i < 300; ++i) {
    Random random = random_of(i);
    const Region region = random_window(12, 9, 8, random);
    ASSERT_TRUE(inside(region, 12, 9));
    first = first || (region.left == 0 && region.top == 0);
    last = last || (region.left == 4 && region.top == 1);
  }
  EXPECT_TRUE(first);
  EXPECT_TRUE(last);
}

TEST(Crop, ResizeAndCenterCropRoundAsTorchvision) {
  // Hand-worked: int(256 * 253 / 247) = 262; (262 - 224) / 2 = 19.
  ResampleGeometry geometry = resize_and_center_crop(253, 247, 256, 224);
  EXPECT_EQ(geometry.output_width, 262);
  EXPECT_EQ(geometry.output_height, 256);
  EXPECT_EQ(geometry.window.left, 19);
  EXPECT_EQ(geometry.window.top, 16);
  // (257 - 224) / 2 = 16.5 rounds to the even 16; (259 - 224) / 2 = 17.5 to 18.
  geometry = resize_and_center_crop(256, 257, 256, 224);
  EXPECT_EQ(geometry.output_height, 257);
  EXPECT_EQ(geometry.window.top, 16);
  geometry = resize_and_center_crop(256, 259, 256, 224);
  EXPECT_EQ(geometry.window.top, 18);
}

}  // namespace
}  // namespace swath::data
