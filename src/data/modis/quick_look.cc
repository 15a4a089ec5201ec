#include "data/modis/quick_look.h"

#include <algorithm>
#include <array>

#include "data/modis/granule_table.h"

namespace swath::data::modis {
namespace {

constexpr uint16_t kLargestCount = 32767;
constexpr std::array<uint8_t, 3> kNoValue = {48, 16, 64};
constexpr std::array<uint8_t, 3> kFrame = {255, 214, 0};

struct Range {
  double low = 0;
  double high = 1;
};

Range range_of(const std::vector<uint16_t>& counts, int64_t columns, int64_t rows) {
  std::vector<uint16_t> valid;
  for (int64_t row = 0; row < rows; row += kQuickLookStep) {
    for (int64_t column = 0; column < columns; column += kQuickLookStep) {
      const uint16_t count = counts[static_cast<size_t>(row * columns + column)];
      if (count <= kLargestCount) valid.push_back(count);
    }
  }
  if (valid.empty()) return {};
  const auto percentile = [&](size_t percent) {
    const auto place =
        valid.begin() + static_cast<std::ptrdiff_t>((valid.size() - 1) * percent / 100);
    std::nth_element(valid.begin(), place, valid.end());
    return static_cast<double>(*place);
  };
  const double low = percentile(2);
  return {low, std::max(low + 1, percentile(98))};
}

}  // namespace

Image draw_quick_look(const std::vector<QuickLookBand>& red_green_blue, int64_t rows,
                      int64_t columns, const std::vector<std::pair<int64_t, int64_t>>& chips,
                      int64_t size) {
  Image image;
  image.height = (rows + kQuickLookStep - 1) / kQuickLookStep;
  image.width = (columns + kQuickLookStep - 1) / kQuickLookStep;
  image.bands = 3;
  image.pixels.resize(static_cast<size_t>(image.height * image.width * 3));
  auto* pixels = image.as<uint8_t>();
  std::array<Range, 3> ranges;
  for (size_t band = 0; band < 3; ++band) {
    ranges[band] = range_of(*red_green_blue[band].counts, columns, rows);
  }
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      uint8_t* pixel = pixels + (y * image.width + x) * 3;
      bool is_valid = true;
      for (size_t band = 0; band < 3; ++band) {
        const uint16_t count =
            (*red_green_blue[band]
                  .counts)[static_cast<size_t>(y * kQuickLookStep * columns + x * kQuickLookStep)];
        is_valid = is_valid && count <= kLargestCount;
        double share = (count - ranges[band].low) / (ranges[band].high - ranges[band].low);
        if (red_green_blue[band].is_emissive) share = 1 - share;
        pixel[band] = static_cast<uint8_t>(255 * std::clamp(share, 0.0, 1.0));
      }
      if (!is_valid) std::copy(kNoValue.begin(), kNoValue.end(), pixel);
    }
  }
  const auto paint = [&](int64_t y, int64_t x) {
    if (y >= image.height || x >= image.width) return;
    std::copy(kFrame.begin(), kFrame.end(), pixels + (y * image.width + x) * 3);
  };
  const int64_t side = size / kQuickLookStep;
  for (const auto& [row, column] : chips) {
    const int64_t top = row / kQuickLookStep;
    const int64_t left = column / kQuickLookStep;
    // One pixel inside, so that neighbours stay apart.
    for (int64_t i = 1; i + 1 < side; ++i) {
      paint(top + 1, left + i);
      paint(top + side - 2, left + i);
      paint(top + i, left + 1);
      paint(top + i, left + side - 2);
    }
  }
  return image;
}

}  // namespace swath::data::modis
