#include "data/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "data/statistics.h"
#include "data/test_files.h"
#include "data/transform.h"

namespace swath::data {
namespace {

// A record of counts, some of which are codes, with scales and one band in kelvin.
struct Chip {
  int64_t side;
  int64_t bands;
  std::vector<uint16_t> counts;
  std::shared_ptr<Calibration> calibration = std::make_shared<Calibration>();
  Normalization normalization;

  Chip(int64_t chip_side, int64_t chip_bands, uint64_t seed, bool has_codes = true)
      : side(chip_side),
        bands(chip_bands),
        counts(test::random_pixels<uint16_t>(chip_side * chip_side * chip_bands, seed, 32768)) {
    for (size_t i = 0; has_codes && i < counts.size(); i += 37) {
      counts[i] = static_cast<uint16_t>(65535 - i % 9);
    }
    for (int64_t band = 0; band < bands; ++band) {
      BandCalibration own{0.001 * static_cast<double>(band + 1), 100.0 * static_cast<double>(band),
                          std::nullopt};
      if (band == 2) own.to_temperature = PlanckInverse{4e5, 1300, 0.999, 0.13};
      calibration->bands.push_back(own);
      normalization.mean.push_back(band == 2 ? 250 : 15 * static_cast<double>(band + 1));
      normalization.standard_deviation.push_back(9 + static_cast<double>(band));
    }
  }

