#include "bench/report/json_fields.h"

#include <cmath>

namespace swath::bench {

double number_of(const Json& object, const char* key) {
  if (!object.is_object()) return kNoNumber;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return kNoNumber;
  const auto value = found->get<double>();
  return std::isfinite(value) ? value : kNoNumber;
}

std::string text_of(const Json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& array_of(const Json& object, const char* key) {
  static const Json empty = Json::array();
  if (!object.is_object()) return empty;
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : empty;
}

const Json& object_of(const Json& object, const char* key) {
  static const Json empty = Json::object();
  if (!object.is_object()) return empty;
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : empty;
}

}  // namespace swath::bench
