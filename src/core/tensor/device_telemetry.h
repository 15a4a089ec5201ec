// Power, utilisation and memory of the device that a process computes on, from here to finish().
#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "core/json.h"
#include "core/telemetry.h"

namespace swath {

class DeviceTelemetry {
 public:
  // `trace`: CSV file that finish() writes (TelemetryRecorder::write_csv); empty: none.
  DeviceTelemetry(c10::Device device, std::filesystem::path trace,
                  std::chrono::milliseconds interval);
  DeviceTelemetry(std::unique_ptr<TelemetrySource> source, std::filesystem::path trace,
                  std::chrono::milliseconds interval);

  // {"watts", "utilisation"}: means since the last call; what the device does not tell is left out.
  Json take_means();
  // The totals (core/telemetry.h), or {"absent": why} where the device tells nothing.
  Json finish();

 private:
  void start(std::unique_ptr<TelemetrySource> source, std::chrono::milliseconds interval);

  std::filesystem::path trace_;
  std::string absent_;
  std::unique_ptr<TelemetryRecorder> recorder_;
};

}  // namespace swath
