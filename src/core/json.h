// JSON as everybody knows it; keys keep the order in which they were written.
#pragma once

#include <nlohmann/json.hpp>

namespace swath {

using Json = nlohmann::ordered_json;

}  // namespace swath
