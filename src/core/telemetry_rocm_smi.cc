// AMD's ROCm System Management Interface. Prototypes and constants are those of its interface from
// ROCm 5 on; rocm_smi.h is not needed.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

#include "core/error.h"
#include "core/telemetry_sources.h"

namespace swath {
namespace {

constexpr int kSuccess = 0;
// Statuses of a quantity that the device, the driver or this user cannot have ...
constexpr int kNotSupported = 2;
constexpr int kFileError = 3;  // the driver has no such file
constexpr int kPermission = 4;
constexpr int kNotYetImplemented = 9;
constexpr int kNoData = 14;
// ... or not at this moment: another process reads.
constexpr int kInterrupt = 12;
constexpr int kBusy = 16;

constexpr int kMemoryOfTheDevice = 0;  // RSMI_MEM_TYPE_VRAM

std::vector<std::string> library_names(const TelemetryOptions& options) {
  if (!options.rocm_smi_libraries.empty()) return options.rocm_smi_libraries;
  std::vector<std::string> names;
  for (const char* version : {".8", ".7", ".6", ".5", ".1", ""}) {
    names.push_back(fmt::format("librocm_smi64.so{}", version));
  }
  if (const auto path = options.environment("ROCM_PATH")) {
    names.push_back(*path + "/lib/librocm_smi64.so");
  }
  names.emplace_back("/opt/rocm/lib/librocm_smi64.so");
  return names;
}

// The library, initialised; it counts users and shuts down with the last one.
class RocmSmi {
 public:
  explicit RocmSmi(const std::vector<std::string>& names) : library_(names) {
    status_string_ = library_.require<int (*)(int, const char**)>("rsmi_status_string");
    shut_down_ = library_.require<int (*)()>("rsmi_shut_down");
    const auto initialise = library_.require<int (*)(uint64_t)>("rsmi_init");
    get_count_ = library_.require<int (*)(uint32_t*)>("rsmi_num_monitor_devices");
    get_name_ = library_.require<int (*)(uint32_t, char*, size_t)>("rsmi_dev_name_get");
    get_pci_id_ = library_.require<int (*)(uint32_t, uint64_t*)>("rsmi_dev_pci_id_get");
    get_unique_id_ = library_.require<int (*)(uint32_t, uint64_t*)>("rsmi_dev_unique_id_get");
    get_busy_percent_ = library_.require<int (*)(uint32_t, uint32_t*)>("rsmi_dev_busy_percent_get");
    get_memory_usage_ =
        library_.require<int (*)(uint32_t, int, uint64_t*)>("rsmi_dev_memory_usage_get");
    // The first came with ROCm 6; the second is refused by the GPUs that came with it.
    get_power_ = library_.find<int (*)(uint32_t, uint64_t*, int*)>("rsmi_dev_power_get");
    get_average_power_ =
        library_.find<int (*)(uint32_t, uint32_t, uint64_t*)>("rsmi_dev_power_ave_get");
    get_energy_count_ =
        library_.find<int (*)(uint32_t, uint64_t*, float*, uint64_t*)>("rsmi_dev_energy_count_get");
    check(initialise(0), "rsmi_init");
  }
  ~RocmSmi() { shut_down_(); }
  RocmSmi(const RocmSmi&) = delete;
  RocmSmi& operator=(const RocmSmi&) = delete;

  int64_t count_devices() const {
    uint32_t count = 0;
    check(get_count_(&count), "rsmi_num_monitor_devices");
    return count;
  }

  std::string name(uint32_t device) const {
    std::array<char, 256> text{};
    const int status = get_name_(device, text.data(), text.size() - 1);
    return status == kSuccess ? text.data() : "GPU";
  }

  // Domain in the upper half, then 8 bits of bus, 5 of device, 3 of function.
  uint64_t pci_address(uint32_t device) const {
    uint64_t id = 0;
    check(get_pci_id_(device, &id), "rsmi_dev_pci_id_get");
    return id & 0xffffffff0000ffff;  // bits between them number partitions of one GPU
  }