  ImageSource source() const {
    ImageSource source;
    source.name = "chip";
    source.bytes = test::bytes_of(counts);
    ImageInfo info;
    info.format = "RECORD";
    info.width = info.height = side;
    info.bands = bands;
    info.type = PixelType::kUint16;
    source.raw = info;
    source.calibration = calibration;
    return source;
  }
};

struct Result {
  std::vector<float> values;
  std::unique_ptr<bool[]> valid;
};

Result apply(const Chip& chip, const TransformOptions& options, uint64_t seed) {
  const auto channels =
      options.bands.empty() ? chip.bands : static_cast<int64_t>(options.bands.size());
  Normalization normalization = chip.normalization;
  if (!options.bands.empty()) {
    normalization = {};
    for (const int64_t band : options.bands) {
      normalization.mean.push_back(chip.normalization.mean[static_cast<size_t>(band)]);
      normalization.standard_deviation.push_back(
          chip.normalization.standard_deviation[static_cast<size_t>(band)]);
    }
  }
  const Transform transform(options, normalization);
  const auto size = static_cast<size_t>(channels * options.size * options.size);
  Result result{std::vector<float>(size), std::make_unique<bool[]>(size)};
  Random random(seed, RandomPurpose::kTest);
  transform.apply(chip.source(), random, result.values.data(), result.valid.get());
  return result;
}

TEST(Calibration, OnePassGivesWhatDecodingAndNormalisingGive) {
  // Sides that are no multiple of eight, fewer and more bands than one block, and single bands.
  for (const auto& [side, bands] :
       {std::pair<int64_t, int64_t>{16, 6}, {13, 6}, {9, 3}, {21, 11}, {8, 4}, {7, 3}}) {
    const Chip chip(side, bands, 5);
    for (const std::vector<int64_t>& selection :
         {std::vector<int64_t>{}, std::vector<int64_t>{2, 0}, std::vector<int64_t>{1}}) {
      for (const bool dihedral : {false, true}) {
        for (uint64_t seed = 0; seed < 8; ++seed) {
          TransformOptions options;
          options.kind = "none";
          options.size = side;
          options.dihedral = dihedral;
          options.bands = selection;
          const Result found = apply(chip, options, seed);
          // By the way that does not know of records: values, then planes.
          Image image = decode_image(chip.source());
          ASSERT_EQ(image.type, PixelType::kFloat32);
          const auto* values = image.as<float>();
          std::vector<double> expected;
          Random random(seed, RandomPurpose::kTest);
          Orientation turn;
          if (dihedral) {
            const uint64_t choice = random.below(8);
            turn = {(choice & 4) != 0, (choice & 2) != 0, (choice & 1) != 0};
          } else {
            turn.mirror_columns = random.uniform() < 0.5;
          }
          const auto count = selection.empty() ? bands : static_cast<int64_t>(selection.size());
          for (int64_t i = 0; i < count; ++i) {
            const int64_t band = selection.empty() ? i : selection[static_cast<size_t>(i)];
            const auto b = static_cast<size_t>(band);
            for (int64_t row = 0; row < side; ++row) {
              for (int64_t column = 0; column < side; ++column) {
                int64_t r = turn.mirror_rows ? side - 1 - row : row;
                int64_t c = turn.mirror_columns ? side - 1 - column : column;
                if (turn.transpose) std::swap(r, c);
                const float value = values[(r * side + c) * bands + band];
                const auto place = static_cast<size_t>((i * side + row) * side + column);
                ASSERT_EQ(found.valid[place], !std::isnan(value)) << place;
                const double normal =
                    std::isnan(value) ? 0
                                      : (static_cast<double>(value) - chip.normalization.mean[b]) /
                                            chip.normalization.standard_deviation[b];
                // A few roundings of float32, of the terms whose difference the result is.
                const double terms =
                    std::isnan(value) ? 0
                                      : (std::abs(value) + std::abs(chip.normalization.mean[b])) /
                                            chip.normalization.standard_deviation[b];
                const double rounding = std::numeric_limits<float>::epsilon();
                ASSERT_NEAR(found.values[place], normal, 4 * rounding * (1 + terms))
                    << band << " " << side;
              }
            }
          }
        }
      }
    }
  }
}

TEST(Calibration, ResampledChipsLeaveOutWhatMissingPixelsTouch) {
  Chip chip(32, 3, 7, false);
  // Constant values: whatever is valid must stay what it is, whatever its neighbours lack.
  for (uint16_t& count : chip.counts) count = 20000;
  for (int64_t row = 10; row < 14; ++row)
    chip.counts[static_cast<size_t>((row * 32 + 12) * 3)] = 65535;
  TransformOptions options;
  options.kind = "center_crop";
  options.size = 24;
  options.resize_ratio = 1;
  const Result found = apply(chip, options, 1);
  const double expected = (0.001 * 20000 - 15) / 9;
  constexpr size_t kPlane = 576;  // 24 x 24
  int64_t missing = 0;
  for (size_t i = 0; i < kPlane; ++i) {
    if (found.valid[i]) {
      ASSERT_NEAR(found.values[i], expected, 2e-3) << i;
    } else {
      ASSERT_EQ(found.values[i], 0.0F);
      ++missing;
    }
  }
  // The hole and the reach of the bicubic filter around it; nothing in the other bands.
  EXPECT_GE(missing, 3);
  EXPECT_LE(missing, 9 * 6);
  for (size_t i = kPlane; i < 3 * kPlane; ++i) ASSERT_TRUE(found.valid[i]);
}

TEST(Calibration, MissingValuesAreAnErrorForWhoDoesNotAskForThem) {
  const Chip chip(8, 3, 3);
  TransformOptions options;
  options.kind = "none";
  options.size = 8;
  const Transform transform(options, chip.normalization);
  std::vector<float> out(192);
  Random random(1, RandomPurpose::kTest);
  EXPECT_CONTAINS(
      test::message_of<BadSample>([&] { transform.apply(chip.source(), random, out.data()); }),
      "nan");
}

TEST(Calibration, StatisticsLeaveMissingValuesOut) {
  const Chip chip(12, 3, 9);
  const ImageSource source = chip.source();
  ImageReader reader(source);
  Image scratch;
  BandStatistics statistics;
  statistics.add(reader, {}, "chip", &scratch);
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 1; i < chip.counts.size(); i += 3) {
    if (chip.counts[i] > 32767) continue;
    sum += 0.002 * (chip.counts[i] - 100.0);
    ++count;
  }
  EXPECT_LT(count, 144);
  EXPECT_NEAR(statistics.mean()[1], sum / static_cast<double>(count), 1e-4);
  // The counts travel, and merging weighs by them.
  const BandStatistics again = BandStatistics::from_json(statistics.to_json(), "test");
  EXPECT_EQ(again.variance(), statistics.variance());
  BandStatistics twice = statistics;
  twice.merge(again);
  EXPECT_NEAR(twice.mean()[1], statistics.mean()[1], 1e-9);
  EXPECT_NEAR(twice.variance()[0], statistics.variance()[0], 1e-6);
}

}  // namespace
}  // namespace swath::data
