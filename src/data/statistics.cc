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
  double mean = 0;
  double squares = 0;
  double minimum = 0;
  double maximum = 0;
};

// Two passes: the sum of squares around the mean loses nothing when the mean is large.
template <class T>
Moments moments_of_band(const T* values, int64_t pixels, int64_t bands) {
  Moments moments;
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

void BandStatistics::add(const Image& image, const std::string& name) {
  check_bands(image.bands, name);
  BandStatistics one;
  one.images_ = 1;
  one.pixels_ = image.width * image.height;
  for (int64_t band = 0; band < image.bands; ++band) {
    const Moments moments = moments_of(image, band);
    // A NaN or infinite pixel makes the mean NaN or infinite; finite float32 cannot overflow it.
    if (!std::isfinite(moments.mean)) {
      throw_bad_image(name, fmt::format("has NaN or infinite pixels in band {}", band),
                      "fill missing values first, or leave such images out with `--skip-bad`.");
    }
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
    one.add(*strip, name);
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
  const auto ours = static_cast<double>(pixels_);
  const auto theirs = static_cast<double>(other.pixels_);
  for (size_t band = 0; band < mean_.size(); ++band) {
    const double distance = other.mean_[band] - mean_[band];
    mean_[band] += distance * theirs / (ours + theirs);
    squares_[band] += other.squares_[band] + distance * distance * ours * theirs / (ours + theirs);
    minimum_[band] = std::min(minimum_[band], other.minimum_[band]);
    maximum_[band] = std::max(maximum_[band], other.maximum_[band]);
  }
  images_ += other.images_;
  pixels_ += other.pixels_;
}

std::vector<double> BandStatistics::variance() const {
  std::vector<double> variance;
  for (const double squares : squares_) variance.push_back(squares / static_cast<double>(pixels_));
  return variance;
}

Normalization BandStatistics::normalization() const {
  Normalization normalization{mean_, variance()};
  for (double& value : normalization.standard_deviation) value = std::sqrt(value);
  return normalization;
}

Json BandStatistics::to_json() const {
  const Normalization normal = normalization();
  return {{"images", images_},   {"pixels_per_band", pixels_},
          {"mean", mean_},       {"standard_deviation", normal.standard_deviation},
          {"squares", squares_}, {"minimum", minimum_},
          {"maximum", maximum_}};
}

BandStatistics BandStatistics::from_json(const Json& json, const std::string& origin) {
  BandStatistics statistics;
  try {
    json.at("images").get_to(statistics.images_);
    json.at("pixels_per_band").get_to(statistics.pixels_);
    json.at("mean").get_to(statistics.mean_);
    json.at("squares").get_to(statistics.squares_);
    json.at("minimum").get_to(statistics.minimum_);
    json.at("maximum").get_to(statistics.maximum_);
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: these are no band statistics: {}.", origin, error.what()),
                "compute them again.");
  }
  const size_t bands = statistics.mean_.size();
  if (statistics.squares_.size() != bands || statistics.minimum_.size() != bands ||
      statistics.maximum_.size() != bands || (bands == 0) != (statistics.images_ == 0)) {
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
