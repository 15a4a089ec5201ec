#include "data/crop.h"

#include <algorithm>
#include <cmath>

namespace swath::data {
namespace {

// Half to even, as Python rounds.
int64_t rounded(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

struct Size {
  int64_t width = 0;
  int64_t height = 0;
};

Size draw_size(int64_t width, int64_t height, const CropRange& range, Random& random) {
  const double area = static_cast<double>(width) * static_cast<double>(height) *
                      random.uniform(range.scale_min, range.scale_max);
  const double ratio =
      std::exp(random.uniform(std::log(range.ratio_min), std::log(range.ratio_max)));
  return {rounded(std::sqrt(area * ratio)), rounded(std::sqrt(area / ratio))};
}

Region place(int64_t width, int64_t height, const Size& size, Random& random) {
  const auto top = random.below(static_cast<uint64_t>(height - size.height + 1));
  const auto left = random.below(static_cast<uint64_t>(width - size.width + 1));
  return {static_cast<int64_t>(left), static_cast<int64_t>(top), size.width, size.height};
}

}  // namespace

Region random_resized_crop(int64_t width, int64_t height, const CropRange& range, Random& random) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    const Size size = draw_size(width, height, range, random);
    if (size.width > 0 && size.width <= width && size.height > 0 && size.height <= height) {
      return place(width, height, size, random);
    }
  }
  Size size{width, height};
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  if (ratio < range.ratio_min) {
    size.height = rounded(static_cast<double>(width) / range.ratio_min);
  } else if (ratio > range.ratio_max) {
    size.width = rounded(static_cast<double>(height) * range.ratio_max);
  }
  size.width = std::clamp<int64_t>(size.width, 1, width);
  size.height = std::clamp<int64_t>(size.height, 1, height);
  return {(width - size.width) / 2, (height - size.height) / 2, size.width, size.height};
}

Region single_draw_crop(int64_t width, int64_t height, const CropRange& range, Random& random) {
  Size size = draw_size(width, height, range, random);
  size.width = std::clamp<int64_t>(size.width, 1, width);
  size.height = std::clamp<int64_t>(size.height, 1, height);
  return place(width, height, size, random);
}

Region random_window(int64_t width, int64_t height, int64_t size, Random& random) {
  return place(width, height, {size, size}, random);
}

ResampleGeometry resize_and_center_crop(int64_t width, int64_t height, int64_t short_side,
                                        int64_t size) {
  // The long side is truncated, as torchvision does.
  const auto longer = [&](int64_t long_side, int64_t other) {
    return static_cast<int64_t>(static_cast<double>(short_side * long_side) /
                                static_cast<double>(other));
  };
  const int64_t output_width = width <= height ? short_side : longer(width, height);
  const int64_t output_height = height <= width ? short_side : longer(height, width);
  ResampleGeometry geometry = ResampleGeometry::whole(width, height, output_width, output_height);
  geometry.window = {rounded(static_cast<double>(output_width - size) / 2.0),
                     rounded(static_cast<double>(output_height - size) / 2.0), size, size};
  return geometry;
}

}  // namespace swath::data