  std::optional<uint64_t> unique_id(uint32_t device) const {
    return ask<uint64_t>([&](uint64_t* id) { return get_unique_id_(device, id); },
                         "rsmi_dev_unique_id_get");
  }

  // The library counts microwatts. A GPU that says zero measures nothing.
  std::optional<double> watts(uint32_t device) const {
    std::optional<uint64_t> microwatts;
    if (get_power_ != nullptr) {
      int type = 0;
      microwatts = ask<uint64_t>([&](uint64_t* power) { return get_power_(device, power, &type); },
                                 "rsmi_dev_power_get");
    }
    if (!microwatts && get_average_power_ != nullptr) {
      microwatts =
          ask<uint64_t>([&](uint64_t* power) { return get_average_power_(device, 0, power); },
                        "rsmi_dev_power_ave_get");
    }
    if (!microwatts || *microwatts == 0) return std::nullopt;
    return static_cast<double>(*microwatts) * 1e-6;
  }

  std::optional<double> joules(uint32_t device) const {
    if (get_energy_count_ == nullptr) return std::nullopt;
    float microjoules_per_count = 0;
    uint64_t timestamp = 0;
    const auto count = ask<uint64_t>(
        [&](uint64_t* value) {
          return get_energy_count_(device, value, &microjoules_per_count, &timestamp);
        },
        "rsmi_dev_energy_count_get");
    if (!count) return std::nullopt;
    return static_cast<double>(*count) * microjoules_per_count * 1e-6;
  }

  std::optional<double> utilisation(uint32_t device) const {
    const auto percent =
        ask<uint32_t>([&](uint32_t* value) { return get_busy_percent_(device, value); },
                      "rsmi_dev_busy_percent_get");
    if (!percent) return std::nullopt;
    return *percent * 1e-2;
  }

  std::optional<int64_t> memory_bytes(uint32_t device) const {
    const auto used = ask<uint64_t>(
        [&](uint64_t* value) { return get_memory_usage_(device, kMemoryOfTheDevice, value); },
        "rsmi_dev_memory_usage_get");
    if (!used) return std::nullopt;
    return static_cast<int64_t>(*used);
  }

 private:
  // Calls get(&value); nothing where the quantity cannot be had.
  template <typename Value, typename Get>
  std::optional<Value> ask(const Get& get, const char* what) const {
    Value value = 0;
    const int status = get(&value);
    switch (status) {
      case kNotSupported:
      case kFileError:
      case kPermission:
      case kNotYetImplemented:
      case kNoData:
      case kInterrupt:
      case kBusy:
        return std::nullopt;
      default:
        check(status, what);
        return value;
    }
  }

  void check(int status, const char* what) const {
    if (status == kSuccess) return;
    const char* text = nullptr;
    if (status_string_(status, &text) != kSuccess || text == nullptr) text = "unknown";
    throw Error(fmt::format("{}: {} (status {}).", what, text, status));
  }

  TelemetryLibrary library_;
  int (*status_string_)(int, const char**) = nullptr;
  int (*shut_down_)() = nullptr;
  int (*get_count_)(uint32_t*) = nullptr;
  int (*get_name_)(uint32_t, char*, size_t) = nullptr;
  int (*get_pci_id_)(uint32_t, uint64_t*) = nullptr;
  int (*get_unique_id_)(uint32_t, uint64_t*) = nullptr;
  int (*get_busy_percent_)(uint32_t, uint32_t*) = nullptr;
  int (*get_memory_usage_)(uint32_t, int, uint64_t*) = nullptr;
  int (*get_power_)(uint32_t, uint64_t*, int*) = nullptr;
  int (*get_average_power_)(uint32_t, uint32_t, uint64_t*) = nullptr;
  int (*get_energy_count_)(uint32_t, uint64_t*, float*, uint64_t*) = nullptr;
};

class RocmSmiSource final : public TelemetrySource {
 public:
  RocmSmiSource(std::unique_ptr<RocmSmi> rocm_smi, uint32_t device)
      : rocm_smi_(std::move(rocm_smi)),
        device_(device),
        // The second GCD of a card counts no energy: that is how ROCm's own tool tells it.
        is_second_of_card_(rocm_smi_->joules(device) == 0.0),
        description_(fmt::format("ROCm SMI: {}, number {}{}", rocm_smi_->name(device), device,
                                 is_second_of_card_
                                     ? " (power and energy are told by the first GCD of its card)"
                                     : "")) {}

