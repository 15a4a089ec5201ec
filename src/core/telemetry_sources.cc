#include "core/telemetry_sources.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <charconv>

#include "core/error.h"

namespace swath {

TelemetryLibrary::TelemetryLibrary(const std::vector<std::string>& names) {
  std::string reasons;
  for (const std::string& name : names) {
    handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      name_ = name;
      return;
    }
    reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", dlerror());
  }
  throw Error(fmt::format("cannot load it ({}).", reasons));
}

void* TelemetryLibrary::find_symbol(const char* name) const { return dlsym(handle_, name); }

void* TelemetryLibrary::require_symbol(const char* name) const {
  void* symbol = find_symbol(name);
  if (symbol == nullptr) throw Error(fmt::format("{} lacks the function {}.", name_, name));
  return symbol;
}

std::optional<int64_t> parse_number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

std::string visible_device(const std::string& variable, std::string_view list, int64_t index) {
  std::string_view rest = list;
  for (int64_t position = 0;; ++position) {
    const size_t comma = rest.find(',');
    std::string_view entry = rest.substr(0, comma);
    while (entry.starts_with(' ')) entry.remove_prefix(1);
    while (entry.ends_with(' ')) entry.remove_suffix(1);
    const bool names_a_device =
        parse_number(entry) || entry.starts_with("GPU-") || entry.starts_with("MIG-");
    if (names_a_device && position == index) return std::string(entry);
    if (!names_a_device || comma == std::string_view::npos) {
      throw Error(fmt::format("{}={} names no device number {}.", variable, list, index));
    }
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace swath
