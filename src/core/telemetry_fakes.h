// What the two libraries built for telemetry_test.cc pretend: each exports a function that gives
// its script, which a test fills in before it opens a source.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace swath {

struct FakeNvmlDevice {
  std::string name = "GPU A";
  std::string uuid;
  std::string pci_bus_id;
  unsigned int milliwatts = 0;
  unsigned long long millijoules = 0;
  unsigned int gpu_percent = 0;
  unsigned long long used_bytes = 0;
  // What each call answers instead of success.
  int power_status = 0;
  int energy_status = 0;
  int utilisation_status = 0;
  int memory_status = 0;
};

struct FakeNvml {
  std::vector<FakeNvmlDevice> devices;
  int init_status = 0;
  int num_initialised = 0;
};

struct FakeRocmSmiDevice {
  uint64_t pci_id = 0;
  uint64_t unique_id = 0;
  uint64_t microwatts = 0;
  uint64_t average_microwatts = 0;
  uint64_t energy_count = 0;
  float microjoules_per_count = 0;
  uint32_t busy_percent = 0;
  uint64_t used_bytes = 0;
  int power_status = 0;
  int average_power_status = 0;
  int energy_status = 0;
  int busy_status = 0;
};

struct FakeRocmSmi {
  std::vector<FakeRocmSmiDevice> devices;
  int init_status = 0;
  int num_initialised = 0;
  // From this read of memory on the device is gone.
  std::atomic<int64_t> memory_reads_left = INT64_MAX;
};

}  // namespace swath
