// A libnvidia-ml with devices out of a script: see telemetry_fakes.h.
#include <cstring>

#include "core/telemetry_fakes.h"

namespace {

swath::FakeNvml& script() {
  static swath::FakeNvml instance;
  return instance;
}

swath::FakeNvmlDevice& device_of(void* handle) {
  return *static_cast<swath::FakeNvmlDevice*>(handle);
}

constexpr int kNotFound = 6;

template <typename Matches>
int find(void** handle, const Matches& matches) {
  for (swath::FakeNvmlDevice& device : script().devices) {
    if (!matches(device)) continue;
    *handle = &device;
    return 0;
  }
  return kNotFound;
}

int copy(const std::string& from, char* to, unsigned int size) {
  std::strncpy(to, from.c_str(), size);
  return 0;
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the names are NVML's.
extern "C" {

swath::FakeNvml* swath_fake_nvml() { return &script(); }

int nvmlInit_v2() {
  if (script().init_status == 0) ++script().num_initialised;
  return script().init_status;
}
int nvmlShutdown() {
  --script().num_initialised;
  return 0;
}
const char* nvmlErrorString(int status) {
  return status == 9 ? "Driver Not Loaded" : status == 15 ? "GPU is lost" : "Not Found";
}
int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = static_cast<unsigned int>(script().devices.size());
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void** handle) {
  *handle = &script().devices.at(index);
  return 0;
}
int nvmlDeviceGetHandleByUUID(const char* uuid, void** handle) {
  return find(handle, [&](const auto& device) { return device.uuid == uuid; });
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** handle) {
  return find(handle, [&](const auto& device) { return device.pci_bus_id == id; });
}
int nvmlDeviceGetName(void* handle, char* name, unsigned int size) {
  return copy(device_of(handle).name, name, size);
}
int nvmlDeviceGetUUID(void* handle, char* uuid, unsigned int size) {
  return copy(device_of(handle).uuid, uuid, size);
}
int nvmlDeviceGetPowerUsage(void* handle, unsigned int* milliwatts) {
  *milliwatts = device_of(handle).milliwatts;
  return device_of(handle).power_status;
}
int nvmlDeviceGetTotalEnergyConsumption(void* handle, unsigned long long* millijoules) {
  *millijoules = device_of(handle).millijoules;
  return device_of(handle).energy_status;
}
int nvmlDeviceGetUtilizationRates(void* handle, unsigned int* gpu_and_memory_percent) {
  gpu_and_memory_percent[0] = device_of(handle).gpu_percent;
  gpu_and_memory_percent[1] = 99;
  return device_of(handle).utilisation_status;
}
int nvmlDeviceGetMemoryInfo(void* handle, unsigned long long* total_free_used_bytes) {
  total_free_used_bytes[0] = 1000;
  total_free_used_bytes[1] = 1000 - device_of(handle).used_bytes;
  total_free_used_bytes[2] = device_of(handle).used_bytes;
  return device_of(handle).memory_status;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
