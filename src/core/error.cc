#include "core/error.h"

namespace swath {

Error::Error(const std::string& message, const std::string& hint)
    : std::runtime_error(hint.empty() ? message : message + "\nHINT: " + hint),
      message_(message),
      hint_(hint) {}

}  // namespace swath