  std::string description() const override { return description_; }

  TelemetryReading read() override {
    TelemetryReading reading;
    if (!is_second_of_card_) {
      reading.watts = rocm_smi_->watts(device_);
      reading.joules = rocm_smi_->joules(device_);
    }
    reading.utilisation = rocm_smi_->utilisation(device_);
    reading.memory_bytes = rocm_smi_->memory_bytes(device_);
    return reading;
  }

 private:
  std::unique_ptr<RocmSmi> rocm_smi_;
  uint32_t device_;
  bool is_second_of_card_;
  std::string description_;
};

// "0000:c1:00.0" as RocmSmi::pci_address gives it.
uint64_t parse_pci_address(const std::string& text) {
  std::array<uint64_t, 4> parts{};  // domain, bus, device, function
  const char* position = text.data();
  const char* const end = position + text.size();
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto [next, error] = std::from_chars(position, end, parts[i], 16);
    const bool is_last = i + 1 == parts.size();
    const char separator = i == 2 ? '.' : ':';
    if (error != std::errc() || (is_last ? next != end : next == end || *next != separator)) {
      throw Error(fmt::format("'{}' is no PCI address like 0000:c1:00.0.", text));
    }
    position = next + 1;
  }
  return parts[0] << 32 | parts[1] << 8 | parts[2] << 3 | parts[3];
}

uint32_t find_by_pci_bus_id(const RocmSmi& rocm_smi, const std::string& text) {
  const uint64_t address = parse_pci_address(text);
  for (uint32_t i = 0; i < rocm_smi.count_devices(); ++i) {
    if (rocm_smi.pci_address(i) == address) return i;
  }
  throw Error(fmt::format("no GPU has the PCI address {}.", text));
}

uint32_t find_by_uuid(const RocmSmi& rocm_smi, const std::string& uuid) {
  for (uint32_t i = 0; i < rocm_smi.count_devices(); ++i) {
    const auto id = rocm_smi.unique_id(i);
    if (id && fmt::format("GPU-{:016x}", *id) == uuid) return i;
  }
  throw Error(fmt::format("no GPU has the UUID {}.", uuid));
}

// HIP's list (by its own name, or CUDA's) counts within the list of the runtime below it.
uint32_t find_device(const RocmSmi& rocm_smi, int64_t index, const TelemetryOptions& options) {
  if (!options.pci_bus_id.empty()) return find_by_pci_bus_id(rocm_smi, options.pci_bus_id);
  const char* hip_variable =
      options.environment("HIP_VISIBLE_DEVICES") ? "HIP_VISIBLE_DEVICES" : "CUDA_VISIBLE_DEVICES";
  for (const char* variable : {hip_variable, "ROCR_VISIBLE_DEVICES"}) {
    const auto list = options.environment(variable);
    if (!list) continue;
    const std::string entry = visible_device(variable, *list, index);
    const auto number = parse_number(entry);
    if (!number) return find_by_uuid(rocm_smi, entry);
    index = *number;
  }
  const int64_t count = rocm_smi.count_devices();
  if (index < 0 || index >= count) {
    throw Error(fmt::format("there is no GPU number {}: the machine has {}.", index, count));
  }
  return static_cast<uint32_t>(index);
}

}  // namespace

OpenedTelemetry open_rocm_smi(int64_t index, const TelemetryOptions& options) {
  OpenedTelemetry opened;
  try {
    auto rocm_smi = std::make_unique<RocmSmi>(library_names(options));
    opened.has_devices = rocm_smi->count_devices() > 0;
    const uint32_t device = find_device(*rocm_smi, index, options);
    opened.source = std::make_unique<RocmSmiSource>(std::move(rocm_smi), device);
  } catch (const Error& error) {
    opened.reason = "ROCm SMI: " + error.message();
  }
  return opened;
}

}  // namespace swath
