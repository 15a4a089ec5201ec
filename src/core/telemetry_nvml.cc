// NVIDIA's management library. Prototypes and constants are those of its interface, version 2;
// nvml.h is not needed.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "core/error.h"
#include "core/telemetry_sources.h"

namespace swath {
namespace {

constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kNoPermission = 4;
constexpr int kFunctionNotFound = 13;

using Device = void*;
struct Utilisation {
  unsigned int gpu_percent;
  unsigned int memory_percent;
};
struct Memory {
  unsigned long long total_bytes;
  unsigned long long free_bytes;
  unsigned long long used_bytes;
};

// The library, initialised; it counts users and shuts down with the last one.
class Nvml {
 public:
  explicit Nvml(const std::string& name) : library_({name}) {
    error_string_ = library_.require<const char* (*)(int)>("nvmlErrorString");
    shutdown_ = library_.require<int (*)()>("nvmlShutdown");
    const auto initialise = library_.require<int (*)()>("nvmlInit_v2");
    get_count_ = library_.require<int (*)(unsigned int*)>("nvmlDeviceGetCount_v2");
    get_by_index_ =
        library_.require<int (*)(unsigned int, Device*)>("nvmlDeviceGetHandleByIndex_v2");
    get_name_ = library_.require<int (*)(Device, char*, unsigned int)>("nvmlDeviceGetName");
    get_uuid_ = library_.require<int (*)(Device, char*, unsigned int)>("nvmlDeviceGetUUID");
    get_by_uuid_ = library_.require<int (*)(const char*, Device*)>("nvmlDeviceGetHandleByUUID");
    get_by_pci_bus_id_ =
        library_.require<int (*)(const char*, Device*)>("nvmlDeviceGetHandleByPciBusId_v2");
    find_quantity(get_milliwatts_, "nvmlDeviceGetPowerUsage");
    find_quantity(get_millijoules_, "nvmlDeviceGetTotalEnergyConsumption");
    find_quantity(get_utilisation_, "nvmlDeviceGetUtilizationRates");
    find_quantity(get_memory_, "nvmlDeviceGetMemoryInfo");
    check(initialise(), "nvmlInit_v2");
  }
  ~Nvml() { shutdown_(); }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  int64_t count_devices() const {
    unsigned int count = 0;
    check(get_count_(&count), "nvmlDeviceGetCount_v2");
    return count;
  }

  Device device_by_index(int64_t index) const {
    Device device = nullptr;
    check(get_by_index_(static_cast<unsigned int>(index), &device),
          fmt::format("nvmlDeviceGetHandleByIndex_v2({})", index));
    return device;
  }

  Device device_by_uuid(const std::string& uuid) const {
    Device device = nullptr;
    check(get_by_uuid_(uuid.c_str(), &device), fmt::format("nvmlDeviceGetHandleByUUID({})", uuid));
    return device;
  }

  Device device_by_pci_bus_id(const std::string& address) const {
    Device device = nullptr;
    check(get_by_pci_bus_id_(address.c_str(), &device),
          fmt::format("nvmlDeviceGetHandleByPciBusId_v2({})", address));
    return device;
  }

  std::string name(Device device) const {
    std::array<char, 96> text{};
    check(get_name_(device, text.data(), text.size()), "nvmlDeviceGetName");
    return text.data();
  }

  std::string uuid(Device device) const {
    std::array<char, 96> text{};
    check(get_uuid_(device, text.data(), text.size()), "nvmlDeviceGetUUID");
    return text.data();
  }

  TelemetryReading read(Device device) const {
    TelemetryReading reading;
    if (const auto milliwatts = ask(get_milliwatts_, device)) reading.watts = *milliwatts * 1e-3;
    if (const auto millijoules = ask(get_millijoules_, device)) {
      reading.joules = static_cast<double>(*millijoules) * 1e-3;
    }
    if (const auto rates = ask(get_utilisation_, device)) {
      reading.utilisation = rates->gpu_percent * 1e-2;
    }
    if (const auto memory = ask(get_memory_, device)) {
      reading.memory_bytes = static_cast<int64_t>(memory->used_bytes);
    }
    return reading;
  }

 private:
  template <typename Value>
  struct Quantity {
    const char* name = "";
    int (*get)(Device, Value*) = nullptr;
  };

  // Older drivers lack some of them.
  template <typename Value>
  void find_quantity(Quantity<Value>& quantity, const char* name) {
    quantity = {name, library_.find<int (*)(Device, Value*)>(name)};
  }

