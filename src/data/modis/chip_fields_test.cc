#include "data/modis/chip_fields.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "data/dataset.h"
#include "data/normalization.h"
#include "data/shard_dataset.h"
#include "data/shard_set.h"
#include "data/test_files.h"

namespace swath::data::modis {
namespace {

using test::TemporaryDirectory;

// Two chips of a Terra and an Aqua granule with scales of their own.
void write_chips(const std::filesystem::path& folder) {
  const ChipFields fields({parse_band_slot("6/5"), parse_band_slot("32/31")});
  RecordLayout layout;
  layout.type = PixelType::kUint16;
  layout.height = layout.width = 4;
  layout.bands = 2;
  layout.band_info = {{"6/5"}, {"32/31"}};
  layout.field_names = fields.names();
  std::filesystem::create_directories(folder);
  RecordShardWriter writer(folder / "shard-00000.shard", layout);
  for (int i = 0; i < 2; ++i) {
    std::vector<uint16_t> counts(32, static_cast<uint16_t>(1000 * (i + 1)));
    counts[5] = 65533;
    ChipValues values;
    values.platform = static_cast<Platform>(i);
    values.row = 128.0 * i;
    values.bands = {{1, {0.01 * (i + 1), 0, 2e-5, 100}}, {1, {0.004, 250, kNoValue, kNoValue}}};
    const std::vector<double> packed = fields.pack(values);
    Record record;
    record.name = "chip" + std::to_string(i);
    record.bytes = test::bytes_of(counts);
    record.fields = packed;
    record.longitude_latitude = {12.5, -7.25};
    record.time = 1.3e9 + i;
    writer.add(record);
  }
  writer.finish();
  FinishedShards finished;
  finished.layout = std::move(layout);
  finished.records = 2;
  finished.shards.push_back({{"file", "shard-00000.shard"}, {"records", 2}});
  write_manifest(folder, finished);
}

TEST(ChipFields, RecordsCarryNumbersAndChipsAreReadInAUnit) {
  const TemporaryDirectory root;
  write_chips(root / "chips");
  DatasetOptions options;
  options.root = (root / "chips").string();
  const std::unique_ptr<Dataset> dataset = open_dataset(options);
  ASSERT_EQ(dataset->size(), 2);
  EXPECT_EQ(dataset->units(), "radiance");
  EXPECT_TRUE(dataset->has_missing());
  EXPECT_EQ(dataset->band_names(), (std::vector<std::string>{"6/5", "32/31"}));
  std::vector<std::byte> scratch;
  const Image terra = decode_image(dataset->source(0, &scratch));
  EXPECT_FLOAT_EQ(terra.as<float>()[0], 10.0F);
  EXPECT_FLOAT_EQ(terra.as<float>()[1], 3.0F);
  EXPECT_TRUE(std::isnan(terra.as<float>()[5]));
  EXPECT_FLOAT_EQ(decode_image(dataset->source(1, &scratch)).as<float>()[0], 40.0F);

  options.units = "brightness_temperature";
  const std::unique_ptr<Dataset> kelvin = open_dataset(options);
  const Image aqua = decode_image(kelvin->source(1, &scratch));
  EXPECT_FLOAT_EQ(aqua.as<float>()[0], 2e-5F * 1900);
  EXPECT_NEAR(aqua.as<float>()[1], planck_inverse(Platform::kAqua, "31")->temperature(0.004 * 1750),
              1e-4);

  const ShardDataset counts(root / "chips");
  EXPECT_EQ(counts.units(), "");
  EXPECT_EQ(decode_image(counts.source(1, &scratch)).as<uint16_t>()[0], 2000);
  const ChipFields fields(counts.layout());
  EXPECT_EQ(fields.unpack(counts.fields(1)).row, 128);
  EXPECT_EQ(counts.time(1), 1.3e9 + 1);
}

TEST(ChipFields, StatisticsAreThoseOfTheUnitWithoutMissingValues) {
  const TemporaryDirectory root;
  write_chips(root / "chips");
  DatasetOptions options;
  options.root = (root / "chips").string();
  const BandNormalization found = compute_normalization(*open_dataset(options), {});
  EXPECT_NEAR(found.statistics.mean()[0], 25, 1e-4);
  // 15 values of each chip: pixel 2 lacks its second band.
  EXPECT_NEAR(found.statistics.mean()[1], 0.5 * (3.0 + 7.0), 1e-6);
  EXPECT_EQ(found.statistics.to_json().at("pixels_per_band"), Json({32, 30}));
}

TEST(ChipFields, OtherShardsAreNoChips) {
  RecordLayout layout;
  layout.type = PixelType::kUint16;
  EXPECT_FALSE(ChipFields::describes(layout));
  EXPECT_CONTAINS(test::message_of<Error>([&] { const ChipFields fields(layout); }), "no chips");
}

}  // namespace
}  // namespace swath::data::modis
