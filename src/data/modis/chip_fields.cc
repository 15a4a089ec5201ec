#include "data/modis/chip_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace swath::data::modis {
namespace {

constexpr std::array<const char*, 14> kNames = {
    "platform",    "date",        "start",       "row",          "column",      "is_day",
    "sun_zenith",  "sun_azimuth", "view_zenith", "view_azimuth", "valid_share", "saturated_share",
    "ocean_share", "cloud_share"};
constexpr std::array<const char*, 5> kNamesOfBand = {
    "valid_share", "radiance_scale", "radiance_offset", "reflectance_scale", "reflectance_offset"};

}  // namespace

const std::vector<std::string>& unit_names() {
  static const std::vector<std::string> names = {"radiance", "reflectance",
                                                 "brightness_temperature"};
  return names;
}

ChipFields::ChipFields(std::vector<BandSlot> slots) : slots_(std::move(slots)) {}

ChipFields::ChipFields(const RecordLayout& layout) {
  for (const BandInfo& band : layout.band_info) slots_.push_back(parse_band_slot(band.name));
  if (!describes(layout) || layout.field_names != names()) {
    throw Error("shards: these records are no chips of granules.",
                "give a folder that `swath chips` wrote.");
  }
}

bool ChipFields::describes(const RecordLayout& layout) {
  return layout.type == PixelType::kUint16 && layout.field_names.size() > kNames.size() &&
         std::equal(kNames.begin(), kNames.end(), layout.field_names.begin());
}

std::vector<std::string> ChipFields::names() const {
  std::vector<std::string> names(kNames.begin(), kNames.end());
  for (const BandSlot& slot : slots_) {
    for (const char* name : kNamesOfBand) names.push_back(fmt::format("{} {}", name, slot.name()));
  }
  return names;
}

std::vector<double> ChipFields::pack(const ChipValues& values) const {
  std::vector<double> fields = {static_cast<double>(values.platform),
                                values.date,
                                values.start,
                                values.row,
                                values.column,
                                values.is_day,
                                values.sun_zenith,
                                values.sun_azimuth,
                                values.view_zenith,
                                values.view_azimuth,
                                values.valid_share,
                                values.saturated_share,
                                values.ocean_share,
                                values.cloud_share};
  for (const ChipValues::OfBand& band : values.bands) {
    fields.insert(fields.end(),
                  {band.valid_share, band.scales.radiance_scale, band.scales.radiance_offset,
                   band.scales.reflectance_scale, band.scales.reflectance_offset});
  }
  return fields;
}

ChipValues ChipFields::unpack(std::span<const double> fields) const {
  ChipValues values;
  values.platform = fields[0] == 0 ? Platform::kTerra : Platform::kAqua;
  double* const targets[] = {&values.date,        &values.start,           &values.row,
                             &values.column,      &values.is_day,          &values.sun_zenith,
                             &values.sun_azimuth, &values.view_zenith,     &values.view_azimuth,
                             &values.valid_share, &values.saturated_share, &values.ocean_share,
                             &values.cloud_share};
  for (size_t i = 0; i < std::size(targets); ++i) *targets[i] = fields[i + 1];
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    const auto own = fields.subspan(kNames.size() + slot * kNamesOfBand.size());
    values.bands.push_back({own[0], {own[1], own[2], own[3], own[4]}});
  }
  return values;
}

std::shared_ptr<const Calibration> ChipFields::calibration(std::span<const double> fields,
                                                           const std::string& units) const {
  const Platform platform = fields[0] == 0 ? Platform::kTerra : Platform::kAqua;
  auto calibration = std::make_shared<Calibration>();
  calibration->bands.reserve(slots_.size());
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    const auto own = fields.subspan(kNames.size() + slot * kNamesOfBand.size());
    const std::string& band = slots_[slot].of(platform);
    BandCalibration result{own[1], own[2], std::nullopt};
    if (is_emissive(band)) {
      if (units == "brightness_temperature") result.to_temperature = planck_inverse(platform, band);
    } else if (units != "radiance") {
      result.scale = own[3];
      result.offset = own[4];
    }
    calibration->bands.push_back(result);
  }
  return calibration;
}

}  // namespace swath::data::modis