  template <typename Value>
  std::optional<Value> ask(const Quantity<Value>& quantity, Device device) const {
    if (quantity.get == nullptr) return std::nullopt;
    Value value{};
    const int status = quantity.get(device, &value);
    if (status == kNotSupported || status == kNoPermission || status == kFunctionNotFound) {
      return std::nullopt;
    }
    check(status, quantity.name);
    return value;
  }

  void check(int status, const std::string& what) const {
    if (status == kSuccess) return;
    throw Error(fmt::format("{}: {} (status {}).", what, error_string_(status), status));
  }

  TelemetryLibrary library_;
  const char* (*error_string_)(int) = nullptr;
  int (*shutdown_)() = nullptr;
  int (*get_count_)(unsigned int*) = nullptr;
  int (*get_by_index_)(unsigned int, Device*) = nullptr;
  int (*get_by_uuid_)(const char*, Device*) = nullptr;
  int (*get_by_pci_bus_id_)(const char*, Device*) = nullptr;
  int (*get_name_)(Device, char*, unsigned int) = nullptr;
  int (*get_uuid_)(Device, char*, unsigned int) = nullptr;
  Quantity<unsigned int> get_milliwatts_;
  Quantity<unsigned long long> get_millijoules_;
  Quantity<Utilisation> get_utilisation_;
  Quantity<Memory> get_memory_;
};

class NvmlSource final : public TelemetrySource {
 public:
  NvmlSource(std::unique_ptr<Nvml> nvml, Device device)
      : nvml_(std::move(nvml)),
        device_(device),
        description_(fmt::format("NVML: {} ({})", nvml_->name(device), nvml_->uuid(device))) {}

  std::string description() const override { return description_; }
  TelemetryReading read() override { return nvml_->read(device_); }

 private:
  std::unique_ptr<Nvml> nvml_;
  Device device_;
  std::string description_;
};

// The CUDA runtime takes any beginning of a UUID that fits one GPU alone.
Device find_by_uuid_beginning(const Nvml& nvml, const std::string& beginning) {
  if (beginning.starts_with("MIG-")) return nvml.device_by_uuid(beginning);
  Device found = nullptr;
  int64_t num_found = 0;
  for (int64_t i = 0; i < nvml.count_devices(); ++i) {
    const Device device = nvml.device_by_index(i);
    if (!nvml.uuid(device).starts_with(beginning)) continue;
    found = device;
    ++num_found;
  }
  if (num_found != 1) {
    throw Error(
        fmt::format("CUDA_VISIBLE_DEVICES: {} GPUs have a UUID like {}.", num_found, beginning));
  }
  return found;
}

// NVML counts by PCI address; the CUDA runtime, unless told otherwise, puts the fastest GPU first.
void check_order(const Nvml& nvml, const TelemetryOptions& options) {
  if (options.environment("CUDA_DEVICE_ORDER").value_or("") == "PCI_BUS_ID") return;
  const std::string first = nvml.name(nvml.device_by_index(0));
  for (int64_t i = 1; i < nvml.count_devices(); ++i) {
    const std::string name = nvml.name(nvml.device_by_index(i));
    if (name == first) continue;
    throw Error(
        fmt::format("this machine has different GPUs ({}, {}), which the CUDA runtime "
                    "counts in an order of its own; export CUDA_DEVICE_ORDER=PCI_BUS_ID.",
                    first, name));
  }
}

Device find_device(const Nvml& nvml, int64_t index, const TelemetryOptions& options) {
  if (!options.pci_bus_id.empty()) return nvml.device_by_pci_bus_id(options.pci_bus_id);
  if (const auto list = options.environment("CUDA_VISIBLE_DEVICES")) {
    const std::string entry = visible_device("CUDA_VISIBLE_DEVICES", *list, index);
    const auto number = parse_number(entry);
    if (!number) return find_by_uuid_beginning(nvml, entry);
    index = *number;
  }
  const int64_t count = nvml.count_devices();
  if (index < 0 || index >= count) {
    throw Error(fmt::format("there is no GPU number {}: the machine has {}.", index, count));
  }
  check_order(nvml, options);
  return nvml.device_by_index(index);
}

}  // namespace

OpenedTelemetry open_nvml(int64_t index, const TelemetryOptions& options) {
  OpenedTelemetry opened;
  try {
    auto nvml = std::make_unique<Nvml>(options.nvml_library);
    opened.has_devices = nvml->count_devices() > 0;
    const Device device = find_device(*nvml, index, options);
    opened.source = std::make_unique<NvmlSource>(std::move(nvml), device);
  } catch (const Error& error) {
    opened.reason = "NVML: " + error.message();
  }
  return opened;
}

}  // namespace swath
