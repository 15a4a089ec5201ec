// The sources behind core/telemetry.h, one file each: telemetry_nvml.cc, telemetry_rocm_smi.cc,
// telemetry_rapl.cc; and what two of them share. Ask open_telemetry().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/telemetry.h"

namespace swath {

struct OpenedTelemetry {
  std::unique_ptr<TelemetrySource> source;
  std::string reason;        // why there is none
  bool has_devices = false;  // the machine has devices of this maker: no other source is meant
};

OpenedTelemetry open_nvml(int64_t index, const TelemetryOptions& options);
OpenedTelemetry open_rocm_smi(int64_t index, const TelemetryOptions& options);
OpenedTelemetry open_rapl(const TelemetryOptions& options);

// A shared library found at run time. It stays loaded until the process ends: such libraries start
// threads and register destructors of their own.
class TelemetryLibrary {
 public:
  // The first of `names` that loads. Throws Error with the reasons of all when none does.
  explicit TelemetryLibrary(const std::vector<std::string>& names);

  // A function of the library, or nullptr.
  template <typename Function>
  Function find(const char* name) const {
    return reinterpret_cast<Function>(find_symbol(name));
  }
  // Throws Error naming it when the library lacks it.
  template <typename Function>
  Function require(const char* name) const {
    return reinterpret_cast<Function>(require_symbol(name));
  }

 private:
  void* find_symbol(const char* name) const;
  void* require_symbol(const char* name) const;

  std::string name_;
  void* handle_ = nullptr;
};

// The entry number `index` of a list of visible devices, such as "2,GPU-5f0c,0". As the runtimes
// read it, the list ends before the first entry that names no device ("-1", "none"). Throws Error
// naming `variable` when it has no such entry.
std::string visible_device(const std::string& variable, std::string_view list, int64_t index);
// The number that text of digits alone says.
std::optional<int64_t> parse_number(std::string_view text);

}  // namespace swath
