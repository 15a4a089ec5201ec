#include "data/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "data/image_codec.h"

namespace swath::data {
namespace {

constexpr int64_t kStripBytes = 256'000'000;

struct Moments {
  int64_t pixels = 0;
  double mean = 0;
  double squares = 0;
  double minimum = 0;
  double maximum = 0;
};

// Two passes: the sum of squares around the mean loses nothing when the mean is large.
template <class T>
Moments moments_of_band(const T* values, int64_t pixels, int64_t bands) {
  Moments moments;
  moments.pixels = pixels;
  double sum = 0;
  T minimum = values[0];
  T maximum = values[0];
  for (int64_t i = 0; i < pixels; ++i) {
    const T value = values[i * bands];
    sum += static_cast<double>(value);
    minimum = std::min(minimum, value);
    maximum = std::max(maximum, value);
  }
  moments.mean = sum / static_cast<double>(pixels);
  for (int64_t i = 0; i < pixels; ++i) {
    const double distance = static_cast<double>(values[i * bands]) - moments.mean;
    moments.squares += distance * distance;
  }
  moments.minimum = static_cast<double>(minimum);
  moments.maximum = static_cast<double>(maximum);
  return moments;
}

// The band's values that are there, next to each other.
std::vector<float> present_values(const Image& image, int64_t band) {
  std::vector<float> present;
  present.reserve(static_cast<size_t>(image.width * image.height));
  const float* values = image.as<float>() + band;
  for (int64_t i = 0; i < image.width * image.height; ++i) {
    if (!std::isnan(values[i * image.bands])) present.push_back(values[i * image.bands]);
  }
  return present;
}

Moments moments_of(const Image& image, int64_t band) {
  const int64_t pixels = image.width * image.height;
  switch (image.type) {
    case PixelType::kUint8:
      return moments_of_band(image.as<uint8_t>() + band, pixels, image.bands);
    case PixelType::kUint16:
      return moments_of_band(image.as<uint16_t>() + band, pixels, image.bands);
    case PixelType::kInt16:
      return moments_of_band(image.as<int16_t>() + band, pixels, image.bands);
    case PixelType::kFloat32:
      break;
  }
  return moments_of_band(image.as<float>() + band, pixels, image.bands);
}

}  // namespace

void BandStatistics::check_bands(int64_t found, const std::string& name) const {
  if (images_ == 0 || found == bands()) return;
  throw_bad_image(name, fmt::format("has {} bands, the images before it have {}", found, bands()),
                  "select bands that all images have, or leave others out with `--skip-bad`.");
}

int64_t BandStatistics::pixels() const {
  return pixels_.empty() ? 0 : *std::max_element(pixels_.begin(), pixels_.end());
}

void BandStatistics::add(const Image& image, const std::string& name, bool has_missing) {
  check_bands(image.bands, name);
  BandStatistics one;
  one.images_ = 1;
  for (int64_t band = 0; band < image.bands; ++band) {
    Moments moments;
    if (has_missing) {
      const std::vector<float> present = present_values(image, band);
      if (!present.empty()) {
        moments = moments_of_band(present.data(), static_cast<int64_t>(present.size()), 1);
      }
    } else {
      moments = moments_of(image, band);
    }
    // A NaN or infinite pixel makes the mean NaN or infinite; finite float32 cannot overflow it.
    if (!std::isfinite(moments.mean)) {
      throw_bad_image(name, fmt::format("has NaN or infinite pixels in band {}", band),
                      "fill missing values first, or leave such images out with `--skip-bad`.");
    }
    one.pixels_.push_back(moments.pixels);
    one.mean_.push_back(moments.mean);
    one.squares_.push_back(moments.squares);
    one.minimum_.push_back(moments.minimum);
    one.maximum_.push_back(moments.maximum);
  }
  merge(one);
}

void BandStatistics::add(ImageReader& reader, const DecodeOptions& options, const std::string& name,
                         Image* strip) {
  const ImageInfo& info = reader.info();
  const int64_t bands =
      options.bands.empty() ? info.bands : static_cast<int64_t>(options.bands.size());
  const int64_t row_bytes = info.width * bands * pixel_bytes(info.type);
  const int64_t rows =
      std::max<int64_t>(1, std::min(kStripBytes, options.memory_limit_bytes) / row_bytes);
  BandStatistics one;
  DecodeOptions part = options;
  for (int64_t top = 0; top < info.height; top += rows) {
    part.region = Region{0, top, info.width, std::min(rows, info.height - top)};
    reader.read(part, strip);
    one.add(*strip, name, info.has_missing);
  }
  one.images_ = 1;
  check_bands(one.bands(), name);
  merge(one);
}

void BandStatistics::merge(const BandStatistics& other) {
  if (other.images_ == 0) return;
  if (images_ == 0) {
    *this = other;
    return;
  }
  if (other.bands() != bands()) {
    throw Error(fmt::format("statistics: cannot merge {} bands with {}.", bands(), other.bands()));
  }
  for (size_t band = 0; band < mean_.size(); ++band) {
    if (other.pixels_[band] == 0) continue;
    if (pixels_[band] == 0) {
      minimum_[band] = other.minimum_[band];
      maximum_[band] = other.maximum_[band];
    }
    const auto ours = static_cast<double>(pixels_[band]);
    const auto theirs = static_cast<double>(other.pixels_[band]);
    const double distance = other.mean_[band] - mean_[band];
    mean_[band] += distance * theirs / (ours + theirs);
    squares_[band] += other.squares_[band] + distance * distance * ours * theirs / (ours + theirs);
    minimum_[band] = std::min(minimum_[band], other.minimum_[band]);
    maximum_[band] = std::max(maximum_[band], other.maximum_[band]);
    pixels_[band] += other.pixels_[band];
  }
  images_ += other.images_;
}

std::vector<double> BandStatistics::variance() const {
  std::vector<double> variance;
  for (size_t band = 0; band < squares_.size(); ++band) {
    variance.push_back(squares_[band] / static_cast<double>(std::max<int64_t>(1, pixels_[band])));
  }
  return variance;
}

Normalization BandStatistics::normalization() const {
  Normalization normalization{mean_, variance()};
  for (double& value : normalization.standard_deviation) value = std::sqrt(value);
  return normalization;
}

Json BandStatistics::to_json() const {
  const Normalization normal = normalization();
  // One number where all bands have as many.
  Json pixels = BandStatistics::pixels();
  if (std::count(pixels_.begin(), pixels_.end(), BandStatistics::pixels()) != bands()) {
    pixels = pixels_;
  }
  return {{"images", images_},   {"pixels_per_band", pixels},
          {"mean", mean_},       {"standard_deviation", normal.standard_deviation},
          {"squares", squares_}, {"minimum", minimum_},
          {"maximum", maximum_}};
}

BandStatistics BandStatistics::from_json(const Json& json, const std::string& origin) {
  BandStatistics statistics;
  try {
    json.at("images").get_to(statistics.images_);
    json.at("mean").get_to(statistics.mean_);
    const Json& pixels = json.at("pixels_per_band");
    if (pixels.is_array()) {
      pixels.get_to(statistics.pixels_);
    } else {
      statistics.pixels_.assign(statistics.mean_.size(), pixels.get<int64_t>());
    }
    json.at("squares").get_to(statistics.squares_);
    json.at("minimum").get_to(statistics.minimum_);
    json.at("maximum").get_to(statistics.maximum_);
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: these are no band statistics: {}.", origin, error.what()),
                "compute them again.");
  }
  const size_t bands = statistics.mean_.size();
  if (statistics.pixels_.size() != bands || statistics.squares_.size() != bands ||
      statistics.minimum_.size() != bands || statistics.maximum_.size() != bands ||
      (bands == 0) != (statistics.images_ == 0)) {
    throw Error(fmt::format("{}: band statistics of {} means, {} variances.", origin, bands,
                            statistics.squares_.size()),
                "compute them again.");
  }
  return statistics;
}

void BandStatistics::save(const std::filesystem::path& path) const {
  write_file_atomically(path, to_json().dump(2) + "\n");
}

BandStatistics BandStatistics::load(const std::filesystem::path& path) {
  Json json;
  try {
    json = Json::parse(read_file(path));
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: not JSON: {}.", path.string(), error.what()),
                "compute the statistics again.");
  }
  return from_json(json, path.string());
}

}  // namespace swath::data
