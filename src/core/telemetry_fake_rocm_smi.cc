// A librocm_smi64 with devices out of a script: see telemetry_fakes.h. With SWATH_FAKE_ROCM_5 it
// lacks the function that ROCm 6 added.
#include <cstring>

#include "core/telemetry_fakes.h"

namespace {

swath::FakeRocmSmi& script() {
  static swath::FakeRocmSmi instance;
  return instance;
}

}  // namespace

extern "C" {

swath::FakeRocmSmi* swath_fake_rocm_smi() { return &script(); }

int rsmi_init(uint64_t) {
  if (script().init_status == 0) ++script().num_initialised;
  return script().init_status;
}
int rsmi_shut_down() {
  --script().num_initialised;
  return 0;
}
int rsmi_status_string(int status, const char** text) {
  *text = status == 8 ? "no amdgpu driver" : "device is gone";
  return 0;
}
int rsmi_num_monitor_devices(uint32_t* count) {
  *count = static_cast<uint32_t>(script().devices.size());
  return 0;
}
int rsmi_dev_name_get(uint32_t, char* name, size_t size) {
  std::strncpy(name, "MI250X", size);
  return 0;
}
int rsmi_dev_pci_id_get(uint32_t device, uint64_t* id) {
  *id = script().devices.at(device).pci_id;
  return 0;
}
int rsmi_dev_unique_id_get(uint32_t device, uint64_t* id) {
  *id = script().devices.at(device).unique_id;
  return 0;
}
#ifndef SWATH_FAKE_ROCM_5
int rsmi_dev_power_get(uint32_t device, uint64_t* microwatts, int* type) {
  *microwatts = script().devices.at(device).microwatts;
  *type = 1;
  return script().devices.at(device).power_status;
}
#endif
int rsmi_dev_power_ave_get(uint32_t device, uint32_t sensor, uint64_t* microwatts) {
  if (sensor != 0) return 1;
  *microwatts = script().devices.at(device).average_microwatts;
  return script().devices.at(device).average_power_status;
}
int rsmi_dev_energy_count_get(uint32_t device, uint64_t* count, float* microjoules_per_count,
                              uint64_t* timestamp) {
  *count = script().devices.at(device).energy_count;
  *microjoules_per_count = script().devices.at(device).microjoules_per_count;
  *timestamp = 1;
  return script().devices.at(device).energy_status;
}
int rsmi_dev_busy_percent_get(uint32_t device, uint32_t* percent) {
  *percent = script().devices.at(device).busy_percent;
  return script().devices.at(device).busy_status;
}
int rsmi_dev_memory_usage_get(uint32_t device, int type, uint64_t* used_bytes) {
  if (type != 0) return 1;
  *used_bytes = script().devices.at(device).used_bytes;
  return script().memory_reads_left.fetch_sub(1) > 0 ? 0 : 6;
}

}  // extern "C"
