// Mean and variance of every band of a data set, in one pass, mergeable.
//
// Source: Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983): each
// image is summed on its own around its own mean, then images and threads are merged. Double
// precision.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/image.h"
#include "data/transform.h"

namespace swath::data {

class BandStatistics {
 public:
  // Adds every pixel of `image`. The first image sets the number of bands. Throws BadSample naming
  // `name` on another number of bands and on NaN or infinite pixels; nothing is added then. With
  // `has_missing` (ImageInfo's), NaN is no pixel and is left out.
  void add(const Image& image, const std::string& name, bool has_missing = false);
  // Adds one image strip by strip, so that any size fits: rows of at most 256 MB, or of
  // options.memory_limit_bytes where that is less. `strip` is the memory to decode into; no region
  // and no jpeg_scale may be set. Throws as above and as ImageReader::read().
  void add(ImageReader& reader, const DecodeOptions& options, const std::string& name,
           Image* strip);
  // Throws Error when the band counts differ. Merging with nothing changes nothing.
  void merge(const BandStatistics& other);

  int64_t bands() const { return static_cast<int64_t>(mean_.size()); }
  int64_t images() const { return images_; }
  // Of the band with most; bands differ where values are missing.
  int64_t pixels() const;
  // In stored pixel units, 0 for a band without a pixel; the variance divides by the number of
  // pixels.
  const std::vector<double>& mean() const { return mean_; }
  std::vector<double> variance() const;
  const std::vector<double>& minimum() const { return minimum_; }
  const std::vector<double>& maximum() const { return maximum_; }
  Normalization normalization() const;

  // Exact: doubles survive the text. from_json throws Error on anything else than to_json writes.
  Json to_json() const;
  static BandStatistics from_json(const Json& json, const std::string& origin);
  void save(const std::filesystem::path& path) const;
  static BandStatistics load(const std::filesystem::path& path);

 private:
  void check_bands(int64_t found, const std::string& name) const;

  int64_t images_ = 0;
  std::vector<int64_t> pixels_;  // per band
  std::vector<double> mean_;
  std::vector<double> squares_;  // sum of squared distances from the mean
  std::vector<double> minimum_;
  std::vector<double> maximum_;
};

}  // namespace swath::data
