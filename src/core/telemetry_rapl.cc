// Energy counters of processor packages as the Linux powercap interface shows them
// (Documentation/power/powercap in the kernel): intel-rapl:N is a zone of the machine, its file
// `name` says which; intel-rapl:N:M are parts of it and intel-rapl-mmio:N its second face, which
// would count the same energy twice.
#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/telemetry_sources.h"

namespace swath {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kZonePrefix = "intel-rapl:";

std::string read_line(const fs::path& path) {
  std::string text = read_file(path);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

int64_t read_number(const fs::path& path) {
  const std::string text = read_line(path);
  const auto number = parse_number(text);
  if (!number) throw Error(fmt::format("{} holds '{}', not a count.", path.string(), text));
  return *number;
}

// One package's counter, wrap-around taken out.
class Package {
 public:
  explicit Package(const fs::path& zone)
      : name_(read_line(zone / "name")),
        counter_path_(zone / "energy_uj"),
        range_microjoules_(read_number(zone / "max_energy_range_uj")),
        last_microjoules_(read_counter()) {}

  const std::string& name() const { return name_; }

  // Since this object was made. A counter that ran all around between two calls is not noticed:
  // its range lasts for minutes at full power.
  int64_t spent_microjoules() {
    const int64_t now = read_counter();
    spent_microjoules_ += now - last_microjoules_;
    if (now < last_microjoules_) spent_microjoules_ += range_microjoules_;
    last_microjoules_ = now;
    return spent_microjoules_;
  }

 private:
  int64_t read_counter() const {
    try {
      return read_number(counter_path_);
    } catch (const Error& error) {
      throw Error(error.message() +
                  " Only root may read it unless the administrator allows others.");
    }
  }

  std::string name_;
  fs::path counter_path_;
  int64_t range_microjoules_;  // where the counter goes back to zero
  int64_t last_microjoules_;
  int64_t spent_microjoules_ = 0;
};

class RaplSource final : public TelemetrySource {
 public:
  explicit RaplSource(std::vector<Package> packages) : packages_(std::move(packages)) {}

  std::string description() const override {
    std::string names;
    for (const Package& package : packages_) names += ", " + package.name();
    return "RAPL: whole machine" + names;
  }

  TelemetryReading read() override {
    int64_t microjoules = 0;
    for (Package& package : packages_) microjoules += package.spent_microjoules();
    TelemetryReading reading;
    reading.joules = static_cast<double>(microjoules) * 1e-6;
    return reading;
  }

 private:
  std::vector<Package> packages_;
};

// Zones of whole packages, in order. "psys" is the platform around them.
std::vector<fs::path> package_zones(const fs::path& powercap) {
  std::vector<fs::path> zones;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(powercap, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kZonePrefix)) continue;
    if (!parse_number(std::string_view(name).substr(kZonePrefix.size()))) continue;
    if (read_line(entry.path() / "name").starts_with("package")) zones.push_back(entry.path());
  }
  if (error) {
    throw Error(fmt::format("cannot list {}: {} (virtual machines and containers often hide it).",
                            powercap.string(), error.message()));
  }
  if (zones.empty()) {
    throw Error(fmt::format("{} shows no processor package.", powercap.string()));
  }
  std::sort(zones.begin(), zones.end());
  return zones;
}

}  // namespace

OpenedTelemetry open_rapl(const TelemetryOptions& options) {
  OpenedTelemetry opened;
  try {
    // All or nothing: the sum over some packages would pass for the machine's.
    std::vector<Package> packages;
    for (const fs::path& zone : package_zones(options.powercap_directory)) {
      packages.emplace_back(zone);
    }
    opened.has_devices = true;
    opened.source = std::make_unique<RaplSource>(std::move(packages));
  } catch (const Error& error) {
    opened.reason = "RAPL: " + error.message();
  }
  return opened;
}

}  // namespace swath
