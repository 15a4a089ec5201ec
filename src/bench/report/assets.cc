#include "bench/report/assets.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "core/error.h"

namespace swath::bench {

// Defined by the embedded source: (stem, text).
extern const std::vector<std::pair<const char*, const char*>> kReportAssets;

std::string_view report_asset(std::string_view stem) {
  for (const auto& [name, text] : kReportAssets) {
    if (name == stem) return text;
  }
  throw Error(fmt::format("report: no file \"{}\" is embedded.", stem));
}

}  // namespace swath::bench
