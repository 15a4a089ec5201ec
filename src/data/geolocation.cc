#include "data/geolocation.h"

#ifdef SWATH_WITH_GDAL
#include <ogr_spatialref.h>

#include <memory>
#endif

#include <cmath>
#include <string_view>

namespace swath::data {
namespace {

#ifdef SWATH_WITH_GDAL
std::optional<std::array<double, 2>> to_longitude_latitude(const Georeference& georeference,
                                                           double x, double y) {
  OGRSpatialReference from;
  OGRSpatialReference to;
  if (from.importFromWkt(georeference.coordinate_system.c_str()) != OGRERR_NONE ||
      to.importFromEPSG(4326) != OGRERR_NONE) {
    return std::nullopt;
  }
  from.SetAxisMappingStrategy(OAMS_TRADITIONAL_GIS_ORDER);
  to.SetAxisMappingStrategy(OAMS_TRADITIONAL_GIS_ORDER);
  struct Destroy {
    void operator()(OGRCoordinateTransformation* t) const {
      OGRCoordinateTransformation::DestroyCT(t);
    }
  };
  const std::unique_ptr<OGRCoordinateTransformation, Destroy> transformation(
      OGRCreateCoordinateTransformation(&from, &to));
  if (!transformation || !transformation->Transform(1, &x, &y)) return std::nullopt;
  return std::array<double, 2>{x, y};
}
#else
std::optional<std::array<double, 2>> to_longitude_latitude(const Georeference& georeference,
                                                           double x, double y) {
  const std::string_view system = georeference.coordinate_system;
  if (!system.starts_with("GEOG")) return std::nullopt;
  return std::array<double, 2>{x, y};
}
#endif

}  // namespace

std::optional<std::array<double, 2>> center_of(const ImageInfo& info) {
  if (!info.georeference || info.georeference->coordinate_system.empty()) return std::nullopt;
  const Georeference& georeference = *info.georeference;
  const double x =
      georeference.origin_x + georeference.step_x * static_cast<double>(info.width) / 2;
  const double y =
      georeference.origin_y + georeference.step_y * static_cast<double>(info.height) / 2;
  const auto place = to_longitude_latitude(georeference, x, y);
  if (!place || !std::isfinite((*place)[0]) || std::abs((*place)[1]) > 90) return std::nullopt;
  return place;
}

std::optional<std::array<double, 2>> longitude_latitude_of(const Dataset& dataset, int64_t index) {
  const Sample sample = dataset.sample(index);
  if (sample.longitude_latitude) return sample.longitude_latitude;
  std::vector<std::byte> scratch;
  const ImageSource source = dataset.source(index, &scratch);
  if (source.raw) return std::nullopt;
  return center_of(read_image_info(source));
}

}  // namespace swath::data
