// Fields of JSON that somebody else wrote: a missing one or one of another type is no error here.
#pragma once

#include <limits>
#include <string>

#include "core/json.h"

namespace swath::bench {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

// A number of a JSON object; NaN when it is missing, not a number or not finite.
double number_of(const Json& object, const char* key);
// A text of a JSON object; empty when it is missing. Numbers are given as JSON writes them.
std::string text_of(const Json& object, const char* key);
// The array or object of that name; an empty one when it is missing or something else.
const Json& array_of(const Json& object, const char* key);
const Json& object_of(const Json& object, const char* key);

}  // namespace swath::bench
