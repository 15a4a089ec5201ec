#include "data/clouds/chip_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace swath::data::clouds {
namespace {

constexpr double kEarthRadiusKm = 6371.0088;
constexpr int kGranuleMinutes = 5;

std::chrono::year_month_day calendar_day(const Granule& granule) {
  const std::chrono::sys_days first =
      std::chrono::year(granule.year()) / std::chrono::January / std::chrono::day(1);
  return first + std::chrono::days(granule.date % 1000 - 1);
}

bool is_date(int32_t date) {
  const int32_t most = std::chrono::year(date / 1000).is_leap() ? 366 : 365;
  return date / 1000 >= 1970 && date % 1000 >= 1 && date % 1000 <= most;
}

bool is_time(int32_t start) { return start >= 0 && start / 100 < 24 && start % 100 < 60; }

// Exactly `count` digits at the head of `text`; -1 when there are other characters.
int32_t digits(std::string_view text, size_t count) {
  if (text.size() < count) return -1;
  int32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = 10 * value + (text[i] - '0');
  }
  return value;
}

// Reads the digits at the head of `text` and takes them away; -1 when there are none.
int32_t take_number(std::string_view* text) {
  int32_t value = -1;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
  if (parsed.ec != std::errc() || value < 0) return -1;
  text->remove_prefix(static_cast<size_t>(parsed.ptr - text->data()));
  return value;
}

}  // namespace

std::optional<Platform> parse_platform(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (lower == "terra" || lower == "mod" || lower == "mod02") return Platform::kTerra;
  if (lower == "aqua" || lower == "myd" || lower == "myd02") return Platform::kAqua;
  return std::nullopt;
}

int32_t Granule::month() const {
  return static_cast<int32_t>(static_cast<unsigned>(calendar_day(*this).month()));
}

std::string Granule::text() const {
  return fmt::format("{} A{:07}.{:04}", platform_name(platform), date, start);
}

std::string Granule::name() const {
  return fmt::format("{}021KM.A{:07}.{:04}", platform == Platform::kTerra ? "MOD" : "MYD", date,
                     start);
}

std::string Granule::day_text() const {
  const std::chrono::year_month_day day = calendar_day(*this);
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
}

Granule granule_at(Platform platform, int year, int month, int day, int hour, int minute) {
  const std::chrono::year_month_day date = std::chrono::year(year) /
                                           std::chrono::month(static_cast<unsigned>(month)) /
                                           std::chrono::day(static_cast<unsigned>(day));
  const int32_t start = 100 * hour + minute / kGranuleMinutes * kGranuleMinutes;
  if (month < 1 || day < 1 || !date.ok() || hour < 0 || minute < 0 || minute > 59 ||
      !is_time(start)) {
    throw Error(fmt::format("{:04}-{:02}-{:02} {:02}:{:02} is no date and time.", year, month, day,
                            hour, minute));
  }
  const std::chrono::sys_days first = date.year() / std::chrono::January / std::chrono::day(1);
  const auto day_of_year = static_cast<int32_t>((std::chrono::sys_days(date) - first).count()) + 1;
  return {platform, year * 1000 + day_of_year, start};
}

std::optional<Granule> parse_granule(std::string_view text) {
  for (size_t at = text.find(".A"); at != std::string_view::npos; at = text.find(".A", at + 1)) {
    const std::string_view rest = text.substr(at + 2);
    const int32_t date = digits(rest, 7);
    if (date < 0 || rest.size() < 12 || rest[7] != '.') continue;
    const int32_t start = digits(rest.substr(8), 4);
    if (start < 0 || !is_date(date) || !is_time(start)) continue;
    // The product's name stands before it: MOD021KM, MYD021KM, MOD06_L2 ...
    const std::string_view before = text.substr(0, at);
    const size_t terra = before.rfind("MOD");
    const size_t aqua = before.rfind("MYD");
    if (terra == std::string_view::npos && aqua == std::string_view::npos) continue;
    const bool is_aqua =
        terra == std::string_view::npos || (aqua != std::string_view::npos && aqua > terra);
    return Granule{is_aqua ? Platform::kAqua : Platform::kTerra, date, start};
  }
  return std::nullopt;
}

std::optional<ChipPixel> parse_pixel(std::string_view name) {
  for (size_t at = name.rfind('r'); at != std::string_view::npos; at = name.rfind('r', at - 1)) {
    std::string_view rest = name.substr(at + 1);
    const int32_t row = take_number(&rest);
    if (rest.starts_with('_')) rest.remove_prefix(1);
    if (row >= 0 && rest.starts_with('c')) {
      rest.remove_prefix(1);
      const int32_t column = take_number(&rest);
      if (column >= 0) return ChipPixel{row, column};
    }
    if (at == 0) break;
  }
  return std::nullopt;
}

bool ChipPlace::has_position() const { return !std::isnan(latitude) && !std::isnan(longitude); }

double great_circle_km(double latitude_a, double longitude_a, double latitude_b,
                       double longitude_b) {
  constexpr double kRadians = std::numbers::pi / 180;
  // The haversine form keeps its digits for near places.
  const double north = std::sin((latitude_b - latitude_a) * kRadians / 2);
  const double east = std::sin((longitude_b - longitude_a) * kRadians / 2);
  const double h = north * north +
                   std::cos(latitude_a * kRadians) * std::cos(latitude_b * kRadians) * east * east;
  return 2 * kEarthRadiusKm * std::asin(std::sqrt(std::min(1.0, h)));
}

std::vector<ChipPlace> chip_places(const Dataset& dataset) {
  std::vector<ChipPlace> places;
  places.reserve(static_cast<size_t>(dataset.size()));
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const Sample sample = dataset.sample(i);
    const std::optional<Granule> granule = parse_granule(sample.name);
    if (!granule) {
      throw UsageError(
          fmt::format("{}: the name {} does not say from which granule the chip is.",
                      dataset.description(), sample.name),
          "cut chips with `swath chips`, or name them like MOD021KM.A2012123.1015/r00128c00256.");
    }
    ChipPlace place;
    place.granule = *granule;
    if (const std::optional<ChipPixel> pixel = parse_pixel(sample.name)) {
      place.row = pixel->row;
      place.column = pixel->column;
    }
    if (sample.longitude_latitude) {
      place.longitude = (*sample.longitude_latitude)[0];
      place.latitude = (*sample.longitude_latitude)[1];
    }
    places.push_back(place);
  }
  return places;
}

}  // namespace swath::data::clouds
