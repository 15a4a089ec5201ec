#include "data/missing_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/log.h"

namespace swath::data {
namespace {
constexpr size_t kExamples = 5;
}

void MissingNames::add(std::string_view name) {
  ++count_;
  if (examples_.size() < kExamples) examples_.emplace_back(name);
}

void MissingNames::report(const std::string& list_name, const std::string& where,
                          bool only_warn) const {
  if (count_ == 0) return;
  const std::string message = fmt::format("{} names {} files that are not in {}: {}{}", list_name,
                                          count_, where, fmt::join(examples_, ", "),
                                          count_ > static_cast<int64_t>(kExamples) ? " ..." : ".");
  if (!only_warn) {
    throw UsageError(message, "check the root folder, or leave them out with --skip-bad.");
  }
  log_warning(message + " They are left out.");
}

}  // namespace swath::data
