// For tests: small raw images in memory whose class is a pattern.
#pragma once

#include <fmt/format.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/random.h"
#include "data/dataset.h"

namespace swath::eval {

// uint8 images of `side` pixels and three bands. A class is the direction of a wave: mean and
// deviation of a band say little about it. The last class of four is told by its colour, too.
class ToyDataset : public data::Dataset {
 public:
  ToyDataset(int64_t per_class, int64_t num_classes, int64_t side, uint64_t seed)
      : side_(side), num_classes_(num_classes) {
    for (int64_t c = 0; c < num_classes; ++c) class_names_.push_back(fmt::format("class_{}", c));
    for (int64_t i = 0; i < per_class * num_classes; ++i) add_image(i % num_classes, seed, i);
  }

  int64_t size() const override { return static_cast<int64_t>(images_.size()); }
  data::Sample sample(int64_t index) const override {
    data::Sample sample;
    sample.id = static_cast<uint64_t>(index) * 7919 + 13;
    sample.label = index % num_classes_;
    sample.name =
        fmt::format("{}/image_{}.png", class_names_[static_cast<size_t>(sample.label)], index);
    return sample;
  }
  data::ImageSource source(int64_t index, std::vector<std::byte>*) const override {
    data::ImageSource source;
    source.name = sample(index).name;
    source.bytes = images_[static_cast<size_t>(index)];
    data::ImageInfo info;
    info.width = side_;
    info.height = side_;
    info.bands = 3;
    source.raw = info;
    return source;
  }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::string description() const override { return "toy images"; }

  void rename_classes(std::vector<std::string> names) { class_names_ = std::move(names); }

 private:
  void add_image(int64_t label, uint64_t seed, int64_t index) {
    Random random(seed, RandomPurpose::kTest, 0, static_cast<uint64_t>(index));
    constexpr std::array<std::array<double, 2>, 4> kDirections = {
        {{1, 0}, {0, 1}, {0.7, 0.7}, {0.7, -0.7}}};
    const auto direction = kDirections[static_cast<size_t>(label) % 4];
    const double phase = random.uniform(0, 6.28);
    std::vector<std::byte> pixels;
    for (int64_t y = 0; y < side_; ++y) {
      for (int64_t x = 0; x < side_; ++x) {
        const double wave = std::sin(phase + 1.6 * (direction[0] * static_cast<double>(x) +
                                                    direction[1] * static_cast<double>(y)));
        for (int band = 0; band < 3; ++band) {
          const double shift = label == 3 && band == 2 ? 40 : 0;
          const double value = 110 + 50 * wave + shift + 12 * random.normal();
          pixels.push_back(static_cast<std::byte>(std::min(255.0, std::max(0.0, value))));
        }
      }
    }
    images_.push_back(std::move(pixels));
  }

  std::vector<std::string> class_names_;
  int64_t side_;
  int64_t num_classes_;
  std::vector<std::vector<std::byte>> images_;
};

inline data::Normalization toy_normalization() { return {{110, 110, 120}, {40, 40, 45}}; }

}  // namespace swath::eval
