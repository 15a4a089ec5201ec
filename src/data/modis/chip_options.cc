#include "data/modis/chip_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "data/modis/granule.h"

namespace swath::data::modis {
namespace {

const std::vector<std::string>& code_names() {
  static const std::vector<std::string> names = {
      "fill",          "missing",     "saturated",          "no_zero_point",   "dead_detector",
      "below_range",   "above_range", "aggregation_failed", "sector_rotation", "not_calibrated",
      "dead_subframe", "electronics", "reserved",           "door_closed",     "uncertain"};
  return names;
}

// Codes that say on which side of the range the value lies.
bool can_clamp(const std::string& code) {
  return code == "saturated" || code == "above_range" || code == "aggregation_failed" ||
         code == "below_range";
}

}  // namespace

void ChipOptions::describe(FieldTable& fields) {
  fields.add("bands", &bands,
             "bands of a chip, in order; 6/5 is Terra's 6 and Aqua's 5, whose band 6 is broken");
  fields.add("size", &size, "pixels a side of a chip").at_least(1);
  fields.add("stride", &stride, "pixels from a chip to the next; 0: its size, no overlap")
      .at_least(0);
  fields
      .add("invalid", &invalid,
           "chips with pixels without a value: drop them; mask: keep them, readers see what is "
           "missing; clamp: as mask, but saturated pixels get the largest value")
      .one_of({"drop", "mask", "clamp"});
  fields.add("codes", &codes,
             "other policies for single codes of the product, such as saturated=clamp or "
             "dead_detector=mask");
  fields
      .add("min_valid_share", &min_valid_share,
           "least share of pixels that have all bands, where some may be missing")
      .at_least(0)
      .at_most(1);
  fields
      .add(
          "max_uncertainty", &max_uncertainty,
          "values whose uncertainty index (0 to 15) is above it count as the code `uncertain`; 15: "
          "indexes are not read; 14 leaves out what the product calls unusable")
      .at_least(0)
      .at_most(15);
  fields
      .add("time", &time,
           "scans to use: day, night, any, or auto: day where a band is reflective, else any")
      .one_of({"auto", "day", "night", "any"});
  fields.add("max_sun_zenith", &max_sun_zenith, "degrees at the chip's centre").at_least(0);
  fields.add("max_view_zenith", &max_view_zenith, "degrees at the chip's centre").at_least(0);
  fields
      .add("min_ocean_share", &min_ocean_share,
           "least share of water pixels (MOD06 or MOD35); the cloud-class work has 0.999")
      .at_least(0)
      .at_most(1);
  fields
      .add("min_cloud_share", &min_cloud_share,
           "least share of cloudy pixels (MOD06 or MOD35); the cloud-class work has 0.3")
      .at_least(0)
      .at_most(1);
  fields.add("max_cloud_share", &max_cloud_share, "largest share of cloudy pixels")
      .at_least(0)
      .at_most(1);
}

std::vector<BandSlot> ChipOptions::slots() const {
  std::vector<BandSlot> slots;
  for (const std::string& band : bands) slots.push_back(parse_band_slot(band));
  return slots;
}

bool ChipOptions::needs_day() const {
  if (time != "auto") return time == "day";
  const std::vector<BandSlot> all = slots();
  // Band 26 is measured at night as well.
  return std::any_of(all.begin(), all.end(), [](const BandSlot& slot) {
    return !is_emissive(slot.terra) && slot.terra != "26";
  });
}

std::map<std::string, CodePolicy> ChipOptions::policies() const {
  const auto policy_of = [](const std::string& name, const std::string& code) {
    if (name == "drop") return CodePolicy::kDrop;
    if (name == "clamp" && can_clamp(code)) return CodePolicy::kClamp;
    return CodePolicy::kMask;
  };
  std::map<std::string, CodePolicy> policies;
  for (const std::string& code : code_names()) policies[code] = policy_of(invalid, code);
  for (const std::string& text : codes) {
    const size_t equals = text.find('=');
    const std::string code = text.substr(0, equals);
    const std::string policy = equals == std::string::npos ? "" : text.substr(equals + 1);
    if (!policies.contains(code) || (policy != "drop" && policy != "mask" && policy != "clamp")) {
      throw UsageError(fmt::format("chips: `{}` is no policy for a code.", text),
                       fmt::format("write CODE=drop, CODE=mask or CODE=clamp; codes: {}.",
                                   fmt::join(code_names(), ", ")));
    }
    if (policy == "clamp" && !can_clamp(code)) {
      throw UsageError(fmt::format("chips: `{}`: {} says nothing of the value.", text, code),
                       "clamp saturated, above_range, aggregation_failed or below_range.");
    }
    policies[code] = policy_of(policy, code);
  }
  return policies;
}

void ChipOptions::check() const {
  policies();
  const std::vector<BandSlot> all = slots();
  if (all.empty()) throw UsageError("chips: no band is selected.");
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (all[i].name() != all[j].name()) continue;
      throw UsageError(fmt::format("chips: band {} is selected twice.", all[i].name()));
    }
  }
  if (min_cloud_share > max_cloud_share) {
    throw UsageError(
        fmt::format("chips: cloud shares from {} to {}: the minimum is over the "
                    "maximum.",
                    min_cloud_share, max_cloud_share));
  }
}

}  // namespace swath::data::modis
